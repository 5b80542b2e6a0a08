"""The trainer's own messages; observations are decoded by `ant_rl_ros.messages`."""

from __future__ import annotations

import array
from collections.abc import Mapping
from typing import Any

from ant_rl_interfaces.msg import PolicyUpdate, TrainingProgress

from ant_rl_core.bundle import sha256


def encode_policy(bundle: bytes, version: int, stamp: Any) -> PolicyUpdate:
    """The message that hands a new policy on; `stamp` is a builtin_interfaces Time."""
    message = PolicyUpdate(version=version, sha256=sha256(bundle), bundle=array.array("B", bundle))
    message.header.stamp = stamp
    return message


def encode_progress(algorithm: str, figures: Mapping[str, float], metrics: Mapping[str, float],
                    stamp: Any) -> TrainingProgress:
    """State of the learner: `figures` are fields of the message by name, `metrics` go into its two arrays."""
    message = TrainingProgress(algorithm=algorithm, metric_names=list(metrics),
                               metric_values=array.array("d", map(float, metrics.values())), **figures)
    message.header.stamp = stamp
    return message
