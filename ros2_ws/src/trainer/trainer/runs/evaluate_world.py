"""Evaluation in a world without the Ant: returns of whole trials, beside what is known of the best."""

from __future__ import annotations

from contextlib import closing
from typing import Any, Protocol

import numpy as np

from ant_env_node.tasks.worlds import World
from ant_rl_core.contracts import Actor
from trainer.loop import drive

_MOST_ROWS = 1024  # at a time


class _Config(Protocol):
    """What `EvaluateConfig` says, as far as it counts here."""

    @property
    def episodes(self) -> int: ...
    @property
    def seed(self) -> int: ...
    @property
    def num_envs(self) -> int: ...
    @property
    def task_part(self) -> str: ...


def trial_returns(actor: Actor, world: World, trials: int, seed: int, part: str = "held_out",
                  num_envs: int = 0) -> np.ndarray:
    """Returns by episode, [trials, episodes of a trial]; trial k is the first one of the row with seed + k.

    Args:
        actor: of any number of rows.
        world: where it acts.
        trials: how many.
        seed: of the first trial.
        part: of the tasks.
        num_envs: rows at a time; 0: as many as trials, at most 1024.
    """
    rows, found = num_envs or min(trials, _MOST_ROWS), []
    for first in range(0, trials, rows):
        env = world.make(min(rows, trials - first), seed + first, part)
        returns = np.zeros((env.num_envs, env.episodes_per_trial))
        with closing(drive(env, actor, env.reset())) as moves:
            for episode in range(env.episodes_per_trial):
                for _ in range(env.episode_steps):
                    returns[:, episode] += next(moves).after.reward
        env.close()
        found.append(returns)
    return np.concatenate(found)


def run(bundle: str, actor: Actor, world: World, config: _Config) -> dict[str, Any]:
    """Evaluate and print; returns the result as plain data.

    Args:
        bundle: name of the policy, for the summary.
        actor: of that.
        world: where it acts.
        config: `episodes` counts trials.
    """
    returns = trial_returns(actor, world, config.episodes, config.seed, config.task_part, config.num_envs)
    total, error = returns.sum(axis=1), returns.sum(axis=1).std() / np.sqrt(len(returns))
    summary: dict[str, Any] = {
        "policy": bundle, "tasks": world.name, "task_part": config.task_part, "trials": len(returns),
        "seed": config.seed, "mean_return": float(total.mean()), "std_return": float(total.std()),
        "standard_error": float(error), "mean_return_by_episode": returns.mean(axis=0).tolist()}
    print(f"mean return of a trial {total.mean():.3f} ± {total.std():.3f} over {len(returns)} trials "
          f"(standard error {error:.3f})")
    if returns.shape[1] > 1:
        print("by episode: " + ", ".join(f"{mean:.3f}" for mean in returns.mean(axis=0)))
    if world.yardstick:
        what, value = world.yardstick()
        summary["yardstick"] = {what: value}
        print(f"{what}: {value:.3f}")
    return summary
