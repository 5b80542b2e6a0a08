"""Networks on state-action learned embeddings (Fujimoto et al., For SALE, arXiv:2306.02451, appendix A)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from trainer.networks.mlp import dense


def average_l1_norm(x: Any) -> Any:
    """Divide each row by the mean magnitude of its entries."""
    return x / keras.ops.maximum(keras.ops.mean(keras.ops.abs(x), axis=-1, keepdims=True), 1e-8)


Encoder = tuple[keras.Model, keras.Model]  # of observations, and of their embeddings with actions


def encoder(observation_size: int, action_size: int, size: int, seeds: Sequence[int], name: str,
            precision: str = "float32") -> Encoder:
    """A pair of networks, each with three layers of `size`.

    The first gives the embedding float32 [n, size] of an observation; the second takes that and an action, and gives a
    prediction of the next observation's embedding.

    Args:
        observation_size, action_size, size: widths.
        seeds: of the weights of either.
        name: begins the names of both models and of their layers.
        precision: see `mlp.dense`.
    """
    observation = keras.Input((observation_size,), dtype="float32")
    x = _chain(observation, (size, size, size), "elu", seed=seeds[0], precision=precision, name=f"{name}_state")
    inputs = [keras.Input((width,), dtype="float32") for width in (size, action_size)]
    y = _chain(keras.layers.Concatenate()(inputs), (size, size, size), "elu", seed=seeds[1], precision=precision,
               name=f"{name}_action")
    return (keras.Model(observation, average_l1_norm(x), name=f"{name}_state"),
            keras.Model(inputs, y, name=f"{name}_action"))


def prediction_loss(pair: Encoder, observation: tf.Tensor, action: tf.Tensor, next_observation: tf.Tensor) -> tf.Tensor:
    """Mean square of the encoder's error in predicting the next embeddings, through which no gradient goes."""
    encode_state, encode_action = pair
    following = tf.stop_gradient(encode_state(next_observation))
    return tf.reduce_mean(tf.square(encode_action([encode_state(observation), action]) - following))


def actor(observation_size: int, embedding_size: int, hidden_sizes: Sequence[int], output_size: int,
          **options: Any) -> keras.Model:
    """From observation and its embedding to float32 [n, output_size]; `options` as of `_chain`."""
    inputs = observation, embedding = [keras.Input((size,), dtype="float32")
                                       for size in (observation_size, embedding_size)]
    outputs = _beside(observation, [embedding], (*hidden_sizes, output_size), "relu", "observation", **options)
    return keras.Model(inputs, outputs, name=options["name"])


def critic(observation_size: int, action_size: int, embedding_size: int, hidden_sizes: Sequence[int],
           **options: Any) -> keras.Model:
    """From observation, action, and the embeddings of both and of the observation, to the value, float32 [n, 1]."""
    inputs = [keras.Input((size,), dtype="float32")
              for size in (observation_size, action_size, embedding_size, embedding_size)]
    taken = keras.layers.Concatenate()(inputs[:2])
    return keras.Model(inputs, _beside(taken, inputs[2:], (*hidden_sizes, 1), "elu", "taken", **options),
                       name=options["name"])


def _beside(x: Any, embeddings: Sequence[Any], sizes: Sequence[int], activation: str, first_name: str, *, seed: int,
            **options: Any) -> Any:
    """A linear layer of the first size for `x`, normalized; then, beside the embeddings, layers of all sizes."""
    seeds = np.random.SeedSequence(seed).generate_state(2)
    first = _chain(x, sizes[:1], "linear", **{**options, "seed": int(seeds[0]), "name": first_name})
    x = keras.layers.Concatenate()([average_l1_norm(first), *embeddings])
    return _chain(x, sizes, activation, seed=int(seeds[1]), **options)


def _chain(x: Any, sizes: Sequence[int], activation: str, *, seed: int, name: str,
           precision: str = "float32") -> Any:
    """Dense layers with `activation` after all but the last."""
    seeds = np.random.SeedSequence(seed).generate_state(len(sizes))
    for i, (size, layer_seed) in enumerate(zip(sizes, seeds, strict=True)):
        last = i == len(sizes) - 1
        x = dense(size, int(layer_seed), precision, name=f"{name}_{i}", activation="linear" if last else activation)(x)
    return x
