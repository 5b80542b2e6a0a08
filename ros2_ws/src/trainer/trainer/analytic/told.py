"""What an expert does that is told which motors do what, and where to go: an oracle that nobody had to train."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ant_env_node.tasks.presets import lost_leg
from ant_env_node.tasks.task import fields_of
from ant_rl_core.spec import ANT
from ant_rl_core.step import Previous
from trainer.analytic.expert import Expert
from trainer.analytic.lost_leg import Limp

State = tuple[np.ndarray, ...]


class ToldExpert:
    """Undoes what a task does to motors, and walks where it is told to; see `contracts.Actor`.

    Wires that are crossed or the wrong way round are crossed again; without a leg it goes on as `Limp` does.
    Its observation is that of `ToldTask`: 105 numbers, then the task's.

    Args:
        expert: walks along x, with all motors as they should be.
    """

    def __init__(self, expert: Expert) -> None:
        self._expert, self._limp = expert, Limp(expert)
        self.version = expert.version

    def initial_state(self, num_envs: int) -> State:
        """By how many quarters legs were renamed to walk in a direction, int64 [n] (-1: not yet); whether a leg was
        ever lost, bool [n]; and from then on that of `Limp`.
        """
        return np.full(num_envs, -1, np.int64), np.zeros(num_envs, bool), *self._limp.initial_state(num_envs)

    def act(self, observation: np.ndarray, previous: Previous, state: State,
            reset_mask: np.ndarray) -> tuple[np.ndarray, Mapping[str, np.ndarray], State]:
        """As `contracts.Actor.act`; `extras` is empty."""
        seen, task = np.split(observation, [ANT.observation_size], axis=1)
        seen, known = np.ascontiguousarray(seen), fields_of(task)
        fresh = reset_mask | previous.done
        quarters, limps, *limp = (np.where(fresh, begun, before) for begun, before in zip(
            self.initial_state(len(seen)), state, strict=True))
        direction = np.arctan2(known["heading"][:, 1], known["heading"][:, 0])  # 0, along x, where none is asked for
        lost = lost_leg(task)
        wanted, quarters = self._expert.along(seen, direction, quarters)
        if limps.any() or (lost >= 0).any():
            limp[0] = np.where(limps, limp[0], quarters)
            limps = limps | (lost >= 0)
            limping, after = self._limp.act(seen, lost, direction, (limp[0], limp[1], limp[2]))
            wanted = np.where(limps[:, None], limping, wanted)
            limp = [np.where(limps, then, now) for then, now in zip(after, limp, strict=True)]
        action = np.empty_like(wanted)
        action[np.arange(len(action))[:, None], known["wiring"]] = wanted * np.where(known["gear"] < 0, -1, 1)
        return action, {}, (quarters, limps, *limp)
