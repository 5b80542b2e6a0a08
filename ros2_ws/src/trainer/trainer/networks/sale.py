"""Networks on state-action learned embeddings (Fujimoto et al., For SALE, arXiv:2306.02451, appendix A)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from trainer.networks.mlp import dense


def average_l1_norm(x: Any) -> Any:
    """Divide each row by the mean magnitude of its entries."""
    return x / keras.ops.maximum(keras.ops.mean(keras.ops.abs(x), axis=-1, keepdims=True), 1e-8)


def state_encoder(observation_size: int, width: int, **options: Any) -> keras.Model:
    """Embedding float32 [n, width] of an observation; `options` as of `_chain`."""
    observation = keras.Input((observation_size,), dtype="float32")
    x = _chain(observation, (width, width, width), "elu", **options)
    return keras.Model(observation, average_l1_norm(x), name=options["name"])


def action_encoder(action_size: int, width: int, **options: Any) -> keras.Model:
    """Embedding float32 [n, width] of a state's embedding and an action: a prediction of the next state's."""
    inputs = [keras.Input((size,), dtype="float32") for size in (width, action_size)]
    x = _chain(keras.layers.Concatenate()(inputs), (width, width, width), "elu", **options)
    return keras.Model(inputs, x, name=options["name"])


def actor(observation_size: int, action_size: int, width: int, **options: Any) -> keras.Model:
    """From observation and its embedding to the action before tanh, float32 [n, action_size]."""
    inputs = observation, embedding = [keras.Input((size,), dtype="float32") for size in (observation_size, width)]
    seeds = np.random.SeedSequence(options.pop("seed")).generate_state(2)
    first = _chain(observation, (width,), "linear", **{**options, "seed": int(seeds[0]), "name": "observation"})
    x = keras.layers.Concatenate()([average_l1_norm(first), embedding])
    return keras.Model(inputs, _chain(x, (width, width, action_size), "relu", seed=int(seeds[1]), **options),
                       name=options["name"])


def critic(observation_size: int, action_size: int, width: int, **options: Any) -> keras.Model:
    """From observation, action, and the embeddings of both and of the observation, to the value, float32 [n, 1]."""
    inputs = [keras.Input((size,), dtype="float32") for size in (observation_size, action_size, width, width)]
    seeds = np.random.SeedSequence(options.pop("seed")).generate_state(2)
    first = _chain(keras.layers.Concatenate()(inputs[:2]), (width,), "linear",
                   **{**options, "seed": int(seeds[0]), "name": "taken"})
    x = keras.layers.Concatenate()([average_l1_norm(first), *inputs[2:]])
    return keras.Model(inputs, _chain(x, (width, width, 1), "elu", seed=int(seeds[1]), **options),
                       name=options["name"])


def _chain(x: Any, sizes: Sequence[int], activation: str, *, seed: int, precision: str, name: str) -> Any:
    """Dense layers with `activation` after all but the last."""
    seeds = np.random.SeedSequence(seed).generate_state(len(sizes))
    for i, (size, layer_seed) in enumerate(zip(sizes, seeds, strict=True)):
        last = i == len(sizes) - 1
        x = dense(size, int(layer_seed), precision, name=f"{name}_{i}", activation="linear" if last else activation)(x)
    return x
