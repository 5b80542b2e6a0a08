"""When messages came, by the steady clock: the system's may be set while it is recorded."""

from __future__ import annotations

import time
from collections.abc import Callable

_SET = 10_000_000  # [ns] that far apart the two clocks have not drifted: one was set
_TRIES = 5


class LogClock:
    """Turns times of the system's clock into times that go on evenly from when this object was made.

    They are the system's times until that clock is set. From then on they are what it would show otherwise.

    Args:
        system, steady: the two clocks [ns].
    """

    def __init__(self, system: Callable[[], int] = time.time_ns, steady: Callable[[], int] = time.monotonic_ns) -> None:
        self._system, self._steady = system, steady
        self._first, self._looked = self._distance()
        self._before = self._now = self._first
        self._since = self._looked

    def look(self) -> int:
        """How far the clock was set since the last look [ns]; to be called before the times of a batch are asked."""
        since, (distance, self._looked) = self._looked, self._distance()
        by = distance - self._now
        if abs(by) < _SET:
            return 0
        self._before, self._now, self._since = self._now, distance, since
        return by

    def even(self, time_ns: int) -> int:
        """The time of the system's clock, of before or after it was set [ns]."""
        if self._before == self._now:
            return time_ns
        # Which of the two it is of: the one by which it came since the clock was last known not to be set.
        return min((time_ns - distance for distance in (self._now, self._before)), key=self._implausible) + self._first

    def _implausible(self, steady_ns: int) -> int:
        """How far a steady time is from where that of a message just taken can be."""
        return max(self._since - steady_ns, steady_ns - self._looked, 0)

    def _distance(self) -> tuple[int, int]:
        """The system's clock less the steady one, and the latter [ns]; of a few looks the one that took least."""
        looks = []
        for _ in range(_TRIES):
            before, now, after = self._steady(), self._system(), self._steady()
            looks.append((after - before, now - (before + after) // 2, after))
        _, distance, looked = min(looks)
        return distance, looked
