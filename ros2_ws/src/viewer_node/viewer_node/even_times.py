"""Stamps as points of a line of time that goes on evenly where a clock is set."""

from __future__ import annotations

import time
from collections.abc import Callable

_SET = 5.0  # [s] so far a stamp is never off only because its message came late
_SIMULATED = 1e9  # [s] stamps below this, of 2001, are of simulated time, whose pace is its own


class EvenTimes:
    """Follows the clock of each source.

    Args:
        clock: steady time [s].
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last: dict[str, tuple[float, float, float]] = {}  # when it came, its point, how far the clock was set

    def even(self, source: str, stamp: float) -> float:
        """The point of a stamp of this source, which has just come [s]."""
        now = self._clock()
        came, point, set_by = self._last.get(source, (now, stamp, 0.0))
        expected = point + now - came
        if stamp > _SIMULATED and abs(stamp - set_by - expected) > _SET:
            set_by = stamp - expected
        self._last[source] = now, stamp - set_by, set_by
        return stamp - set_by
