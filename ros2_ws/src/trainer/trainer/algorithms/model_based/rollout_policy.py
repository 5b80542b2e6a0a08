"""The policy that imagined robots go by: a small copy of the agent's, learned from what the agent does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf

from ant_rl_core.spec import ANT
from trainer.models.kinematics import STATE_SIZE
from trainer.networks import weights
from trainer.networks.mlp import NumpyMLP, mlp


class RolloutPolicy:
    """Gives, of scaled states, the mean of a Gaussian before the squashing; its width is the agent's.

    Args:
        hidden: sizes of its hidden layers.
        learning_rate: of its own Adam.
        seed: of its weights.

    Attributes:
        network: from scaled states [r, 27] to means [r, 8].
    """

    def __init__(self, hidden: Sequence[int], learning_rate: float, seed: int) -> None:
        self.network = mlp(STATE_SIZE, hidden, ANT.action_size, output_gain=0.01, seed=seed, name="rollout_policy")
        self._optimizer = keras.optimizers.Adam(learning_rate)
        self._optimizer.build(self.network.trainable_variables)
        self._pass = tf.function(self._run_pass, jit_compile=True)
        self.renew()

    def action(self, scaled: np.ndarray) -> np.ndarray:
        """Squashed means, float32 [r, 8], by the copy that acts in numpy."""
        return np.tanh(self._acting(scaled.astype(np.float32)))

    def learn(self, scaled: tf.Tensor, mean: tf.Tensor, std: tf.Tensor, order: np.ndarray) -> float:
        """Approach what the agent does; returns the mean divergence on the way [nats].

        Args:
            scaled: states [m, 27].
            mean: the agent's means before the squashing [m, 8]; nothing of it is changed.
            std: its standard deviations [8].
            order: int [steps, rows], which rows each gradient step is made of.
        """
        found = float(self._pass(scaled, mean, std, tf.constant(order, tf.int32)))
        self.renew()
        return found

    def divergence(self, scaled: tf.Tensor, mean: tf.Tensor, std: tf.Tensor) -> tf.Tensor:
        """Mean Kullback-Leibler divergence [nats] of the agent's Gaussians from those of this policy, as wide as they.

        Differentiable with respect to this policy alone.
        """
        off = (self.network(scaled) - tf.stop_gradient(mean)) / tf.stop_gradient(std)
        return 0.5 * tf.reduce_mean(tf.reduce_sum(tf.square(off), axis=-1))

    def renew(self) -> None:
        """From now on act in numpy by what was learned."""
        self._acting = NumpyMLP(self.network.layers[1:])

    def variables(self) -> list[keras.Variable]:
        """Of network and optimizer, in the order of the checkpoint."""
        return [*self.network.trainable_variables, *weights.of_optimizer(self._optimizer)]

    def restore(self, saved: Mapping[str, np.ndarray], prefix: str) -> None:
        """Continue from `variables` as they were packed; ValueError if they were of other sizes."""
        weights.unpack(prefix, self.variables(), saved)
        self.renew()

    def _run_pass(self, scaled: tf.Tensor, mean: tf.Tensor, std: tf.Tensor, order: tf.Tensor) -> tf.Tensor:
        learned, total = self.network.trainable_variables, tf.zeros(())
        for i in tf.range(tf.shape(order)[0]):
            with tf.GradientTape() as tape:
                loss = self.divergence(tf.gather(scaled, order[i]), tf.gather(mean, order[i]), std)
            self._optimizer.apply(tape.gradient(loss, [each.value for each in learned]), learned)
            total += loss
        return total / tf.cast(tf.shape(order)[0], tf.float32)
