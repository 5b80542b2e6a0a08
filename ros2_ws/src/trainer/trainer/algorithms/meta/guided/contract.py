"""What has to be known of a task before a policy that was not made for it can be used, and how it is used then.

A guide stands between a frozen policy and the robot. It says what is to be estimated (logits), how a belief is made of
that, what the policy is to see under this belief and what of its action reaches the motors. Where the belief is the
truth, policy and guide are an expert for the task, without training one.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np
import tensorflow as tf
from keras import ops

from ant_env_node.tasks.task import NUM_ACTUATORS


class Tick(NamedTuple):
    """What is known of a tick; arrays [n, ...] of Keras or numpy.

    Attributes:
        seen: positions and velocities, in SI units.
        sent: actions side by side, the newest first.
        reward: for the newest of them, [n, 1].
    """

    seen: Any
    sent: Any
    reward: Any


class Guide(Protocol):
    """See the module; arrays have one row per robot, and `ops` of Keras takes numpy's arrays and tensors alike.

    Attributes:
        size: numbers that are estimated.
        gates, products: numbers that `evidence` takes and gives.
        lags: how many actions before the previous one it needs.
        takes_reward: whether the reward tells of the task.
    """

    size: int
    gates: int
    products: int
    lags: int
    takes_reward: bool

    def labels(self, task: np.ndarray) -> np.ndarray:
        """What is to be estimated, float32 [n, size], of tasks as vectors (`Task.vector`)."""

    def loss(self, logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """How wrong estimates [n, size] are, [n]."""

    def belief(self, logits: Any) -> Any:
        """What is made of estimates."""

    def certain(self, labels: Any) -> Any:
        """The belief of one who is told."""

    def evidence(self, gates: Any, tick: Tick) -> Any:
        """Products [n, products] of what was seen, as the network puts it [n, gates], and of what was sent or given."""

    def readout(self) -> np.ndarray:
        """What sums of products say of the estimates at the start of learning, [products, size]."""

    def view(self, observation: Any, belief: Any) -> Any:
        """What the policy is to see, of observations as they come [n, observation_size]."""

    def command(self, action: Any, belief: Any) -> Any:
        """What to send so that the policy's action comes true, each [n, action_size]."""


class OneOf:
    """Of a task that is one of some, of which the policy's action needs no change: the robot is led otherwise."""

    def loss(self, logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """Cross entropy [nats]."""
        return tf.nn.softmax_cross_entropy_with_logits(labels, logits)

    def belief(self, logits: Any) -> Any:
        """How likely each is."""
        return ops.softmax(logits, axis=-1)

    def certain(self, labels: Any) -> Any:
        """1 and 0."""
        return labels

    def command(self, action: Any, belief: Any) -> Any:
        """As it is."""
        return action


class Strengths:
    """Of a task that shows in how much the motors give."""

    size: int
    gates = NUM_ACTUATORS
    products = 2 * NUM_ACTUATORS
    lags = 0
    takes_reward = False

    def evidence(self, gates: Any, tick: Tick) -> Any:
        """Inferred torques times what was sent, and what was sent by itself: their ratio is a motor's strength."""
        return ops.concatenate([gates * tick.sent, ops.square(tick.sent)], axis=-1)

    def readout(self) -> np.ndarray:
        """Nothing at the start: sums are not in proportion to strengths."""
        return np.zeros((self.products, self.size), np.float32)


class Unseen:
    """Of a task that makes the robot do other things than it is told, but changes nothing of what is to be seen."""

    def view(self, observation: Any, belief: Any) -> Any:
        """As it is."""
        return observation
