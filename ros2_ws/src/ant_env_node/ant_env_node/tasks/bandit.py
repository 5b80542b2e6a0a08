"""Bernoulli bandits whose arms' chances are unknown and of uniform prior (arXiv:1611.02779, section 3.1)."""

from __future__ import annotations

from functools import cache

import numpy as np

from ant_env_node.tasks.tiny import TinyEnv
from ant_rl_core.spec import RobotSpec


class Bandit(TinyEnv):
    """A trial is one episode of `pulls` ticks on one machine, at whose true end another machine comes.

    The action's largest number, the first of them, says which arm is pulled; it pays 1 with its chance, else 0. The
    observation is the share of pulls that were made, [n, 1], and nothing else: what arms paid only a memory can tell.
    The task is the arms' chances.

    Args:
        num_envs, seed, part: as of `TinyEnv`.
        arms: how many there are, at least 2.
        pulls: how many are made in a trial.
    """

    ARRAYS = ("_chance",)

    def __init__(self, num_envs: int, seed: int | None = None, part: str = "train", arms: int = 5,
                 pulls: int = 10) -> None:
        if arms < 2:
            raise ValueError(f"arms must be at least 2, found {arms}")
        self._chance = np.zeros((num_envs, arms))
        super().__init__(num_envs, seed, part, RobotSpec(f"bandit{arms}", 1, arms, control_period=1.0), pulls,
                         episodes_per_trial=1, terminates=True)

    def _draw(self, rows: np.ndarray) -> None:
        self._chance[rows] = self._streams.uniform(rows, self.action_size)

    def _begin(self, rows: np.ndarray) -> None:
        pass  # a machine has no state

    def _move(self, action: np.ndarray) -> np.ndarray:
        rows = np.arange(self.num_envs)
        return self._streams.uniform(rows, 1)[:, 0] < self._chance[rows, action.argmax(axis=1)]

    def _observe(self) -> np.ndarray:
        return (self._step / np.float32(self.episode_steps)).astype(np.float32)[:, None]

    def _task(self) -> np.ndarray:
        return self._chance.astype(np.float32)


def bayes_optimal(arms: int, pulls: int) -> float:
    """The most that any policy can earn in a trial, on average: by dynamic programming over all that can be known.

    What is known of an arm is how often it paid and how often not, and arms that are known alike are alike.
    """
    @cache
    def value(known: tuple[tuple[int, int], ...], left: int) -> float:
        if not left:
            return 0.0
        best = 0.0
        for arm in set(known):
            rest, (paid, not_paid) = list(known), arm
            rest.remove(arm)
            chance = (paid + 1) / (paid + not_paid + 2)
            won, lost = (value(tuple(sorted([*rest, seen])), left - 1)
                         for seen in ((paid + 1, not_paid), (paid, not_paid + 1)))
            best = max(best, chance * (1.0 + won) + (1.0 - chance) * lost)
        return best

    return value(((0, 0),) * arms, pulls)
