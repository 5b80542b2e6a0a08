"""The stamps of headers."""

from __future__ import annotations

import time

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
