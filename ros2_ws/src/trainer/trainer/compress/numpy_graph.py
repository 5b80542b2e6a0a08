"""A LiteRT graph of floats run by plain numpy: what one would write by hand, and a check of the graph by other code."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from ai_edge_litert.tools import flatbuffer_utils

from ant_rl_core.bundle import BundleError

Operation = Callable[..., Any]

_TYPES = {flatbuffer_utils.TensorType.FLOAT32: np.float32, flatbuffer_utils.TensorType.INT32: np.int32,
          flatbuffer_utils.TensorType.INT64: np.int64, flatbuffer_utils.TensorType.BOOL: np.bool_}
_Activation = flatbuffer_utils.ActivationFunctionType


def _relu(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0)


_FUSED: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    _Activation.RELU: _relu, _Activation.RELU6: lambda x: np.clip(x, 0, 6),
    _Activation.RELU_N1_TO_1: lambda x: np.clip(x, -1, 1)}


def _fully_connected(_: Any, x: np.ndarray, weights: np.ndarray, bias: np.ndarray | None = None) -> np.ndarray:
    y = x.reshape(-1, weights.shape[1]) @ weights.T
    return y if bias is None else y + bias


def _strided_slice(options: Any, x: np.ndarray, begin: np.ndarray, end: np.ndarray, strides: np.ndarray) -> np.ndarray:
    # Without the masks of an ellipsis and of new axes: the converter writes such slices by the other masks.
    def has(mask: int, axis: int) -> bool:
        return bool(mask >> axis & 1)
    return x[tuple(first if has(options.shrinkAxisMask, axis) else slice(
        None if has(options.beginMask, axis) else first, None if has(options.endMask, axis) else last, step)
        for axis, (first, last, step) in enumerate(zip(begin, end, strides, strict=True)))]


def _over_axes(reduce: Callable[..., np.ndarray]) -> Operation:
    return lambda options, x, axes: reduce(x, axis=tuple(axes.reshape(-1)), keepdims=options.keepDims)


def _of(function: Callable[..., np.ndarray]) -> Operation:
    return lambda options, *inputs: function(*inputs)


# Each takes the options of the operation and its inputs.
_OPERATIONS: dict[str, Operation] = {
    "FULLY_CONNECTED": _fully_connected,
    "ADD": _of(np.add), "SUB": _of(np.subtract), "MUL": _of(np.multiply), "DIV": _of(np.divide),
    "MAXIMUM": _of(np.maximum), "MINIMUM": _of(np.minimum),
    "SQUARED_DIFFERENCE": _of(lambda x, y: np.square(x - y)),
    "GREATER": _of(np.greater), "GREATER_EQUAL": _of(np.greater_equal), "LESS": _of(np.less),
    "SELECT_V2": _of(np.where),
    "ABS": _of(np.abs), "NEG": _of(np.negative), "SQUARE": _of(np.square), "SQRT": _of(np.sqrt),
    "RSQRT": _of(lambda x: 1 / np.sqrt(x)), "EXP": _of(np.exp), "LOG": _of(np.log),
    "TANH": _of(np.tanh), "LOGISTIC": _of(lambda x: (1 + np.tanh(x / 2)) / 2), "RELU": _of(_relu),
    "ELU": _of(lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0)))),
    "MEAN": _over_axes(np.mean), "SUM": _over_axes(np.sum),
    "REDUCE_MAX": _over_axes(np.max), "REDUCE_MIN": _over_axes(np.min),
    "CONCATENATION": lambda options, *inputs: np.concatenate(inputs, axis=options.axis),
    "SPLIT": lambda options, axis, x: np.split(x, options.numSplits, axis=int(axis)),
    "RESHAPE": _of(lambda x, shape: x.reshape(shape)), "SHAPE": _of(lambda x: np.array(x.shape, np.int32)),
    "PACK": lambda options, *inputs: np.stack(inputs, axis=options.axis), "STRIDED_SLICE": _strided_slice,
}


class NumpyGraph:
    """The graph of a .tflite file; see `policy_node.actor.Graph`.

    Args:
        model: the file's bytes; its tensors are of float32, its one signature has named tensors.
        dtype: float32 or float64: what is computed in, and what comes out.

    Attributes:
        inputs, outputs: shape of each tensor by its name in the signature, without the batch axis.

    Raises:
        BundleError: the bytes are no LiteRT graph, or it has an operation or a type that this doesn't know.
    """

    def __init__(self, model: bytes, dtype: type[np.floating[Any]] = np.float32) -> None:
        self._dtype = dtype
        try:
            read = flatbuffer_utils.read_model_from_bytearray(bytearray(model))
            (graph,), (signature,) = read.subgraphs, read.signatureDefs
        except Exception as error:  # the reader answers damage with errors of any kind
            raise BundleError(f"expected a LiteRT graph with one signature, found {len(model)} bytes that can't be "
                              f"read as one ({type(error).__name__})") from error
        self._values = [self._constant(read, tensor) for tensor in graph.tensors]
        self._sources, self._targets = (
            {entry.name.decode(): int(entry.tensorIndex) for entry in entries}
            for entries in (signature.inputs, signature.outputs))
        self.inputs, self.outputs = (
            {name: tuple(int(size) for size in graph.tensors[index].shape[1:]) for name, index in entries.items()}
            for entries in (self._sources, self._targets))
        self._steps = [_step(read, operator) for operator in graph.operators]

    def __call__(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run with [n, ...] inputs; arrays of its own, of `dtype`, for every output."""
        values = list(self._values)
        for name, index in self._sources.items():
            values[index] = np.asarray(inputs[name], self._dtype)
        for operation, options, activation, sources, targets in self._steps:
            found = operation(options, *[values[index] for index in sources])
            if len(targets) == 1:
                found = [found]
            for index, array in zip(targets, found, strict=True):
                values[index] = array if activation is None else activation(array)
        return {name: np.array(values[index]) for name, index in self._targets.items()}

    def _constant(self, read: Any, tensor: Any) -> np.ndarray | None:
        """The value of a tensor that the file holds; None for one that is computed."""
        if tensor.type not in _TYPES:
            raise BundleError(f"expected a graph of float32, found {_name(flatbuffer_utils.TensorType, tensor.type)} "
                              f"for {tensor.name.decode()}")
        data = read.buffers[tensor.buffer].data
        if data is None:
            return None
        array = np.frombuffer(bytes(data), _TYPES[tensor.type]).reshape(tensor.shape)
        return array.astype(self._dtype) if tensor.type == flatbuffer_utils.TensorType.FLOAT32 else array


def _step(read: Any, operator: Any) -> tuple[Operation, Any, Callable[..., Any] | None, Sequence[int], Sequence[int]]:
    """Operation, its options, its activation, the tensors it takes and those it gives."""
    name = flatbuffer_utils.opcode_to_name(read, operator.opcodeIndex)
    if name not in _OPERATIONS:
        raise BundleError(f"expected a graph of operations that numpy runs here ({', '.join(sorted(_OPERATIONS))}), "
                          f"found {name}")
    options = operator.builtinOptions
    fused = getattr(options, "fusedActivationFunction", _Activation.NONE)
    if fused != _Activation.NONE and fused not in _FUSED:
        raise BundleError(f"expected a graph of activations that numpy runs here "
                          f"({', '.join(_name(_Activation, known) for known in _FUSED)}), "
                          f"found {_name(_Activation, fused)} in {name}")
    present = [int(index) for index in operator.inputs if index >= 0]  # -1 stands for an optional one that is left out
    return _OPERATIONS[name], options, _FUSED.get(fused), present, [int(index) for index in operator.outputs]


def _name(kind: type, value: int) -> str:
    return next((name for name, known in vars(kind).items() if known == value), str(value))
