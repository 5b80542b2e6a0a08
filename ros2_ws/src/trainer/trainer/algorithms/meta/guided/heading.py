"""A guide for directions that are rewarded, and one for actions that come late."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
from keras import ops

from ant_env_node.tasks.task import NUM_ACTUATORS, fields_of
from ant_env_node.vec_env import ANT_DEFAULTS
from trainer.algorithms.meta.guided.contract import OneOf, Tick, Unseen

_VELOCITY = 13  # where the torso's velocity begins in an observation, along x and y in the world


class Heading(Unseen):
    """In which direction walking is rewarded, which only the reward tells."""

    size = 2
    gates = 5
    products = 5
    lags = 0
    takes_reward = True

    def labels(self, task: np.ndarray) -> np.ndarray:
        """Cosine and sine of the direction, from x towards y."""
        return fields_of(task)["heading"].astype(np.float32)

    def loss(self, logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """Square of the difference."""
        return tf.reduce_sum(tf.square(logits - labels), axis=-1)

    def belief(self, logits: Any) -> Any:
        """A direction of length 1."""
        return logits / ops.sqrt(ops.sum(ops.square(logits), axis=-1, keepdims=True) + 1e-6)

    def certain(self, labels: Any) -> Any:
        """It is one."""
        return labels

    def evidence(self, gates: Any, tick: Tick) -> Any:
        """What the normal equations of reward on velocity are made of, each as far as the network trusts it.

        The reward is the velocity along the direction, and that of being upright, less what the torques cost.
        """
        x, y = tick.seen[:, _VELOCITY:_VELOCITY + 1], tick.seen[:, _VELOCITY + 1:_VELOCITY + 2]
        cost = ANT_DEFAULTS["ctrl_cost_weight"] * ops.sum(ops.square(tick.sent), axis=-1, keepdims=True)
        along = tick.reward - ANT_DEFAULTS["healthy_reward"] + cost
        return ops.sigmoid(gates) * ops.concatenate([along * x, along * y, x * x, x * y, y * y], axis=-1)

    def readout(self) -> np.ndarray:
        """Nothing at the start: the sums are not in proportion to the direction."""
        return np.zeros((self.products, self.size), np.float32)

    def command(self, action: Any, belief: Any) -> Any:
        """The robot is turned instead: see `Directions`."""
        return action


class Delay(OneOf, Unseen):
    """How many ticks an action takes to arrive; see `Foresight` for what helps.

    Args:
        most: ticks.
    """

    gates = NUM_ACTUATORS
    takes_reward = False

    def __init__(self, most: int) -> None:
        self.lags, self.size = most, most + 1
        self.products = self.size * NUM_ACTUATORS

    def labels(self, task: np.ndarray) -> np.ndarray:
        """1 at the delay, 0 elsewhere."""
        return np.eye(self.size, dtype=np.float32)[fields_of(task)["delay"]]

    def evidence(self, gates: Any, tick: Tick) -> Any:
        """The torques that were inferred times each of the actions that may have caused them."""
        products = ops.expand_dims(gates, 1) * ops.reshape(tick.sent, (-1, self.size, NUM_ACTUATORS))
        return ops.reshape(products, (-1, self.products))

    def readout(self) -> np.ndarray:
        """The products of all motors speak for the delay."""
        return np.kron(np.eye(self.size, dtype=np.float32), np.ones((NUM_ACTUATORS, 1), np.float32))
