"""What an expert does that is told which motors are wired how, and where to go: an oracle that nobody had to train."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ant_env_node.tasks.task import fields_of
from ant_rl_core.spec import ANT
from ant_rl_core.step import Previous
from trainer.analytic.expert import Expert


class ToldExpert:
    """Undoes wires that are crossed or the wrong way round, and walks where it is told to; see `contracts.Actor`.

    Its observation is that of `ToldTask`: 105 numbers, then the task's.

    Args:
        expert: walks along x, with the wires as they should be.
    """

    def __init__(self, expert: Expert) -> None:
        self._expert = expert
        self.version = expert.version

    def initial_state(self, num_envs: int) -> tuple[np.ndarray]:
        """By how many quarters legs were renamed, int64 [n]; -1: not yet."""
        return (np.full(num_envs, -1, np.int64),)

    def act(self, observation: np.ndarray, previous: Previous, state: tuple[np.ndarray],
            reset_mask: np.ndarray) -> tuple[np.ndarray, Mapping[str, np.ndarray], tuple[np.ndarray]]:
        """As `contracts.Actor.act`; `extras` is empty."""
        seen, task = np.split(observation, [ANT.observation_size], axis=1)
        known = fields_of(task)
        direction = np.arctan2(known["heading"][:, 1], known["heading"][:, 0])  # 0, along x, where none is asked for
        wanted, quarters = self._expert.along(np.ascontiguousarray(seen), direction,
                                              np.where(reset_mask | previous.done, -1, state[0]))
        action = np.empty_like(wanted)
        action[np.arange(len(action))[:, None], known["wiring"]] = wanted * np.where(known["gear"] < 0, -1, 1)
        return action, {}, (quarters,)
