"""A policy that is not learned further, as a Keras network."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from ant_rl_core.bundle import FLOAT32, Bundle, BundleError
from policy_node.keras_actor import load_model
from trainer.compress.differentiable import DifferentiableGraph, Matmul


def frozen_policy(bundle: Bundle, variant: str = FLOAT32) -> keras.Model:
    """The actor of a bundle as a network from observations [n, observation_size] to actions [n, action_size].

    Args:
        bundle: of a policy without memory.
        variant: which of its variants; others than float32 must be plain layers in a row, as distilled ones are.

    Raises:
        BundleError: it has a memory, no such variant, or one of other parts.
    """
    if set(bundle.manifest.inputs) != {"observation"}:
        raise BundleError(f"expected a teacher that sees observations alone, found one that takes "
                          f"{', '.join(bundle.manifest.inputs)}")
    if variant == FLOAT32:
        loaded = load_model(bundle.member(bundle.variant(variant, ".keras")))
        made = keras.Model(loaded.input, loaded.output["action"], name="frozen")
    else:
        made = _layers_in_a_row(bundle.member(bundle.variant(variant, ".tflite")))
    made.trainable = False
    return made


def _layers_in_a_row(model: bytes) -> keras.Model:
    """The layers of a distilled actor; what scales its observation becomes a part of the first one."""
    graph = DifferentiableGraph(model)
    (size,) = graph.inputs["observation"]
    seen: list[tuple[Matmul, tf.Tensor]] = []

    def noting(matmul: Matmul, x: tf.Tensor) -> tf.Tensor:
        seen.append((matmul, x))
        return matmul(x)

    probes = tf.constant(np.stack([np.zeros(size), np.ones(size), np.full(size, 2.0)]), tf.float32)
    expected = graph({"observation": probes}, noting)["action"].numpy()
    at_zero, at_one, _ = seen[0][1].numpy().astype(np.float64)
    inputs = keras.Input((size,), dtype="float32", name="observation")
    x = inputs
    for i, (matmul, _) in enumerate(seen):
        kernel, bias = matmul.kernel.numpy().astype(np.float64), matmul.bias.numpy().astype(np.float64)
        if i == 0:
            kernel, bias = (at_one - at_zero)[:, None] * kernel, bias + at_zero @ kernel
        last = i == len(seen) - 1
        layer = keras.layers.Dense(kernel.shape[1], "tanh" if last else "relu", name=f"frozen_{i}")
        x = layer(x)
        layer.set_weights([kernel.astype(np.float32), bias.astype(np.float32)])
    made = keras.Model(inputs, x, name="frozen")
    if not np.allclose(made(probes).numpy(), expected, atol=1e-4):
        raise BundleError("expected a teacher of plain layers in a row, as distilled variants are, found other parts "
                          "in its graph: take teacher_variant:=float32")
    return made
