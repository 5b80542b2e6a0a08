"""What is to be reached, and the arguments of the benchmark of the learners."""

from __future__ import annotations

import os
from dataclasses import dataclass

MEMORY_LIMIT_MB = 1500.0  # [MB] of 10^6 bytes
WALL_CLOCK_LIMITS = {2000: 12.0, 4000: 60.0}  # return: [min]


@dataclass(frozen=True)
class LearnBenchConfig:
    """Arguments of the benchmark of the learners.

    Attributes:
        rows: names of the rows to measure, with commas in between; empty means all.
        seconds: length of one measured segment; each comparison takes several of each side.
        rounds: segments of each side.
        threads: threads of both sides; 0 means one per core.
        training: folder of a run of ./run train with evaluation_interval:=…, for the rows wall_clock_2000 and
            wall_clock_4000; empty leaves them out.
        summary: file for the figures as JSON; empty means none.
    """

    rows: str = ""
    seconds: float = 2.0
    rounds: int = 5
    threads: int = 0
    training: str = ""
    summary: str = ""

    @property
    def num_threads(self) -> int:
        """Threads of both sides."""
        return self.threads or len(os.sched_getaffinity(0))
