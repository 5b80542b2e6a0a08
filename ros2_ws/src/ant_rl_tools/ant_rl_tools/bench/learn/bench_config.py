"""What is to be reached, and the arguments of the benchmark of the learners."""

from __future__ import annotations

import os
from dataclasses import dataclass

from ant_rl_core.settings import changed, setting
from ant_rl_tools.bench.rows import SuiteConfig

MEMORY_LIMIT_MB = 1500.0  # [MB] of 10^6 bytes
WALL_CLOCK_LIMITS = {2000: 12.0, 4000: 60.0}  # return: [min]


@dataclass(frozen=True)
class LearnBenchConfig(SuiteConfig):
    """Arguments of the benchmark of the learners."""

    seconds: float = changed(2.0)
    threads: int = setting(0, "threads of both sides; 0 means one per core", minimum=0)
    training: str = setting("", "folder of a run of ./run train with evaluation_interval:=…, for the rows "
                            "wall_clock_2000 and wall_clock_4000; empty leaves them out", path=True)

    @property
    def num_threads(self) -> int:
        """Threads of both sides."""
        return self.threads or len(os.sched_getaffinity(0))
