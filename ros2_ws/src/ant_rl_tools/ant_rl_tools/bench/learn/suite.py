"""The rows of `./run bench learn`: what is to be reached, and who measures it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ant_rl_core.settings import ArgumentError, changed, setting
from ant_rl_tools.bench.rows import Goal, Group, Measured, SuiteConfig

MEMORY_LIMIT_MB = 1500.0  # [MB] of 10^6 bytes
WALL_CLOCK_LIMITS = {2000: 12.0, 4000: 60.0}  # return: [min]
OFF_POLICY = ("td3", "sac")

GOALS = (
    *(Goal(f"{name}_update", f"{name.upper()} gradient update ÷ stable-baselines3's, same threads", 1.0)
      for name in OFF_POLICY),
    *(Goal(f"{name}_matmul_share", f"{name.upper()} update: share of the rate of its bare matrix products", 0.5)
      for name in OFF_POLICY),
    Goal("ppo_steps", "PPO steps/s, learning included ÷ stable-baselines3's, same settings", 2.0),
    Goal("overlap", "TD3 steps/s, learning beside the environment's step ÷ in turn with it", 1.0),
    Goal("replay_memory", "TD3 training with a full replay of 1M: peak resident memory", 1.0, text="≤ 1.5 GB"),
    Goal("ppo_memory", "PPO training: peak resident memory", 1.0, text="≤ 1.5 GB"),
    *(Goal(f"wall_clock_{score}", f"a training from nothing to return {score:,}", 1.0, text=f"≤ {minutes:.0f} min")
      for score, minutes in WALL_CLOCK_LIMITS.items()),
)


@dataclass(frozen=True)
class LearnBenchConfig(SuiteConfig):
    """Arguments of the benchmark of the learners."""

    seconds: float = changed(2.0)
    threads: int = setting(0, "threads of both sides; 0 means one per core", minimum=0)
    training: str = setting("", "folder of a run of ./run train with evaluation_interval:=…, for the rows "
                            "wall_clock_2000 and wall_clock_4000; empty leaves them out")

    @property
    def num_threads(self) -> int:
        """Threads of both sides."""
        return self.threads or len(os.sched_getaffinity(0))


def check(config: LearnBenchConfig, names: Sequence[str]) -> None:
    """Refuse arguments that can't be used; ArgumentError says which."""
    if config.training and not Path(config.training).is_dir():
        raise ArgumentError("training must be the folder of a run of ./run train, and there is no folder "
                            f"{config.training}")


def groups(config: LearnBenchConfig) -> list[Group]:
    """Who measures which rows; the groups import what they need when their turn comes."""
    def updates(names: list[str]) -> dict[str, Measured]:
        from ant_rl_tools.bench.learn import comparisons
        method = names[0].partition("_")[0]
        return comparisons.measure_updates(method, names, config)

    def ppo(names: list[str]) -> dict[str, Measured]:
        from ant_rl_tools.bench.learn import comparisons
        return {"ppo_steps": comparisons.measure_ppo(config)}

    def overlap(names: list[str]) -> dict[str, Measured]:
        from ant_rl_tools.bench.learn import targets
        return {"overlap": targets.measure_overlap(config)}

    def memory(names: list[str]) -> dict[str, Measured]:
        from ant_rl_tools.bench.learn import targets
        return {name: targets.measure_memory(name, config) for name in names}

    def wall_clock(names: list[str]) -> dict[str, Measured]:
        from ant_rl_tools.bench.learn import targets
        return {name: targets.read_wall_clock(config.training, int(name.rpartition("_")[2])) for name in names}

    return [*(((f"{name}_update", f"{name}_matmul_share"), updates) for name in OFF_POLICY),
            (("ppo_steps",), ppo), (("overlap",), overlap), (("replay_memory",), memory), (("ppo_memory",), memory),
            (tuple(f"wall_clock_{score}" for score in WALL_CLOCK_LIMITS), wall_clock)]
