"""Ticks per second of a run, out of what its environment tells; by steady clocks, whatever is done to the system's."""

from __future__ import annotations

import math

from ant_rl_core.telemetry import NAN, Timing


class TickRate:
    """Adds up ticks and the time that they took, one report after the other.

    The time is the steady clock's of the environment: by `uptime`, or where that is not told, as in recordings of
    before, of each report the ticks in it divided by their rate.
    """

    def __init__(self) -> None:
        self._last: Timing | None = None
        self._first_rate = NAN  # of the window in which the ticks began, which holds the wait for the others too
        self._ticks = self._seconds = 0.0

    @property
    def ticks_per_second(self) -> float:
        """Without the window in which they began. A run of that window alone has its rate, which is too low."""
        return self._ticks / self._seconds if self._seconds > 0 else self._first_rate

    def add(self, timing: Timing) -> None:
        """Take what the environment tells once per second."""
        last, self._last = self._last, timing
        if math.isnan(self._first_rate):
            self._first_rate = timing.loop_rate
            return
        if last is None:
            return
        ticks = timing.values.get("ticks", NAN) - last.values.get("ticks", NAN)
        if not ticks >= 0:  # not told, or by another process, which counts anew
            return
        seconds = _seconds(last, timing, ticks)
        self._ticks += ticks
        self._seconds += seconds


def _seconds(last: Timing, timing: Timing, ticks: float) -> float:
    """Time between two reports [s]."""
    if "uptime" in timing.values and timing.values.get("run") == last.values.get("run"):
        return timing.values["uptime"] - last.values["uptime"]
    return ticks / timing.loop_rate if timing.loop_rate > 0 else 1.0
