"""The stamps of headers."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from builtin_interfaces.msg import Time


def system_stamp() -> Time:
    """The system's time now, for a header."""
    seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    return Time(sec=seconds, nanosec=nanoseconds)


def seconds(stamp: Time) -> float:
    """A header's stamp [s]."""
    return stamp.sec + 1e-9 * stamp.nanosec


def nanoseconds(stamp: Time) -> int:
    """A header's stamp [ns], exactly."""
    return stamp.sec * 1_000_000_000 + stamp.nanosec


def by_stamp(messages: Iterable[Any]) -> dict[int, Any]:
    """Messages by the stamp of their header [ns]."""
    return {nanoseconds(message.header.stamp): message for message in messages}
