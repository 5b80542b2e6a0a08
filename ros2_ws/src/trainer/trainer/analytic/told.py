"""What an expert does that is told which motors do what, and where to go: an oracle that nobody had to train."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ant_env_node.tasks import symmetry
from ant_env_node.tasks.presets import lost_leg
from ant_env_node.tasks.task import fields_of
from ant_rl_core.spec import ANT
from ant_rl_core.step import Previous
from trainer.analytic.expert import Expert

SPARE = 1  # the leg that the shipped policy can do without: 6,400 in 1,000 steps; without 0, 2 or 3: -600, 700, 1,400
TURN = 0.06  # [rad] per tick, back to the direction after a quarter: it rarely stumbles

State = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


class ToldExpert:
    """Undoes what a task does to motors, and walks where it is told to; see `contracts.Actor`.

    Wires that are crossed or the wrong way round are crossed again. Where a leg is lost, legs get other names, under
    which it is the one that the expert can do without; that may be a quarter turn, after which the robot turns back.
    Its observation is that of `ToldTask`: 105 numbers, then the task's.

    Args:
        expert: walks along x, with all motors as they should be.
    """

    def __init__(self, expert: Expert) -> None:
        self._expert = expert
        self.version = expert.version

    def initial_state(self, num_envs: int) -> State:
        """By how many quarters legs were renamed (-1: not yet), whether left and right were exchanged, by how much the
        robot walks beside its direction [rad], and whether it ever lost a leg, each [n].
        """
        return (np.full(num_envs, -1, np.int64), np.zeros(num_envs, bool), np.zeros(num_envs),
                np.zeros(num_envs, bool))

    def act(self, observation: np.ndarray, previous: Previous, state: State,
            reset_mask: np.ndarray) -> tuple[np.ndarray, Mapping[str, np.ndarray], State]:
        """As `contracts.Actor.act`; `extras` is empty."""
        seen, task = np.split(observation, [ANT.observation_size], axis=1)
        seen, known = np.ascontiguousarray(seen), fields_of(task)
        fresh = reset_mask | previous.done
        quarters, mirrored, aside, limps = (np.where(fresh, begun, before) for begun, before in zip(
            self.initial_state(len(seen)), state, strict=True))
        lost, direction = lost_leg(task), np.arctan2(known["heading"][:, 1], known["heading"][:, 0])  # 0: along x
        limps = limps | (lost >= 0)
        wanted, whole = self._expert.along(seen, direction, quarters)
        if limps.any():
            quarters = np.maximum(quarters, 0)
            turn, mirrored = symmetry.names_for(lost, SPARE, quarters, mirrored)
            aside = np.angle(np.exp(1j * (aside + turn * np.pi / 2)))
            aside = np.sign(aside) * np.maximum(np.abs(aside) - TURN, 0.0)
            named = (quarters + turn) % symmetry.NUM_LEGS
            limping = self._expert.under_other_names(seen, direction + aside, named, mirrored)
            wanted, whole = np.where(limps[:, None], limping, wanted), np.where(limps, named, whole)
        action = np.empty_like(wanted)
        action[np.arange(len(action))[:, None], known["wiring"]] = wanted * np.where(known["gear"] < 0, -1, 1)
        return action, {}, (whole, mirrored & limps, np.where(limps, aside, 0.0), limps)
