"""A policy that is shown what will be when its action arrives: for robots whose actions come late.

How late is estimated as any other task (`Estimator`); the actions on their way are known; what they will do is learned.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from ant_rl_core.step import Previous, Transition
from trainer.algorithms.meta.guided.contract import Guide
from trainer.algorithms.meta.guided.estimator import NUM_KINEMATICS, Estimator
from trainer.algorithms.meta.guided.experts import Expert, ForesightedExpert
from trainer.algorithms.meta.guided.heading import Delay
from trainer.networks.mlp import dense
from trainer.networks.recurrent import State

_CHANGE_WEIGHT = 0.02  # of foreseen positions and velocities themselves, beside the actions that come of them


class Foresight(Estimator):
    """An estimator of the delay, and a network that foresees the observation; see `Estimator`.

    Args:
        guide: of the delay.
        policy, observation_size, action_size, hidden, memory_size, seeds: as of `Estimator`.
        foresight: sizes of the layers that foresee.
    """

    def __init__(self, guide: Delay, policy: keras.Model, observation_size: int, action_size: int,
                 hidden: Sequence[int], memory_size: int, seeds: np.random.SeedSequence,
                 foresight: Sequence[int]) -> None:
        self._foresight, self._observation_size = tuple(foresight), observation_size
        super().__init__(guide, policy, observation_size, action_size, hidden, memory_size, seeds)

    def lesson(self, batch: Transition, previous: Previous) -> dict[str, np.ndarray]:
        """What of a tick is learned from."""
        ahead = np.asarray(batch.extras["observation_ahead"], np.float32)
        return {**super().lesson(batch, previous), "observation": batch.observation,
                "ahead": ahead[:, :NUM_KINEMATICS], "label": self._told.label(batch)}

    def _make_expert(self, guide: Guide, policy: keras.Model) -> Expert:
        self._told = ForesightedExpert(policy)
        return self._told

    def _further_layers(self, seeds: Iterator[int]) -> list[keras.layers.Layer]:
        self._foresee = [dense(size, next(seeds), activation="relu", name=f"foresee_{i}")
                         for i, size in enumerate(self._foresight)]
        # Nothing changes, at the start of learning.
        self._foreseen = keras.layers.Dense(self._observation_size, kernel_initializer="zeros", name="foreseen")
        return [*self._foresee, self._foreseen]

    def _drive(self, observation: Any, outputs: Any, belief: Any, state: State) -> tuple[Any, State]:
        return self._policy(self._ahead(observation, outputs, belief)), state

    def _ahead(self, observation: Any, outputs: Any, belief: Any) -> Any:
        """The observation [n, observation_size] when the action arrives."""
        x = ops.concatenate([self._scale(observation[:, :NUM_KINEMATICS], training=False),
                             observation[:, NUM_KINEMATICS:], outputs[:, self._guide.size:], belief], axis=-1)
        for layer in self._foresee:
            x = layer(x)
        return observation + self._foreseen(x)

    def _loss(self, lessons: dict[str, tf.Tensor], outputs: tf.Tensor) -> tf.Tensor:
        belief = self._guide.belief(outputs[:, :self._guide.size])
        ahead = self._ahead(lessons["observation"], outputs, belief)
        actions = tf.reduce_mean(tf.square(self._policy(ahead) - lessons["label"]))
        std = tf.sqrt(tf.convert_to_tensor(self._scale.moving_variance) + self._scale.epsilon)
        change = tf.reduce_mean(tf.square((ahead[:, :NUM_KINEMATICS] - lessons["ahead"]) / std))
        return super()._loss(lessons, outputs) * _CHANGE_WEIGHT + actions + _CHANGE_WEIGHT * change
