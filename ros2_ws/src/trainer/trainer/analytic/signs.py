"""Which motors are wired the wrong way round, told by what the joints do: for tasks such as `wired`."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ant_env_node.tasks import symmetry
from ant_rl_core.spec import ACTUATOR_NAMES, JOINT_NAMES
from ant_rl_core.step import Previous
from trainer.analytic.expert import Expert

_JOINT_OF = [JOINT_NAMES.index(name) for name in ACTUATOR_NAMES]

State = tuple[np.ndarray, np.ndarray]


class SignFilter:
    """Sends an expert's action with the sign that each motor seems to have; see `contracts.Actor`.

    The sign is that of the running correlation of what was sent and how the joint's velocity changed then. At a
    trial's first tick all are taken to be right.

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
        velocity = observation[:, symmetry.JOINT_VELOCITIES][:, _JOINT_OF]
        told = ~(reset_mask | previous.done)  # what follows an episode's end is of no action
        score = np.where(reset_mask[:, None], 0, score) + told[:, None] * previous.action * (velocity - before)
        signs = np.where(score < 0, -1, 1).astype(np.float32)
        return signs * self._expert(observation), {}, (velocity, score.astype(np.float32))
