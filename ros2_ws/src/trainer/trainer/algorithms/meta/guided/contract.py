"""What has to be known of a task before a policy that was not made for it can be used, and how it is used then.

A guide stands between a frozen policy and the robot. It says what is to be estimated (logits), how a belief is made of
that, what the policy is to see under this belief and what of its action reaches the motors. Where the belief is the
truth, policy and guide are an expert for the task, without training one.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np
import tensorflow as tf


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


class Unseen:
    """Of a task that makes the robot do other things than it is told, but changes nothing of what is to be seen."""

    def view(self, observation: Any, belief: Any) -> Any:
        """As it is."""
        return observation
