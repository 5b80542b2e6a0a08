"""A point in the plane that is to go to a place it isn't told."""

from __future__ import annotations

import numpy as np

from ant_env_node.tasks.tiny import TinyEnv
from ant_rl_core.spec import RobotSpec

_PERIOD = 0.1  # [s]
_KEPT = 0.8  # share of the velocity that a tick leaves
_PUSH = 0.4  # [m/s] that a tick adds at full action: 2 m/s at most
_RADIUS = 1.0  # [m] of the circle on which goals are


class Point2D(TinyEnv):
    """Trials of two episodes of 20 ticks to one goal on a circle of 1 m around the start, anywhere on it.

    The observation is position [m] and velocity [m/s], the action pushes, the reward is minus the distance to the goal
    [m] after the tick. Episodes end by a time limit, and begin at rest in the middle. The task is the goal's place [m].

    Args:
        num_envs, seed, part: as of `TinyEnv`.
    """

    ARRAYS = ("_position", "_velocity", "_goal")

    def __init__(self, num_envs: int, seed: int | None = None, part: str = "train") -> None:
        self._position, self._velocity, self._goal = np.zeros((3, num_envs, 2))
        super().__init__(num_envs, seed, part, RobotSpec("point2d", 4, 2, control_period=_PERIOD), episode_steps=20,
                         episodes_per_trial=2, terminates=False)

    def _draw(self, rows: np.ndarray) -> None:
        angle = 2.0 * np.pi * self._streams.uniform(rows, 1)
        self._goal[rows] = _RADIUS * np.concatenate([np.cos(angle), np.sin(angle)], axis=1)

    def _begin(self, rows: np.ndarray) -> None:
        self._position[rows] = self._velocity[rows] = 0.0

    def _move(self, action: np.ndarray) -> np.ndarray:
        self._velocity[:] = _KEPT * self._velocity + _PUSH * action.clip(-1.0, 1.0)
        self._position += _PERIOD * self._velocity
        return -np.hypot(*(self._position - self._goal).T)

    def _observe(self) -> np.ndarray:
        return np.concatenate([self._position, self._velocity], axis=1).astype(np.float32)

    def _task(self) -> np.ndarray:
        return self._goal.astype(np.float32)
