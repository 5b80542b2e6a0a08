"""The rows of `./run bench learn`: what is to be reached, and who measures it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ant_rl_core.settings import ArgumentError
from ant_rl_tools.bench.learn import comparisons, targets
from ant_rl_tools.bench.learn.bench_config import WALL_CLOCK_LIMITS, LearnBenchConfig
from ant_rl_tools.bench.rows import Goal, Group, Measured

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


def check(config: LearnBenchConfig, names: Sequence[str]) -> None:
    """Refuse arguments that can't be used; ArgumentError says which."""
    if config.training and not Path(config.training).is_dir():
        raise ArgumentError("training must be the folder of a run of ./run train, and there is no folder "
                            f"{config.training}")


def groups(config: LearnBenchConfig) -> list[Group]:
    """Who measures which rows."""
    def updates(names: list[str]) -> dict[str, Measured]:
        method = names[0].partition("_")[0]
        return comparisons.measure_updates(method, names, config)

    def ppo(names: list[str]) -> dict[str, Measured]:
        return {"ppo_steps": comparisons.measure_ppo(config)}

    def overlap(names: list[str]) -> dict[str, Measured]:
        return {"overlap": targets.measure_overlap(config)}

    def memory(names: list[str]) -> dict[str, Measured]:
        return {name: targets.measure_memory(name, config) for name in names}

    def wall_clock(names: list[str]) -> dict[str, Measured]:
        return {name: targets.read_wall_clock(config.training, int(name.rpartition("_")[2])) for name in names}

    return [*(((f"{name}_update", f"{name}_matmul_share"), updates) for name in OFF_POLICY),
            (("ppo_steps",), ppo), (("overlap",), overlap), (("replay_memory",), memory), (("ppo_memory",), memory),
            (tuple(f"wall_clock_{score}" for score in WALL_CLOCK_LIMITS), wall_clock)]
