"""A guide for policies that were made to be told their task in numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
from keras import ops

from ant_env_node.tasks.distribution import TaskDistribution
from trainer.algorithms.meta.guided.contract import Strengths


class Described(Strengths):
    """The numbers of a task that differ in a distribution, for a policy that was made to be told them.

    Args:
        tasks: where they differ.
    """

    def __init__(self, tasks: TaskDistribution) -> None:
        vectors = np.array([task.vector() for task in tasks.train])
        self._differ = np.flatnonzero(vectors.std(axis=0) > 0)
        self.size = len(self._differ)
        self._mean, self._std = vectors[:, self._differ].mean(axis=0), vectors[:, self._differ].std(axis=0)
        # From what is estimated to the whole vector.
        self._spread = (np.eye(vectors.shape[1], dtype=np.float32)[self._differ] * self._std[:, None])
        self._middle = np.where(vectors.std(axis=0) > 0, vectors.mean(axis=0), vectors[0]).astype(np.float32)

    def labels(self, task: np.ndarray) -> np.ndarray:
        """The numbers that differ, less their mean, by their standard deviation."""
        return ((task[:, self._differ] - self._mean) / self._std).astype(np.float32)

    def loss(self, logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """Square of the differences, mean over the numbers."""
        return tf.reduce_mean(tf.square(logits - labels), axis=-1)

    def belief(self, logits: Any) -> Any:
        """The whole vector."""
        return ops.matmul(logits, self._spread) + self._middle

    def certain(self, labels: Any) -> Any:
        """It is the same."""
        return self.belief(labels)

    def view(self, observation: Any, belief: Any) -> Any:
        """With the task behind it."""
        return ops.concatenate([observation, belief], axis=-1)

    def command(self, action: Any, belief: Any) -> Any:
        """The policy knows what to send."""
        return action
