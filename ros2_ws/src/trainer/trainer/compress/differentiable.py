"""A LiteRT graph in TensorFlow, so that what the runtime runs can be learned further.

Pruned and quantized weights are fine-tuned on the graph that is deployed, whatever made it: its matrices become
variables, and what becomes of them is converted to LiteRT again.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from ant_rl_core.bundle import BundleError
from policy_node.litert_actor import SIGNATURE
from trainer.compress.litert_file import LiteRTFile, Operation

Tensors = Mapping[str, tf.Tensor]
_Function = Callable[..., tf.Tensor]


class Matmul(tf.Module):
    """One sum of products of a graph: activation(x @ kernel + bias).

    Attributes:
        output: name in the LiteRT graph of what it gives.
        kernel: float32 [inputs, outputs].
        bias: float32 [outputs].
    """

    def __init__(self, output: str, kernel: np.ndarray, bias: np.ndarray | None, activation: _Function) -> None:
        super().__init__()
        self.output, self._activation = output, activation
        self.kernel = tf.Variable(kernel)
        self.bias = tf.Variable(np.zeros(kernel.shape[1], np.float32) if bias is None else bias)

    def __call__(self, x: tf.Tensor, kernel: tf.Tensor | None = None) -> tf.Tensor:
        """[n, inputs] to [n, outputs], with another kernel than its own where one is given."""
        return self._activation(tf.matmul(x, self.kernel if kernel is None else kernel) + self.bias)


class DifferentiableGraph(tf.Module):
    """A float32 LiteRT graph as a TensorFlow function.

    Args:
        model: bytes of the graph.

    Attributes:
        inputs, outputs: shape of each tensor by its name in the signature, without the batch axis.
        matmuls: its sums of products, in the order in which they run.

    Raises:
        BundleError: the graph has operations that are not known here, or no weights.
    """

    def __init__(self, model: bytes) -> None:
        super().__init__()
        file = LiteRTFile(model)
        self.inputs, self.outputs = file.inputs, file.outputs
        self._sources, self._targets, self._constants = file.sources, file.targets, file.constants
        self.matmuls: list[Matmul] = []
        self._steps = [self._step(operation, file) for operation in file.operations]
        if not self.matmuls:
            raise BundleError("expected an actor with layers of weights, found none in its graph")

    def __call__(self, inputs: Tensors, matmul: Callable[[Matmul, tf.Tensor], tf.Tensor] = Matmul.__call__
                 ) -> dict[str, tf.Tensor]:
        """Outputs float32 [n, ...] by name for inputs float32 [n, ...] by name.

        Args:
            inputs: by name.
            matmul: what to do for each sum of products, given it and its input.
        """
        values = {**self._constants, **{index: inputs[name] for name, index in self._sources.items()}}
        for function, sources, targets in self._steps:
            x = [values[i] for i in sources]
            found = matmul(function, *x) if isinstance(function, Matmul) else function(*x)
            values.update(zip(targets, found if len(targets) > 1 else [found], strict=True))
        return {name: values[index] for name, index in self._targets.items()}

    def litert_bytes(self, sparse: bool = False) -> bytes:
        """The graph with the weights of now, as a .tflite file.

        Args:
            sparse: store matrices that are mostly zeros by what is not zero in them.
        """
        signature = {name: tf.TensorSpec((None, *shape), tf.float32, name=name) for name, shape in self.inputs.items()}

        @tf.function(autograph=False, input_signature=[signature])
        def serve(inputs: Tensors) -> dict[str, tf.Tensor]:
            return self({name: inputs[name] for name in self.inputs})

        with tempfile.TemporaryDirectory() as folder:
            tf.saved_model.save(self, folder, signatures={SIGNATURE: serve})
            converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=[SIGNATURE])
            if sparse:
                converter.optimizations = [tf.lite.Optimize.EXPERIMENTAL_SPARSITY]
            return converter.convert()

    def _step(self, operation: Operation, file: LiteRTFile) -> tuple[_Function, tuple[int, ...], tuple[int, ...]]:
        """An operation as its function, the tensors that it takes and those that it gives."""
        if operation.name not in ("FULLY_CONNECTED", *_OPERATIONS) or operation.activation not in _ACTIVATIONS:
            raise BundleError("expected a float32 actor of operations that can be learned further (FULLY_CONNECTED, "
                              f"{', '.join(_OPERATIONS)}), found {operation.name}")
        activation = _ACTIVATIONS[operation.activation]
        if operation.name == "FULLY_CONNECTED":
            x, kernel, *bias = operation.sources
            matmul = Matmul(file.names[operation.targets[0]], file.constants[kernel].T,
                            file.constants[bias[0]] if bias else None, activation)
            self.matmuls.append(matmul)
            return matmul, (x,), operation.targets
        function = _OPERATIONS[operation.name](operation.options)
        if operation.activation != "NONE":
            return lambda *x: activation(function(*x)), operation.sources, operation.targets
        return function, operation.sources, operation.targets


_ACTIVATIONS: dict[str, _Function] = {"NONE": tf.identity, "RELU": tf.nn.relu, "RELU6": tf.nn.relu6,
                                      "RELU_N1_TO_1": lambda x: tf.clip_by_value(x, -1.0, 1.0)}


def _reduction(function: _Function) -> Callable[[Any], _Function]:
    return lambda options: lambda x, axis: function(x, axis, options.keepDims)


def _plain(function: _Function) -> Callable[[Any], _Function]:
    return lambda options: function


_OPERATIONS: dict[str, Callable[[Any], _Function]] = {
    **{name: _plain(function) for name, function in {
        "ADD": tf.add, "SUB": tf.subtract, "MUL": tf.multiply, "DIV": tf.divide, "NEG": tf.negative, "ABS": tf.abs,
        "SQUARED_DIFFERENCE": tf.math.squared_difference, "SQUARE": tf.square, "SQRT": tf.sqrt,
        "RSQRT": tf.math.rsqrt, "EXP": tf.exp, "MINIMUM": tf.minimum, "MAXIMUM": tf.maximum, "TANH": tf.tanh,
        "RELU": tf.nn.relu, "ELU": tf.nn.elu, "LOGISTIC": tf.sigmoid, "RESHAPE": tf.reshape}.items()},
    **{name: _reduction(function) for name, function in {
        "MEAN": tf.reduce_mean, "SUM": tf.reduce_sum, "REDUCE_MAX": tf.reduce_max,
        "REDUCE_MIN": tf.reduce_min}.items()},
    "CONCATENATION": lambda options: lambda *x: tf.concat(x, options.axis),
    "SPLIT": lambda options: lambda axis, x: tf.split(x, options.numSplits, int(axis)),
    # What Keras's Flatten and Reshape leave of the batch's size.
    "SHAPE": _plain(tf.shape), "PACK": lambda options: lambda *x: tf.stack(x, options.axis),
    "STRIDED_SLICE": lambda options: lambda x, begin, end, strides: tf.strided_slice(
        x, begin, end, strides, options.beginMask, options.endMask, options.ellipsisMask, options.newAxisMask,
        options.shrinkAxisMask),
}
