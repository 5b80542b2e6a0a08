"""Shapes, dtypes, units and bounds of what travels between environment, policy and learner."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class RobotSpec:
    """Sizes and bounds of one robot's observation and action.

    Attributes:
        name: Gymnasium id of the task.
        observation_size: Length of one observation, float32.
        action_size: Length of one action, float32.
        control_period: Seconds of simulated time per action [s].
    """

    name: str
    observation_size: int
    action_size: int
    control_period: float
    action_low: float = -1.0
    action_high: float = 1.0

    def check_observation(self, observation: np.ndarray, num_envs: int | None = None) -> np.ndarray:
        """Return `observation` if it is float32 [n, observation_size], else raise ValueError."""
        return _check(observation, "observation", self.observation_size, num_envs)

    def check_action(self, action: np.ndarray, num_envs: int | None = None) -> np.ndarray:
        """Return `action` if it is finite float32 [n, action_size], else raise ValueError."""
        _check(action, "action", self.action_size, num_envs)
        if not np.isfinite(action).all():
            row, column = np.argwhere(~np.isfinite(action))[0]
            raise ValueError(f"action must be finite, found {action[row, column]} in row {row}, joint {column}")
        return action


def _check(array: np.ndarray, what: str, size: int, num_envs: int | None) -> np.ndarray:
    if array.dtype != np.float32:
        raise ValueError(f"{what} must be float32, found {array.dtype}")
    rows = "n" if num_envs is None else num_envs
    if array.ndim != 2 or array.shape[1] != size or (num_envs is not None and array.shape[0] != num_envs):
        raise ValueError(f"{what} must have shape ({rows}, {size}), found {array.shape}")
    return array


# Observation: 13 positions (torso height and orientation, 8 joint angles), 14 velocities, 78 contact forces (13 bodies
# x 6).
ANT = RobotSpec(name="Ant-v5", observation_size=105, action_size=8, control_period=0.05)

# Order of the actuators of ant.xml, which is the order of the action.
ACTUATOR_NAMES = ("hip_4", "ankle_4", "hip_1", "ankle_1", "hip_2", "ankle_2", "hip_3", "ankle_3")
# Order of the joints in positions and velocities.
JOINT_NAMES = ("hip_1", "ankle_1", "hip_2", "ankle_2", "hip_3", "ankle_3", "hip_4", "ankle_4")
