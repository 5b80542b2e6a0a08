"""From a learner's network to policy bundles: Keras and LiteRT forms of one graph."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ant_rl_core import bundle as policy_bundle
from ant_rl_core.exploration import Exploration
from policy_node.actor import Graph
from policy_node.keras_actor import KerasGraph
from policy_node.litert_actor import LiteRTGraph
from trainer.export.template import Template, ZipTemplate
from trainer.networks.mlp import BFloat16Dense
from trainer.networks.statistics import Normalizer

Head = Callable[[Any], dict[str, Any]]


def stochastic_graph(network: keras.Model, log_std: keras.Variable,
                     normalizer: Normalizer | None = None) -> PolicyGraph:
    """Actor that draws from a squashed Gaussian of the same width everywhere.

    Args:
        network: from observations to the mean before the squashing, [n, action_size].
        log_std: [action_size], logarithm of the standard deviation before the squashing.
        normalizer: see `PolicyGraph`.
    """
    return PolicyGraph(network, lambda mean: {"action": keras.ops.tanh(mean), "mean": mean}, normalizer,
                       {"log_std": log_std})


def gaussian_graph(network: keras.Model, log_std_range: tuple[float, float],
                   normalizer: Normalizer | None = None) -> PolicyGraph:
    """Actor that draws from a squashed Gaussian whose width depends on the observation.

    Args:
        network: from observations to mean and log_std side by side, [n, 2 * action_size].
        log_std_range: log_std is clipped to it.
        normalizer: see `PolicyGraph`.
    """
    def head(x: Any) -> dict[str, Any]:
        mean, log_std = keras.ops.split(x, 2, axis=-1)
        return {"action": keras.ops.tanh(mean), "mean": mean, "log_std": keras.ops.clip(log_std, *log_std_range)}
    return PolicyGraph(network, head, normalizer)


def deterministic_graph(network: keras.Model, normalizer: Normalizer | None = None,
                        limit: float = 1.0) -> PolicyGraph:
    """Actor that gives `limit` * tanh of what `network` gives, [n, action_size]; for the others see `PolicyGraph`."""
    return PolicyGraph(network, lambda x: {"action": limit * keras.ops.tanh(x) if limit != 1 else keras.ops.tanh(x)},
                       normalizer)


def greedy_graph(network: keras.Model, levels: int, normalizer: Normalizer | None = None,
                 limit: float = 1.0) -> PolicyGraph:
    """Actor that gives each joint the best of `levels` evenly spaced torques from -limit to limit.

    Args:
        network: from observations to the values of the levels of each joint, lowest torque first, [n, action_size,
            levels] or [n, action_size * levels].
        levels: number of torques, at least 2.
        normalizer: see `PolicyGraph`.
        limit: the largest torque, at most 1.
    """
    def head(x: Any) -> dict[str, Any]:
        first = _first_best(keras.ops.reshape(x, (-1, int(np.prod(x.shape[1:])) // levels, levels)))
        return {"action": first * (2.0 * limit / (levels - 1)) - limit}
    return PolicyGraph(network, head, normalizer)


def best_graph(network: keras.Model, normalizer: Normalizer | None = None) -> PolicyGraph:
    """Actor that chooses one of the action's numbers, which is then 1 and the others 0.

    Args:
        network: from observations to what each choice is worth, such as logits, [n, action_size].
        normalizer: see `PolicyGraph`.
    """
    def head(x: Any) -> dict[str, Any]:
        away = keras.ops.abs(keras.ops.expand_dims(_first_best(x), -1) - np.arange(x.shape[-1], dtype=np.float32))
        return {"action": keras.ops.relu(1.0 - away)}
    return PolicyGraph(network, head, normalizer)


def _first_best(values: Any) -> Any:
    """Index of the largest of the last axis, the first of them as numpy's argmax; of whole numbers, but in float32.

    That of Keras has operations that LiteRT lacks.
    """
    count = values.shape[-1]
    best = values >= keras.ops.max(values, axis=-1, keepdims=True)
    return keras.ops.min(keras.ops.where(best, np.arange(count, dtype=np.float32), float(count)), axis=-1)


class PolicyGraph:
    """Normalization, network and head as one graph of built-in Keras parts, exported again and again.

    The graph is converted once; after that an export puts the present weights into the kept files. Every LiteRT file
    is run before it is handed out, and converted if it does not act as the graph does.

    Args:
        network: live functional model of Keras's own layers and operations, from float32 [n, observation_size]; it is
            copied, and each export takes its weights as they are then. One with a memory, or that is told what happened
            before, goes from a table of inputs (names of `ant_rl_core.bundle.INPUTS`, state_0, state_1, …) to a table
            of `output` and the states after, one step at a time.
        head: named outputs of the graph, made from the network's; `action` is one of them.
        normalizer: live, of the observations; None: they are taken as they come.
        constants: further outputs, which do not depend on the observation: live variables by name.
    """

    def __init__(self, network: keras.Model, head: Head, normalizer: Normalizer | None = None,
                 constants: Mapping[str, keras.Variable] | None = None) -> None:
        self._network, self._head = network, head
        self._inputs = _named_inputs(network)
        self._normalizer = normalizer
        self._constants = dict(constants or {})
        self._model: keras.Model | None = None
        self._templates: tuple[ZipTemplate, Template] | None = None
        self._templates_made = False

    def renew(self) -> keras.Model:
        """The graph with the weights of now, from `observation` to the named outputs; the same object every time."""
        if self._model is None:
            self._model = self._build()
        for target, source in self._pairs:
            target.assign(source)
        if self._normalizer is not None:
            self._normalize.adapt_mean.assign(self._normalizer.mean)
            self._normalize.adapt_variance.assign(self._normalizer.variance)
        self._settle()
        return self._model

    def files(self) -> dict[str, bytes]:
        """The present graph as actor.keras and actor.tflite (float32)."""
        model = self.renew()
        if not self._templates_made:
            self._templates, self._templates_made = self._make_templates(model), True
            self.renew()
        if self._templates is not None:
            files = self._fill(*self._templates)
            if self._acts_as(LiteRTGraph(files["actor.tflite"])):
                return files
        return {"actor.keras": keras_bytes(model), "actor.tflite": litert_bytes(model)}

    def bundle(self, *, algorithm: str, robot: str, version: int, provenance: Mapping[str, Any],
               exploration: Exploration | None = None, memory: str = "episode", memory_id: str | None = None) -> bytes:
        """Bytes of a policy bundle of the present graph and the statistics in it.

        Args:
            algorithm, robot, version, provenance: see `Manifest`.
            exploration: how policies are to explore; None: by the graph's own mean and log_std, if it gives them.
            memory, memory_id: see `Manifest`.
        """
        files, outputs, normalizer = self.files(), self.renew().output, self._normalizer
        stochastic = "log_std" in outputs
        if stochastic and exploration == Exploration("squashed_gaussian"):
            exploration = None  # what stochastic actors do anyway: no need to say it
        manifest = policy_bundle.Manifest(
            algorithm=algorithm, robot=robot, observation_size=self._inputs["observation"][0],
            action_size=outputs["action"].shape[1], version=version, stochastic=stochastic, exploration=exploration,
            provenance=provenance, memory=memory, memory_id=memory_id,
            inputs=tuple(name for name in policy_bundle.INPUTS if name in self._inputs),
            state_shapes=tuple(self._inputs[f"state_{i}"] for i in range(len(set(self._inputs) & set(outputs)))),
            observation_statistics={} if normalizer is None else {
                "mean": normalizer.mean.tolist(), "variance": normalizer.variance.tolist()})
        details = {"actor.keras": {"backend": "keras", "precision": "float32"},
                   "actor.tflite": {"backend": "litert", "precision": "float32"}}
        return policy_bundle.pack(manifest, files, details)

    def _build(self) -> keras.Model:
        # A copy: a layer remembers, and so keeps in memory, every graph that it is ever a part of.
        copy = keras.models.clone_model(self._network, clone_function=_float32_copy, recursive=True)
        self._pairs = list(zip(copy.variables, self._network.variables, strict=True))
        self._inner_normalizers = [layer for layer in copy._flatten_layers()
                                   if isinstance(layer, keras.layers.Normalization)]
        inputs = self._fresh_inputs()
        found = copy(_as_given(inputs))
        states = {name: found[name] for name in found if name != "output"} if isinstance(found, dict) else {}
        outputs = {**self._head(found["output"] if isinstance(found, dict) else found), **states}
        for name, source in self._constants.items():
            # A graph can't return a bare constant; a layer without weights on its input is one in effect.
            layer = keras.layers.Dense(source.shape[0], kernel_initializer="zeros", name=name, trainable=False)
            outputs[name] = layer(outputs["action"])
            self._pairs.append((layer.bias, source))
        # Without the seeds of random layers, which a graph does not hold.
        self._weights = [target for target, _ in self._pairs if keras.backend.is_float_dtype(target.dtype)]
        model = keras.Model(_as_given(inputs), outputs, name="policy")
        self._reference = tf.function(model, autograph=False)
        if self._normalizer is None:
            return model
        inputs = self._fresh_inputs()
        self._normalize = keras.layers.Normalization(name="normalize")
        x = keras.ops.clip(self._normalize(inputs["observation"]), -self._normalizer.clip, self._normalizer.clip)
        self._weights += [self._normalize.adapt_mean, self._normalize.adapt_variance]
        return keras.Model(_as_given(inputs), model(_as_given({**inputs, "observation": x})), name="policy")

    def _fresh_inputs(self) -> dict[str, Any]:
        return {name: keras.Input(shape, dtype="float32", name=name) for name, shape in self._inputs.items()}

    def _make_templates(self, model: keras.Model) -> tuple[ZipTemplate, Template] | None:
        """The files of the graph with random weights; None if not all of those can be found in them."""
        rng = np.random.default_rng(0)
        # All positive, so that they can stand for variances too.
        marks = [rng.uniform(0.5, 1.5, variable.shape).astype(np.float32) for variable in self._weights]
        self._set(marks)
        try:
            templates = (ZipTemplate(keras_bytes(model), "model.weights.h5", marks),
                         Template(litert_bytes(model), marks))
        except LookupError:
            return None
        # Other weights, whose sums no activation saturates at.
        self._set([(2.0 * mark - 2.0) / np.sqrt(len(mark)) if mark.ndim > 1 else 1.0 / mark for mark in marks])
        files = self._fill(*templates)
        right = self._acts_as(LiteRTGraph(files["actor.tflite"])) and self._acts_as(KerasGraph(files["actor.keras"]))
        return templates if right else None

    def _set(self, weights: Sequence[np.ndarray]) -> None:
        for variable, value in zip(self._weights, weights, strict=True):
            variable.assign(value)
        self._settle()

    def _settle(self) -> None:
        """Layers that normalize, also those within the network, take what they keep of their statistics from these."""
        if self._normalizer is not None:
            self._normalize.finalize_state()
        for layer in self._inner_normalizers:
            layer.finalize_state()

    def _fill(self, keras_file: ZipTemplate, litert_file: Template) -> dict[str, bytes]:
        weights = [variable.numpy() for variable in self._weights]
        return {"actor.keras": keras_file.fill(weights), "actor.tflite": litert_file.fill(weights)}

    def _acts_as(self, runs: Graph) -> bool:
        """Whether a file gives what the graph gives, for observations as they are usual."""
        rng = np.random.default_rng(1)
        given = {name: rng.standard_normal((4, *shape)).astype(np.float32) for name, shape in self._inputs.items()}
        normal = observation = given["observation"]
        if self._normalizer is not None:
            mean, variance = self._normalize.adapt_mean.numpy(), self._normalize.adapt_variance.numpy()
            observation = mean + np.sqrt(variance) * normal
            normal = np.clip((observation - mean) / np.sqrt(variance), -self._normalizer.clip, self._normalizer.clip)
        found = runs({**given, "observation": observation})
        expected = self._reference(_as_given({**{name: tf.constant(array) for name, array in given.items()},
                                              "observation": tf.constant(normal)}))
        return all(np.allclose(found[name], array, rtol=1e-5, atol=1e-5) for name, array in expected.items())


def _named_inputs(network: keras.Model) -> dict[str, tuple[int, ...]]:
    """Shape of each input of a network by its name in the graph, without the batch axis."""
    if isinstance(network.input, dict):
        return {name: tuple(tensor.shape[1:]) for name, tensor in network.input.items()}
    return {"observation": tuple(network.input_shape[1:])}


def _as_given(inputs: dict[str, Any]) -> Any:
    """Named tensors as a network takes them: a bare one where the observation is all."""
    return inputs["observation"] if list(inputs) == ["observation"] else inputs


def keras_bytes(model: keras.Model) -> bytes:
    """The graph as a .keras file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "actor.keras"
        model.save(path)
        return path.read_bytes()


def litert_bytes(model: keras.Model) -> bytes:
    """The graph as a .tflite file with float32 weights and the batch size open."""
    names, given = list(_named_inputs(model)), model.input
    tensors = given if isinstance(given, dict) else {names[0]: given}

    @tf.function(autograph=False, input_signature=[
        {name: tf.TensorSpec(tensor.shape, tensor.dtype, name=name) for name, tensor in tensors.items()}])
    def run(inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return model(_as_given(inputs))

    # Through a saved model: the converter keeps the weights of a bare function as variables. Not by the one that Keras
    # exports, for which it traces the graph nine times.
    module = tf.Module()
    module.weights_ = [variable.value for variable in model.variables]
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(module, folder, signatures=run.get_concrete_function())
        return tf.lite.TFLiteConverter.from_saved_model(folder).convert()


def _float32_copy(layer: keras.layers.Layer) -> keras.layers.Layer:
    """A copy without weights; what trains in another precision acts in float32."""
    kind = keras.layers.Dense if isinstance(layer, BFloat16Dense) else type(layer)
    return kind.from_config(layer.get_config())
