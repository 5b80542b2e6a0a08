"""Actors run by LiteRT: small, fast on one core, without TensorFlow.

`ai-edge-litert` is the runtime's present package, `tflite-runtime` its old one, for computers that lack the first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ant_rl_core.bundle import BundleError

try:
    from ai_edge_litert.interpreter import Interpreter
except ImportError:
    from tflite_runtime.interpreter import Interpreter

SIGNATURE = "serving_default"


class LiteRTGraph:
    """The graph of a .tflite file, run on one thread.

    LiteRT checks the structure of the file itself, so damage ends in an error, not in a crash. A graph that is
    well-formed but evil is beyond it: take bundles from whom you trust.

    Args:
        model: the file's bytes.

    Attributes:
        inputs, outputs: shape of each tensor by its name in the signature, without the batch axis.

    Raises:
        BundleError: the bytes are no graph of float32 tensors with the signature `serving_default`.
    """

    def __init__(self, model: bytes) -> None:
        self._model = model
        self._ready: dict[int, tuple[Any, list[tuple[str, int]], list[tuple[str, int]]]] = {}
        try:
            runner = self._interpreter().get_signature_runner(SIGNATURE)
            self._inputs, self._outputs = runner.get_input_details(), runner.get_output_details()
        except (ValueError, RuntimeError, KeyError, TypeError) as error:
            raise BundleError(f"expected a LiteRT graph with the signature {SIGNATURE}, found {len(model)} bytes that "
                              f"LiteRT refuses ({first_line(error)})") from error
        self.inputs, self.outputs = _shapes(self._inputs), _shapes(self._outputs)

    def __call__(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run with float32 [n, ...] inputs; arrays of its own for every output.

        Raises:
            BundleError: the graph can't be run with n rows.
        """
        rows = len(inputs["observation"])
        interpreter, sources, targets = self._ready.get(rows) or self._prepare(rows)
        for name, index in sources:
            interpreter.set_tensor(index, inputs[name])
        interpreter.invoke()
        return {name: interpreter.get_tensor(index) for name, index in targets}

    def _interpreter(self) -> Any:
        return Interpreter(model_content=self._model, num_threads=1)

    def _prepare(self, rows: int) -> tuple[Any, list[tuple[str, int]], list[tuple[str, int]]]:
        """An interpreter whose tensors have `rows` rows; made once for each number of rows."""
        interpreter = self._interpreter()
        sources = [(name, int(tensor["index"])) for name, tensor in self._inputs.items()]
        targets = [(name, int(tensor["index"])) for name, tensor in self._outputs.items()]
        try:
            for name, index in sources:
                interpreter.resize_tensor_input(index, [rows, *self.inputs[name]], strict=True)
            interpreter.allocate_tensors()
            for name, index in sources:  # else they hold what memory held, and an operation may refuse a NaN of that
                interpreter.set_tensor(index, np.zeros((rows, *self.inputs[name]), np.float32))
            interpreter.invoke()
        except (ValueError, RuntimeError) as error:
            raise BundleError(f"expected a LiteRT graph that runs with {rows} rows, found one that does not "
                              f"({first_line(error)})") from error
        self._ready[rows] = interpreter, sources, targets
        return self._ready[rows]


def first_line(error: Exception) -> str:
    """What an error of a library says, in one line."""
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:200]


def _shapes(tensors: Mapping[str, Mapping[str, Any]]) -> dict[str, tuple[int, ...]]:
    for name, tensor in tensors.items():
        if tensor["dtype"] is not np.float32:
            raise BundleError(f"expected float32 for {name} of the graph, found {np.dtype(tensor['dtype'])}")
    return {name: tuple(int(size) for size in tensor["shape"][1:]) for name, tensor in tensors.items()}
