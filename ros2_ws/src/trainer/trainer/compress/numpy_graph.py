"""A LiteRT graph of floats run by plain numpy: what one would write by hand, and a check of the graph by other code."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ant_rl_core.bundle import BundleError
from trainer.compress.litert_file import LiteRTFile, Operation

_Function = Callable[..., Any]


def _relu(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0)


_FUSED: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "NONE": lambda x: x, "RELU": _relu, "RELU6": lambda x: np.clip(x, 0, 6),
    "RELU_N1_TO_1": lambda x: np.clip(x, -1, 1)}


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


def _over_axes(reduce: Callable[..., np.ndarray]) -> _Function:
    return lambda options, x, axes: reduce(x, axis=tuple(axes.reshape(-1)), keepdims=options.keepDims)


def _of(function: _Function) -> _Function:
    return lambda options, *inputs: function(*inputs)


# Each takes the options of the operation and its inputs.
_OPERATIONS: dict[str, _Function] = {
    "FULLY_CONNECTED": _fully_connected,
    "ADD": _of(np.add), "SUB": _of(np.subtract), "MUL": _of(np.multiply), "DIV": _of(np.divide),
    "MAXIMUM": _of(np.maximum), "MINIMUM": _of(np.minimum),
    "SQUARED_DIFFERENCE": _of(lambda x, y: np.square(x - y)),
    "GREATER": _of(np.greater), "GREATER_EQUAL": _of(np.greater_equal), "LESS": _of(np.less),
    "LESS_EQUAL": _of(np.less_equal), "EQUAL": _of(np.equal), "LOGICAL_AND": _of(np.logical_and),
    "LOGICAL_NOT": _of(np.logical_not), "ZEROS_LIKE": _of(np.zeros_like), "SELECT_V2": _of(np.where),
    "ABS": _of(np.abs), "NEG": _of(np.negative), "SQUARE": _of(np.square), "SQRT": _of(np.sqrt),
    "RSQRT": _of(lambda x: 1 / np.sqrt(x)), "EXP": _of(np.exp), "LOG": _of(np.log),
    "TANH": _of(np.tanh), "LOGISTIC": _of(lambda x: (1 + np.tanh(x / 2)) / 2), "RELU": _of(_relu),
    "ELU": _of(lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0)))),
    "MEAN": _over_axes(np.mean), "SUM": _over_axes(np.sum),
    "REDUCE_ALL": _over_axes(np.all), "REDUCE_MAX": _over_axes(np.max), "REDUCE_MIN": _over_axes(np.min),
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
        self._dtype, file = dtype, LiteRTFile(model)
        self.inputs, self.outputs = file.inputs, file.outputs
        self._sources, self._targets = file.sources, file.targets
        self._constants = {index: array.astype(dtype) if array.dtype == np.float32 else array
                           for index, array in file.constants.items()}
        for operation in file.operations:
            _check(operation)
        self._operations = file.operations

    def __call__(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run with [n, ...] inputs; arrays of its own, of `dtype`, for every output."""
        values = {**self._constants, **{index: np.asarray(inputs[name], self._dtype)
                                        for name, index in self._sources.items()}}
        for operation in self._operations:
            found = _OPERATIONS[operation.name](operation.options, *[values[index] for index in operation.sources])
            for index, array in zip(operation.targets, found if len(operation.targets) > 1 else [found], strict=True):
                values[index] = _FUSED[operation.activation](array)
        return {name: np.array(values[index]) for name, index in self._targets.items()}


def _check(operation: Operation) -> None:
    if operation.name not in _OPERATIONS:
        raise BundleError(f"expected a graph of operations that numpy runs here ({', '.join(sorted(_OPERATIONS))}), "
                          f"found {operation.name}")
    if operation.activation not in _FUSED:
        raise BundleError(f"expected a graph of activations that numpy runs here ({', '.join(_FUSED)}), found "
                          f"{operation.activation} in {operation.name}")
