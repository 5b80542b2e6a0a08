"""What an expert does that is told where a ball is: it steps aside, and nobody had to train it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ant_env_node.tasks.moving import seen as moving
from ant_rl_core.spec import ANT
from ant_rl_core.step import Previous
from trainer.analytic.expert import Expert
from trainer.models.kinematics import VELOCITY

_NEAR = 1.5  # [m]: balls that would pass farther away are left alone
_FADING = 0.8  # of what the robot's velocity was, per tick: within a gait it goes up and down
_TURN = 0.25  # [rad] by which the direction to walk in changes at most, per tick

State = tuple[np.ndarray, np.ndarray, np.ndarray]


class Dodger:
    """Walks along x, and away from where a ball would pass it; see `contracts.Actor`.

    Its observation is that of `ToldTask`: 105 numbers, then the task's.

    Args:
        expert: walks along x.
    """

    def __init__(self, expert: Expert) -> None:
        self._expert = expert
        self.version = expert.version

    def initial_state(self, num_envs: int) -> State:
        """Legs as of `Expert.along`, int64 [n]; velocity [n, 2] [m/s]; the direction it walks in [rad], [n]."""
        return np.full(num_envs, -1, np.int64), np.zeros((num_envs, 2)), np.zeros(num_envs)

    def act(self, observation: np.ndarray, previous: Previous, state: State,
            reset_mask: np.ndarray) -> tuple[np.ndarray, Mapping[str, np.ndarray], State]:
        """As `contracts.Actor.act`; `extras` is empty."""
        seen, task = np.split(observation, [ANT.observation_size], axis=1)
        fresh = reset_mask | previous.done
        quarters, velocity, direction = (
            np.where(fresh.reshape(-1, *[1] * (before.ndim - 1)), begun, before)
            for begun, before in zip(self.initial_state(len(seen)), state, strict=True))
        velocity = _FADING * velocity + (1 - _FADING) * seen[:, VELOCITY]
        direction = direction + np.clip(wanted_direction(task, velocity) - direction, -_TURN, _TURN)
        action, quarters = self._expert.along(np.ascontiguousarray(seen), direction, quarters)
        return action, {}, (quarters, velocity, direction)


def wanted_direction(task: np.ndarray, velocity: np.ndarray) -> np.ndarray:
    """Where to walk [rad], [n]: 0, or where a ball would pass near, away from there, at most a quarter turn off x.

    Args:
        task: vectors [n, VECTOR_SIZE].
        velocity: of the robots, [n, 2] [m/s].
    """
    rolling, offset, ball = moving.ball_of(task)
    relative = ball - velocity
    seconds = -(offset * relative).sum(axis=1) / np.maximum(np.square(relative).sum(axis=1), 1e-9)
    passing = offset + relative * seconds[:, None]
    endangered = rolling & (seconds > 0) & (np.square(passing).sum(axis=1) < _NEAR ** 2)
    away = np.clip(np.arctan2(-passing[:, 1], -passing[:, 0]), -np.pi / 2, np.pi / 2)
    return np.where(endangered, away, 0.0)
