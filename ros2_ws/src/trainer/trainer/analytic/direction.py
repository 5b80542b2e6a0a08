"""Which direction is rewarded, told by least squares: for tasks such as `directions`."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ant_env_node.tasks import symmetry
from ant_env_node.vec_env import ANT_DEFAULTS
from ant_rl_core.step import Previous
from trainer.analytic.expert import Expert

_NOISE = 0.2  # [m/s] of a step's velocity along a direction about that of its two ends
_KEPT = 0.98  # of what was told, from tick to tick, as the task may change

State = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


class DirectionFilter:
    """Walks where the reward seems to be for; see `contracts.Actor`.

    Two numbers, the direction's x and y, are fitted by recursive least squares to the rewards less what is known of
    them (survival, control, contact), as a linear function of the velocity. Without any reward it walks along x.

    Args:
        expert: walks along x.
    """

    def __init__(self, expert: Expert) -> None:
        self._expert = expert
        self.version = expert.version

    def initial_state(self, num_envs: int) -> State:
        """Velocity before [n, 2], information [n, 2, 2] and its product with the direction [n, 2]; renamed legs [n]."""
        return (np.zeros((num_envs, 2)), np.zeros((num_envs, 2, 2)), np.zeros((num_envs, 2)),
                np.full(num_envs, -1, np.int64))

    def act(self, observation: np.ndarray, previous: Previous, state: State,
            reset_mask: np.ndarray) -> tuple[np.ndarray, Mapping[str, np.ndarray], State]:
        """As `contracts.Actor.act`; `extras` is empty."""
        before, information, product, quarters = state
        known, fresh = _KEPT * ~reset_mask, reset_mask | previous.done
        velocity = observation[:, symmetry.VELOCITY][:, :2].astype(np.float64)
        mean = np.where(fresh[:, None], 0.0, (before + velocity) / 2)
        rewarded = previous.reward - _known(previous, observation)
        information = known[:, None, None] * information + mean[:, :, None] * mean[:, None, :] / _NOISE**2
        product = known[:, None] * product + mean * rewarded[:, None] / _NOISE**2
        fitted = np.linalg.solve(information + np.eye(2), product[:, :, None])[:, :, 0]
        direction = np.arctan2(fitted[:, 1], fitted[:, 0])
        action, quarters = self._expert.along(observation, direction, np.where(fresh, -1, quarters))
        return action, {}, (velocity, information, product, quarters)


def _known(previous: Previous, observation: np.ndarray) -> np.ndarray:
    """The parts of a step's reward that no task changes, [n]."""
    control = ANT_DEFAULTS["ctrl_cost_weight"] * np.square(previous.action, dtype=np.float64).sum(axis=1)
    forces = np.square(observation[:, symmetry.CONTACTS], dtype=np.float64).sum(axis=1)
    return ANT_DEFAULTS["healthy_reward"] - control - ANT_DEFAULTS["contact_cost_weight"] * forces
