"""Durations of the stages of a loop: median, 99th percentile and maximum over a window."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class StageSummary:
    """Figures of one stage over its window, in seconds."""

    count: int
    p50: float
    p99: float
    max: float


class StageTimer:
    """Keeps the last `window` durations of each stage.

    Example: `with timer.stage("physics"): ...`, or `timer.add("round_trip", seconds)`.
    """

    def __init__(self, window: int = 4000) -> None:
        self._window = window
        self._durations: dict[str, deque[float]] = {}

    def add(self, stage: str, seconds: float) -> None:
        """Record one duration [s]."""
        durations = self._durations.get(stage)
        if durations is None:
            durations = self._durations[stage] = deque(maxlen=self._window)
        durations.append(seconds)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Record how long the block takes."""
        start = time.perf_counter()
        yield
        self.add(name, time.perf_counter() - start)

    def summary(self) -> dict[str, StageSummary]:
        """Figures of every stage that has at least one duration."""
        result = {}
        for name, durations in self._durations.items():
            values = np.fromiter(durations, np.float64, len(durations))
            if len(values):
                p50, p99 = np.percentile(values, (50, 99))
                result[name] = StageSummary(len(values), float(p50), float(p99), float(values.max()))
        return result

    def clear(self) -> None:
        """Forget all durations, e.g. at the start of a new window."""
        for durations in self._durations.values():
            durations.clear()
