"""Metrics of learning, by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np


def mean_metrics(steps: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Mean of each metric over the steps of learning that gave it."""
    names = dict.fromkeys(name for step in steps for name in step)
    return {name: float(np.mean([step[name] for step in steps if name in step])) for name in names}
