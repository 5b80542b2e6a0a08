"""Multi-layer perceptrons for actors and critics."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np


def mlp(input_size: int, hidden_sizes: Sequence[int], output_size: int, *, output_gain: float, seed: int,
        activation: str = "tanh", name: str) -> keras.Model:
    """Dense layers with orthogonal weights (gain sqrt(2) inside, `output_gain` last) and zero biases.

    Takes float32 [n, input_size], gives float32 [n, output_size]. Initialisation as in Andrychowicz et al., What
    Matters In On-Policy Reinforcement Learning?, arXiv:2006.05990.
    """
    seeds = iter(np.random.SeedSequence(seed).generate_state(len(hidden_sizes) + 1))
    inputs = keras.Input((input_size,), dtype="float32")
    x = inputs
    for i, size in enumerate(hidden_sizes):
        x = keras.layers.Dense(size, activation, name=f"hidden_{i}",
                               kernel_initializer=keras.initializers.Orthogonal(2.0**0.5, seed=int(next(seeds))))(x)
    x = keras.layers.Dense(output_size, name="output",
                           kernel_initializer=keras.initializers.Orthogonal(output_gain, seed=int(next(seeds))))(x)
    return keras.Model(inputs, x, name=name)


class NumpyMLP:
    """A frozen copy of an `mlp` network that runs in numpy.

    For a few rows at a time TensorFlow spends a hundred times longer on the call than on the arithmetic, so
    collection runs on this copy, renewed after every update.
    """

    def __init__(self, network: keras.Model) -> None:
        self._layers = [(layer.kernel.numpy(), layer.bias.numpy()) for layer in network.layers[1:]]
        self._activations = [_NUMPY_ACTIVATIONS[layer.activation.__name__] for layer in network.layers[1:]]

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """float32 [n, input_size] to float32 [n, output_size]."""
        for (kernel, bias), activation in zip(self._layers, self._activations, strict=True):
            x = activation(x @ kernel + bias)
        return x


_NUMPY_ACTIVATIONS = {"tanh": np.tanh, "linear": lambda x: x, "relu": lambda x: np.maximum(x, 0.0)}
