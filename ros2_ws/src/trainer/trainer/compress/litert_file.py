"""What is in a .tflite file: its operations, the tensors between them, its weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from ai_edge_litert.tools import flatbuffer_utils

from ant_rl_core.bundle import BundleError
from policy_node.litert_actor import SIGNATURE

_Types = flatbuffer_utils.TensorType
# float16 weights are cast to float32 where they are used; int8 and below are integers of a scale.
_DTYPES = {_Types.FLOAT32: np.float32, _Types.FLOAT16: np.float16, _Types.INT32: np.int32, _Types.INT64: np.int64,
           _Types.INT8: np.int8, _Types.BOOL: np.bool_}


@dataclass(frozen=True)
class Operation:
    """One operation of a graph.

    Attributes:
        name: LiteRT's, such as FULLY_CONNECTED.
        options: LiteRT's, None where it has none.
        activation: name of what is applied to its result, NONE for nothing.
        sources, targets: indices of the tensors that it takes and gives.
    """

    name: str
    options: Any
    activation: str
    sources: tuple[int, ...]
    targets: tuple[int, ...]


class LiteRTFile:
    """A read .tflite file with one graph.

    Args:
        model: the file's bytes.

    Attributes:
        sources, targets: index of each input and output tensor by its name in the signature.
        inputs, outputs: shape of those, without the batch axis.
        names: of all tensors.
        constants: the values of the tensors that the file holds and that are not sparse, by index.
        operations: in the order in which they run.
        weights, zeros: how many entries its matrices have, and how many of them are zero.

    Raises:
        BundleError: the bytes are no LiteRT graph with the signature of actors, or hold a type of weights that is not
            known here.
    """

    def __init__(self, model: bytes) -> None:
        try:
            read = flatbuffer_utils.read_model_from_bytearray(bytearray(model))
            (graph,) = read.subgraphs
            (signature,) = (found for found in read.signatureDefs if found.signatureKey.decode() == SIGNATURE)
        except Exception as error:  # the reader answers damage with errors of any kind
            raise BundleError(f"expected a LiteRT graph with the signature {SIGNATURE}, found {len(model)} bytes that "
                              f"can't be read as one ({type(error).__name__})") from error
        self.sources, self.targets = ({item.name.decode(): int(item.tensorIndex) for item in items}
                                      for items in (signature.inputs, signature.outputs))
        self.inputs, self.outputs = ({name: tuple(map(int, graph.tensors[i].shape[1:])) for name, i in table.items()}
                                     for table in (self.sources, self.targets))
        self.names = [tensor.name.decode() for tensor in graph.tensors]
        self.constants: dict[int, np.ndarray] = {}
        self.weights = self.zeros = 0
        for i, tensor in enumerate(graph.tensors):
            if read.buffers[tensor.buffer].data is not None:
                self._take(i, tensor, read.buffers[tensor.buffer].data)
        self.operations = [Operation(
            flatbuffer_utils.opcode_to_name(read, operator.opcodeIndex), operator.builtinOptions,
            _name(flatbuffer_utils.ActivationFunctionType,
                  getattr(operator.builtinOptions, "fusedActivationFunction", 0)),
            # -1 stands for an optional source that is left out.
            tuple(int(i) for i in operator.inputs if i >= 0), tuple(map(int, operator.outputs)))
            for operator in graph.operators]

    def _take(self, index: int, tensor: Any, data: Any) -> None:
        if tensor.type not in _DTYPES:
            raise BundleError(f"expected weights of a type known here, found {_name(_Types, tensor.type)} for "
                              f"{self.names[index]}")
        values: np.ndarray = np.frombuffer(bytes(data), _DTYPES[tensor.type])
        size = int(np.prod(tensor.shape))
        if len(tensor.shape) > 1 and min(tensor.shape) > 1:
            self.weights += size
            self.zeros += size - int(np.count_nonzero(values))
        if tensor.sparsity is None:
            self.constants[index] = values.reshape(tensor.shape)


def _name(kind: type, value: int) -> str:
    return next((name for name, known in vars(kind).items() if known == value), str(value))
