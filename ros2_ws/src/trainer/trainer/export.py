"""From a learner's network to a policy bundle: Keras and LiteRT forms of one graph."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ant_rl_core import bundle as policy_bundle


def stochastic_graph(actor: keras.Model, log_std: np.ndarray, observation_mean: np.ndarray,
                     observation_std: np.ndarray, observation_clip: float) -> keras.Model:
    """Join normalisation, network and squashing into one graph of built-in Keras parts.

    Args:
        actor: network from normalised observations to the mean before the squashing.
        log_std: float32 [action_size], logarithm of the exploration's standard deviation.
        observation_mean, observation_std: [observation_size].
        observation_clip: bound of the normalised observation.

    Returns:
        Model from `observation` [n, observation_size] to `action` = tanh(mean), `mean` and `log_std`, each
        float32 [n, action_size].
    """
    size = len(log_std)
    observation = keras.Input((len(observation_mean),), dtype="float32", name="observation")
    normalise = keras.layers.Normalization(mean=observation_mean.astype(np.float32),
                                           variance=np.square(observation_std.astype(np.float64)))
    x = keras.ops.clip(normalise(observation), -observation_clip, observation_clip)
    for layer in actor.layers[1:]:
        # A copy: a layer remembers, and so keeps in memory, every graph that it is ever a part of.
        copy = type(layer).from_config(layer.get_config())
        x = copy(x)
        copy.set_weights(layer.get_weights())
    # A graph can't return a bare constant; a layer without weights on its input is one in effect.
    constant = keras.layers.Dense(size, kernel_initializer="zeros", name="log_std", trainable=False)
    outputs = {"action": keras.ops.tanh(x), "mean": x, "log_std": constant(x)}
    constant.bias.assign(log_std)
    return keras.Model(observation, outputs, name="policy")


def bundle(graph: keras.Model, *, algorithm: str, robot: str, version: int, observation_mean: np.ndarray,
           observation_variance: np.ndarray, provenance: Mapping[str, Any]) -> bytes:
    """Bytes of a policy bundle with the graph as actor.keras and actor.tflite (float32)."""
    members = {"actor.keras": keras_bytes(graph), "actor.tflite": litert_bytes(graph)}
    manifest = policy_bundle.Manifest(
        algorithm=algorithm, robot=robot, observation_size=graph.input_shape[1],
        action_size=graph.output["action"].shape[1], version=version, stochastic="log_std" in graph.output,
        observation_statistics={"mean": np.asarray(observation_mean, float).tolist(),
                                "variance": np.asarray(observation_variance, float).tolist()},
        provenance=provenance)
    details = {"actor.keras": {"backend": "keras", "precision": "float32"},
               "actor.tflite": {"backend": "litert", "precision": "float32"}}
    return policy_bundle.pack(manifest, members, details)


def keras_bytes(graph: keras.Model) -> bytes:
    """The graph as a .keras file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "actor.keras"
        graph.save(path)
        return path.read_bytes()


def litert_bytes(graph: keras.Model) -> bytes:
    """The graph as a .tflite file with float32 weights and the batch size open."""
    with tempfile.TemporaryDirectory() as folder:
        # Through a saved model: the converter keeps the weights of a bare function as variables.
        graph.export(folder, format="tf_saved_model", verbose=False)
        return tf.lite.TFLiteConverter.from_saved_model(folder).convert()
