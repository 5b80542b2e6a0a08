"""Multi-layer perceptrons for actors and critics."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import keras
import numpy as np
import tensorflow as tf

from trainer.networks.batch_renorm import BatchRenorm

PRECISIONS = ("float32", "bfloat16")


def mlp(input_size: int, hidden_sizes: Sequence[int], output_size: int, *, seed: int, name: str,
        activation: str = "tanh", output_gain: float | None = None, layer_norm: bool | Collection[int] = False,
        batch_renorm: bool = False, precision: str = "float32") -> keras.Model:
    """Dense layers from float32 [n, input_size] to float32 [n, output_size], with zero biases.

    Args:
        input_size, hidden_sizes, output_size: widths.
        seed: of the weights.
        name: of the model; those of its layers begin with it, so that a weight's path tells whose it is.
        activation: of the hidden layers.
        output_gain: the weights are orthogonal, with gain sqrt(2) inside and this one last (Andrychowicz et al., What
            Matters In On-Policy Reinforcement Learning?, arXiv:2006.05990); None: see `dense`.
        layer_norm: normalize after each hidden layer's sum, before its activation; or the indices of those where.
        batch_renorm: normalize the inputs of every layer, see `BatchRenorm`.
        precision: see `dense`.
    """
    seeds = iter(np.random.SeedSequence(seed).generate_state(len(hidden_sizes) + 1))

    def layer(size: int, gain: float | None, **options: str) -> keras.layers.Layer:
        made = dense(size, int(next(seeds)), precision, **options)
        if gain is not None:
            made.kernel_initializer = keras.initializers.Orthogonal(gain, seed=made.kernel_initializer.seed)
        return made

    def renormed(x: keras.KerasTensor, index: int) -> keras.KerasTensor:
        return BatchRenorm(name=f"{name}_renorm_{index}")(x) if batch_renorm else x

    inside = None if output_gain is None else 2.0**0.5
    inputs = keras.Input((input_size,), dtype="float32")
    x = inputs
    for i, size in enumerate(hidden_sizes):
        x = renormed(x, i)
        if layer_norm is True or layer_norm and i in layer_norm:
            x = layer(size, inside, name=f"{name}_hidden_{i}")(x)
            x = keras.layers.LayerNormalization(name=f"{name}_norm_{i}", epsilon=1e-5)(x)
            x = keras.layers.Activation(activation, name=f"{name}_activation_{i}")(x)
        else:
            x = layer(size, inside, activation=activation, name=f"{name}_hidden_{i}")(x)
    x = renormed(x, len(hidden_sizes))
    return keras.Model(inputs, layer(output_size, output_gain, name=f"{name}_output")(x), name=name)


def dense(size: int, seed: int, precision: str = "float32", **options: str) -> keras.layers.Dense:
    """A dense layer with weights uniform in ±1 / sqrt(inputs), as those that the published off-policy results rest on.

    Args:
        size: number of outputs.
        seed: of the weights.
        precision: float32; bfloat16 takes the products in bfloat16 and sums them in float32, see `BFloat16Dense`.
        **options: further arguments of the layer, such as its name and activation.
    """
    kernel = keras.initializers.VarianceScaling(1.0 / 3.0, "fan_in", "uniform", seed=seed)
    layer = {"float32": keras.layers.Dense, "bfloat16": BFloat16Dense}[precision]
    return layer(size, kernel_initializer=kernel, **options)


def first_seed(stream: np.random.SeedSequence) -> int:
    """The first number of a random stream, for libraries that take a number as their seed."""
    return int(stream.generate_state(1)[0])


class BFloat16Dense(keras.layers.Dense):
    """A dense layer for training whose matrix products take their factors in bfloat16.

    Weights, sums, activations and gradients stay float32. On processors with matrix units for bfloat16 (AMX) the
    products take a fifth of the time, elsewhere they take longer.
    """

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """As of the base class."""
        return self.activation(_bfloat16_matmul(inputs, tf.convert_to_tensor(self.kernel)) + self.bias)


@tf.custom_gradient
def _bfloat16_matmul(x: tf.Tensor, kernel: tf.Tensor) -> tuple[tf.Tensor, object]:
    x, kernel = tf.cast(x, tf.bfloat16), tf.cast(kernel, tf.bfloat16)

    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        upstream = tf.cast(upstream, tf.bfloat16)
        return (tf.cast(tf.matmul(upstream, kernel, transpose_b=True), tf.float32),
                tf.cast(tf.matmul(x, upstream, transpose_a=True), tf.float32))

    return tf.cast(tf.matmul(x, kernel), tf.float32), gradient


class NumpyMLP:
    """A frozen copy of dense layers, such as those of an `mlp` network without layer norm, that runs in numpy.

    For a few rows at a time TensorFlow spends a hundred times longer on the call than on the arithmetic, so
    on-policy collection runs on this copy, renewed after every update.

    Args:
        layers: those of the network, in order; of a model all but its input.
    """

    def __init__(self, layers: Sequence[keras.layers.Dense]) -> None:
        self._layers = [(layer.kernel.numpy(), layer.bias.numpy()) for layer in layers]
        self._activations = [_NUMPY_ACTIVATIONS[layer.activation.__name__] for layer in layers]

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """float32 [n, input_size] to float32 [n, output_size]."""
        for (kernel, bias), activation in zip(self._layers, self._activations, strict=True):
            x = activation(x @ kernel + bias)
        return x


_NUMPY_ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "tanh": np.tanh, "linear": lambda x: x, "relu": lambda x: np.maximum(x, 0.0)}
