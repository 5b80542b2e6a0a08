"""Guides for motors that are wired the wrong way round, and for cables that were exchanged."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
from keras import ops

from ant_env_node.tasks.task import NUM_ACTUATORS, fields_of
from trainer.algorithms.meta.guided.contract import Tick, Unseen

_NUM_PAIRS = NUM_ACTUATORS // 2  # hip and ankle of a leg lie side by side


class Motors(Unseen):
    """Which motors are wired the wrong way round: a sign for each."""

    size = gates = products = NUM_ACTUATORS
    lags = 0
    takes_reward = False

    def labels(self, task: np.ndarray) -> np.ndarray:
        """1 where a motor is wired rightly, 0 where it is reversed."""
        return (fields_of(task)["gear"] > 0).astype(np.float32)

    def loss(self, logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """Cross entropy, mean over the motors [nats]."""
        return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels, logits), axis=-1)

    def belief(self, logits: Any) -> Any:
        """Expected signs, as if the odds were twice as long: what is nearly known is used fully."""
        return ops.tanh(logits)

    def certain(self, labels: Any) -> Any:
        """Signs."""
        return 2.0 * labels - 1.0

    def evidence(self, gates: Any, tick: Tick) -> Any:
        """A motor's inferred torque times what was sent to it is positive where it is wired rightly."""
        return gates * tick.sent

    def readout(self) -> np.ndarray:
        """Each product speaks for its motor."""
        return np.eye(NUM_ACTUATORS, dtype=np.float32)

    def command(self, action: Any, belief: Any) -> Any:
        """Turned round again, and weak where the sign is unknown."""
        return action * belief


class Legs(Unseen):
    """Which leg's cables drive each leg, and whether the wrong way round: of 8 possibilities per leg, one."""

    size = _NUM_PAIRS * _NUM_PAIRS * 2  # leg, source, reversed or not
    gates = NUM_ACTUATORS
    products = _NUM_PAIRS * _NUM_PAIRS * 2  # leg, source, hip or ankle
    lags = 0
    takes_reward = False

    def labels(self, task: np.ndarray) -> np.ndarray:
        """One of each leg's 8 numbers is 1."""
        known = fields_of(task)
        source = known["wiring"][:, ::2] // 2
        reversed_ = (known["gear"][:, ::2] < 0).astype(np.int64)
        return np.eye(2 * _NUM_PAIRS, dtype=np.float32)[2 * source + reversed_].reshape(len(task), self.size)

    def loss(self, logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """Cross entropy, mean over the legs [nats]."""
        shape = (-1, _NUM_PAIRS, 2 * _NUM_PAIRS)
        return tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(tf.reshape(labels, shape),
                                                                      tf.reshape(logits, shape)), axis=-1)

    def belief(self, logits: Any) -> Any:
        """For each leg and source, how likely it is that the leg follows it, less that it does so reversed."""
        likely = ops.softmax(ops.reshape(2.0 * logits, (-1, _NUM_PAIRS, 2 * _NUM_PAIRS)), axis=-1)
        return self._signed(likely)

    def certain(self, labels: Any) -> Any:
        """As `belief`, of 1, 0 and -1."""
        return self._signed(ops.reshape(labels, (-1, _NUM_PAIRS, 2 * _NUM_PAIRS)))

    def evidence(self, gates: Any, tick: Tick) -> Any:
        """Each leg's inferred torques times what was sent by each source, hips and ankles apart."""
        products = ops.reshape(gates, (-1, _NUM_PAIRS, 1, 2)) * ops.reshape(tick.sent, (-1, 1, _NUM_PAIRS, 2))
        return ops.reshape(products, (-1, self.products))

    def readout(self) -> np.ndarray:
        """Products of a leg and a source speak for that source, and against its being reversed."""
        pairs = np.eye(_NUM_PAIRS * _NUM_PAIRS, dtype=np.float32)
        return np.kron(pairs, np.array([[0.5, -0.5], [0.5, -0.5]], np.float32))

    def command(self, action: Any, belief: Any) -> Any:
        """Each source sends what the leg is to do that follows it."""
        wanted = ops.reshape(action, (-1, _NUM_PAIRS, 1, 2))
        sent = ops.sum(wanted * ops.reshape(belief, (-1, _NUM_PAIRS, _NUM_PAIRS, 1)), axis=1)
        return ops.clip(ops.reshape(sent, (-1, NUM_ACTUATORS)), -1.0, 1.0)

    def _signed(self, likely: Any) -> Any:
        pairs = ops.reshape(likely, (-1, _NUM_PAIRS, _NUM_PAIRS, 2))
        return ops.reshape(pairs[..., 0] - pairs[..., 1], (-1, _NUM_PAIRS * _NUM_PAIRS))
