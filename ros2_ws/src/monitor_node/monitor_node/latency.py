"""What a node says of its own loop, in the units that are published, and what has grown since the last time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

ROUND_TRIP = "round_trip"
DEADLINE_MISSES = "deadline_misses"


@dataclass(frozen=True)
class Latency:
    """Stages of a loop in milliseconds; NaN for the round trip where the node does not measure it."""

    names: tuple[str, ...] = ()
    p50_ms: tuple[float, ...] = ()
    p99_ms: tuple[float, ...] = ()
    round_trip_p50_ms: float = math.nan
    round_trip_p99_ms: float = math.nan


def latency(names: Sequence[str], p50: Sequence[float], p99: Sequence[float]) -> Latency:
    """From the stages of NodeTiming [s]; ValueError if the arrays don't match."""
    if not len(names) == len(p50) == len(p99):
        raise ValueError(f"each stage must have a p50 and a p99, found {len(names)} names, {len(p50)} and {len(p99)}")
    median, tail = tuple(1e3 * value for value in p50), tuple(1e3 * value for value in p99)
    trip = list(names).index(ROUND_TRIP) if ROUND_TRIP in names else None
    if trip is None:
        return Latency(tuple(names), median, tail)
    return Latency(tuple(names), median, tail, median[trip], tail[trip])


class Growth:
    """How much counters have grown since the last look; a counter that fell was started anew with its node."""

    def __init__(self) -> None:
        self._last: dict[str, int] = {}

    def since_last(self, counters: Mapping[str, int]) -> dict[str, int]:
        """Growth of each counter; at the first look what it has counted so far."""
        growth = {}
        for name, count in counters.items():
            before = self._last.get(name, 0)
            growth[name] = count - before if count >= before else count
        self._last = dict(counters)
        return growth
