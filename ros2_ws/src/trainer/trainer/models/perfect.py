"""The perfect model: MuJoCo itself, from where the live robots are."""

from __future__ import annotations

import numpy as np

from ant_env_node.beside.robots import Beside
from ant_env_node.vec_env import VectorAnt
from trainer.models import kinematics
from trainer.models.interface import Moment


class PerfectModel:
    """What comes of an action is what then happens, bit for bit; see `EnvironmentModel`. numpy, not differentiable.

    It imagines from where the robots are now and from nowhere else: their simulations know more than observations tell.
    A moment can be gone on from once, and only the newest one. Its rewards are the environment's own, tasks' too.

    Args:
        live: the robots, to be asked between two of their steps; imagining changes nothing of them.
        num_threads: threads that step physics.
    """

    def __init__(self, live: VectorAnt, num_threads: int = 1) -> None:
        self._live, self._num_threads = live, num_threads
        self._beside: dict[int, Beside] = {}
        self._newest = 0

    def begin(self, observation: np.ndarray, branches: int = 1) -> Moment:
        """As `EnvironmentModel.begin`.

        Raises:
            ValueError: the robots are not where the observation says.
        """
        if branches not in self._beside:
            self._beside[branches] = Beside(self._live, branches, self._num_threads)
        found = self._beside[branches].begin()
        told = kinematics.state_of(np.asarray(observation)).astype(np.float32)
        if not np.array_equal(kinematics.state_of(found[:self._live.num_envs]).astype(np.float32), told):
            raise ValueError("the perfect model imagines from where its robots are now, found an observation that is "
                             "not theirs")
        nowhere = np.zeros((len(found), 2))
        return self._moment(found, nowhere, nowhere, np.zeros(len(found)), branches)

    def step(self, moment: Moment, action: np.ndarray) -> Moment:
        """As `EnvironmentModel.step`; ValueError where the moment is not the newest one."""
        branches, number = moment.inside
        if number != self._newest:
            raise ValueError("the perfect model goes on from its newest moment alone, found an older one: begin anew")
        after = self._beside[branches].step(np.asarray(action))
        return self._moment(after.observation, moment.place + after.displacement, after.displacement, after.reward,
                            branches)

    def close(self) -> None:
        """End the threads."""
        for beside in self._beside.values():
            beside.close()

    def _moment(self, observation: np.ndarray, place: np.ndarray, displacement: np.ndarray, reward: np.ndarray,
                branches: int) -> Moment:
        self._newest += 1
        return Moment(kinematics.state_of(observation), place, displacement, kinematics.contact_of(observation), reward,
                      (branches, self._newest))
