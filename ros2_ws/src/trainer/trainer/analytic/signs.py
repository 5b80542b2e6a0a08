"""Which motors are wired the wrong way round, told by what the joints do: for tasks such as `wired`."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ant_env_node.tasks import symmetry
from ant_rl_core.spec import ACTUATOR_NAMES, JOINT_NAMES
from ant_rl_core.step import Previous
from trainer.analytic.expert import Expert

_JOINT_OF = [JOINT_NAMES.index(name) for name in ACTUATOR_NAMES]
# Ranges of ant.xml, in the order of the actuators [rad]; the ankles of legs 2 and 3 are built the other way round.
_MIDDLE = np.radians([0 if name.startswith("hip") else -50 if name[-1] in "23" else 50 for name in ACTUATOR_NAMES])
_HALF_RANGE = np.radians([30 if name.startswith("hip") else 20 for name in ACTUATOR_NAMES])
_AT_THE_STOP = 4.0  # [rad/s] of a change of velocity, as much as which it tells that a joint lies at its stop
_KEPT = 0.95  # of what was told, from tick to tick, as the task may change

State = tuple[np.ndarray, np.ndarray]


class SignFilter:
    """Sends an expert's action with the sign that each motor seems to have; see `contracts.Actor`.

    The sign is that of the running correlation of what was sent and where it drove the joint: the change of its
    velocity, and how near it lies now to one of its stops, where a full torque brings it within two ticks and its
    velocity tells nothing any more. At a trial's first tick all signs are taken to be right.

    Args:
        expert: walks where they are.
    """

    def __init__(self, expert: Expert) -> None:
        self._expert = expert
        self.version = expert.version

    def initial_state(self, num_envs: int) -> State:
        """Joint velocities before, and the correlations, float32 [n, 8] each, in the order of the actuators."""
        return np.zeros((num_envs, 8), np.float32), np.zeros((num_envs, 8), np.float32)

    def act(self, observation: np.ndarray, previous: Previous, state: State,
            reset_mask: np.ndarray) -> tuple[np.ndarray, Mapping[str, np.ndarray], State]:
        """As `contracts.Actor.act`; `extras` is empty."""
        before, score = state
        velocity = velocities_of(observation)
        driven = velocity - before + _AT_THE_STOP * place_of(observation)
        told = ~(reset_mask | previous.done)  # what follows an episode's end is of no action
        score = np.where(reset_mask[:, None], 0, _KEPT * score) + told[:, None] * previous.action * driven
        signs = np.where(score < 0, -1, 1).astype(np.float32)
        return signs * self._expert(observation), {}, (velocity, score.astype(np.float32))


def velocities_of(observation: np.ndarray) -> np.ndarray:
    """Velocities of the joints [rad/s] in the order of the actuators, [n, 8]."""
    return observation[:, symmetry.JOINT_VELOCITIES][:, _JOINT_OF]


def place_of(observation: np.ndarray) -> np.ndarray:
    """Where the joints are between their stops, -1 to 1, in the order of the actuators, [n, 8]."""
    return (observation[:, symmetry.JOINTS][:, _JOINT_OF] - _MIDDLE) / _HALF_RANGE
