"""What an actor's network gives is made into actions by a head: draws, densities, and the graph that is exported."""

from __future__ import annotations

import math
from typing import Protocol

import keras
import numpy as np
import tensorflow as tf

from ant_rl_core import exploration
from trainer.export.policy_graph import PolicyGraph, best_graph, stochastic_graph
from trainer.networks.statistics import Normalizer

_LARGEST_SAMPLE = np.arctanh(exploration.ACTION_LIMIT)


class Head(Protocol):
    """A distribution over actions.

    Attributes:
        variables: of its own, which gradients change.
    """

    variables: list[keras.Variable]

    def renew(self) -> None:
        """From now on draw by what was learned."""

    def draw(self, output: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Actions float32 [n, action_size] and their log-densities [n], for what the network gave, [n, action_size]."""

    def best(self, output: np.ndarray) -> np.ndarray:
        """The action [n, action_size] that the exported policy takes."""

    def samples(self, action: np.ndarray) -> np.ndarray:
        """What `log_prob` takes for actions; arrays of their shape."""

    def log_prob(self, output: tf.Tensor, sample: tf.Tensor) -> tf.Tensor:
        """Log-densities [...] of samples [..., action_size], up to what cancels in ratios."""

    def drawn_log_prob(self, log_prob: np.ndarray, sample: np.ndarray) -> np.ndarray:
        """What `log_prob` should give [...] for samples whose actions were drawn with these log-densities."""

    def entropy(self, output: tf.Tensor) -> tf.Tensor:
        """Mean entropy in nats, a scalar."""

    def bound(self) -> None:
        """Keep what was learned within its bounds after a gradient step, inside a compiled function."""

    def metrics(self) -> dict[str, float]:
        """Figures for the curve."""

    def graph(self, network: keras.Model, normalizer: Normalizer) -> PolicyGraph:
        """The policy as it is exported."""


class GaussianHead:
    """A tanh-squashed Gaussian of the same width everywhere; the network gives its mean before the squashing.

    Args:
        action_size: of the robot.
        initial_log_std, min_std: see `OnPolicyConfig`.

    Attributes:
        log_std: [action_size].
    """

    def __init__(self, action_size: int, initial_log_std: float, min_std: float) -> None:
        self._size, self._least = action_size, math.log(min_std)
        self.log_std = keras.Variable(np.full(action_size, initial_log_std, np.float32), name="log_std")
        self.variables = [self.log_std]
        self.renew()

    def renew(self) -> None:
        """From now on draw by what was learned."""
        self._acting_log_std = self.log_std.numpy()

    def draw(self, output: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """See `exploration.sample`."""
        return exploration.sample(output, self._acting_log_std, rng)

    def best(self, output: np.ndarray) -> np.ndarray:
        """The mean, squashed."""
        return np.tanh(output)

    def samples(self, action: np.ndarray) -> np.ndarray:
        """The Gaussian samples that were squashed into the actions."""
        # An action at the very edge, which only another policy than ours can have chosen, has no finite sample.
        return np.arctanh(np.clip(action, -exploration.ACTION_LIMIT, exploration.ACTION_LIMIT))

    def log_prob(self, output: tf.Tensor, sample: tf.Tensor) -> tf.Tensor:
        """Log-densities of Gaussian samples, before the squashing, whose share cancels in ratios."""
        log_std = tf.convert_to_tensor(self.log_std)
        # Beyond the largest sample that an action can tell of, means are all the same: pulling them would never end.
        mean = tf.clip_by_value(output, -_LARGEST_SAMPLE, _LARGEST_SAMPLE)
        scaled = (sample - mean) * tf.exp(-log_std)
        constant = 0.5 * math.log(2.0 * math.pi) * self._size
        return -tf.reduce_sum(0.5 * tf.square(scaled) + log_std, axis=-1) - constant

    def drawn_log_prob(self, log_prob: np.ndarray, sample: np.ndarray) -> np.ndarray:
        """The densities without the share of the squashing; NaN where float32 can't tell an action from the edge."""
        found = log_prob + exploration.log_tanh_derivative(sample).sum(axis=-1)
        return np.where((np.abs(sample) < _TOLD_EXACTLY).all(axis=-1), found, np.nan)

    def entropy(self, output: tf.Tensor) -> tf.Tensor:
        """Entropy of the Gaussian before the squashing, in nats."""
        return tf.reduce_sum(self.log_std) + 0.5 * math.log(2.0 * math.pi * math.e) * self._size

    def bound(self) -> None:
        """Keep the Gaussian as wide as `min_std`."""
        self.log_std.assign(tf.maximum(self.log_std, self._least))

    def metrics(self) -> dict[str, float]:
        """The mean standard deviation, over the actions."""
        return {"std": float(np.exp(self.log_std.numpy()).mean())}

    def graph(self, network: keras.Model, normalizer: Normalizer) -> PolicyGraph:
        """Gives action, mean and log_std."""
        return stochastic_graph(network, self.log_std, normalizer)


_TOLD_EXACTLY = 3.0  # samples, whose tanh is at most 0.995: the error of float32 in them is below 1e-5


class CategoricalHead:
    """A choice of one of the action's numbers, which is then 1 and the others 0; the network gives the logits."""

    def __init__(self) -> None:
        self.variables: list[keras.Variable] = []

    def renew(self) -> None:
        """There is nothing of its own to renew."""

    def draw(self, output: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """The choice with the largest logit after noise was added to all (Gumbel, 1954)."""
        action = self.best(output + rng.gumbel(size=output.shape))
        shifted = output - output.max(axis=1, keepdims=True)
        log_prob = (shifted * action).sum(axis=1) - np.log(np.exp(shifted).sum(axis=1))
        return action, log_prob.astype(np.float32)

    def best(self, output: np.ndarray) -> np.ndarray:
        """The first of the largest logits."""
        action = np.zeros(output.shape, np.float32)
        action[np.arange(len(output)), output.argmax(axis=1)] = 1.0
        return action

    def samples(self, action: np.ndarray) -> np.ndarray:
        """The actions themselves."""
        return action

    def log_prob(self, output: tf.Tensor, sample: tf.Tensor) -> tf.Tensor:
        """Log-probabilities of what was chosen."""
        return tf.reduce_sum(tf.nn.log_softmax(output) * sample, axis=-1)

    def drawn_log_prob(self, log_prob: np.ndarray, sample: np.ndarray) -> np.ndarray:
        """The same."""
        return log_prob

    def entropy(self, output: tf.Tensor) -> tf.Tensor:
        """Mean entropy of the choices."""
        log_prob = tf.nn.log_softmax(output)
        return -tf.reduce_mean(tf.reduce_sum(tf.exp(log_prob) * log_prob, axis=-1))

    def bound(self) -> None:
        """There is nothing of its own to bound."""
        return

    def metrics(self) -> dict[str, float]:
        """None of its own."""
        return {}

    def graph(self, network: keras.Model, normalizer: Normalizer) -> PolicyGraph:
        """Gives the action with the largest logit."""
        return best_graph(network, normalizer)
