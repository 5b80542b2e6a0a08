"""Weights and sums in fewer bits, by ai-edge-quantizer.

Observations hold metres, m/s and contact forces side by side, which one scale of 8 bits can't tell apart. So all that is
computed from them up to the first sums of products stays in float32, with the matrices of those sums in float16.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import numpy as np
from ai_edge_litert.tools import flatbuffer_utils
from ai_edge_quantizer import qtyping, quantizer, recipe
from ai_edge_quantizer.algorithm_manager import AlgorithmName

from policy_node.litert_actor import SIGNATURE

_FLOAT16 = qtyping.OpQuantizationConfig(
    weight_tensor_config=qtyping.TensorQuantizationConfig(16, dtype=qtyping.TensorDataType.FLOAT),
    compute_precision=qtyping.ComputePrecision.FLOAT, explicit_dequantize=True)
_MATMUL = qtyping.TFLOperationName.FULLY_CONNECTED
_EVERY_OPERATION = qtyping.TFLOperationName.ALL_SUPPORTED


def float16(model: bytes) -> bytes:
    """A LiteRT graph whose matrices are stored in float16; it sums in float32."""
    return _quantized(model, lambda q: q.update_quantization_recipe(".*", _MATMUL, _FLOAT16,
                                                                    AlgorithmName.FLOAT_CASTING))


def dynamic_int8(model: bytes) -> bytes:
    """A LiteRT graph whose matrices are int8, one scale per output; what they multiply is scaled at each run."""
    def configure(q: quantizer.Quantizer) -> None:
        q.load_quantization_recipe(recipe.dynamic_wi8_afp32())
        _keep_first_sums(q, model)
    return _quantized(model, configure)


def int8(model: bytes, inputs: Mapping[str, np.ndarray]) -> bytes:
    """A LiteRT graph that computes in int8, between float32 inputs and outputs.

    Args:
        model: float32 graph.
        inputs: float32 [m, ...] by name, as the graph gets them where it is used: the ranges of all that is computed
            from them are what int8 is spread over.
    """
    def configure(q: quantizer.Quantizer) -> None:
        q.load_quantization_recipe(recipe.static_wi8_ai8())
        for edge in (qtyping.TFLOperationName.INPUT, qtyping.TFLOperationName.OUTPUT):
            q.update_quantization_recipe(".*", edge, algorithm_key=AlgorithmName.NO_QUANTIZE)
        _keep_first_sums(q, model)
    return _quantized(model, configure, inputs)


def _keep_first_sums(q: quantizer.Quantizer, model: bytes) -> None:
    """Take what comes before the first layers' outputs out of the recipe; see above."""
    names = "|".join(map(re.escape, _up_to_first_sums(model)))
    q.update_quantization_recipe(names, _EVERY_OPERATION, algorithm_key=AlgorithmName.NO_QUANTIZE)
    q.update_quantization_recipe(names, _MATMUL, _FLOAT16, AlgorithmName.FLOAT_CASTING)


def _up_to_first_sums(model: bytes) -> list[str]:
    """Names of the tensors that are computed from inputs with at most one sum of products on the way."""
    read = flatbuffer_utils.read_model_from_bytearray(bytearray(model))
    graph = read.subgraphs[0]
    matmul = {i for i, code in enumerate(read.operatorCodes)
              if code.builtinCode == flatbuffer_utils.BuiltinOperator.FULLY_CONNECTED}
    raw, names = set(map(int, graph.inputs)), []
    for operation in graph.operators:  # in the order in which they run
        if raw.isdisjoint(map(int, operation.inputs)):
            continue
        names += [graph.tensors[i].name.decode() for i in operation.outputs]
        if operation.opcodeIndex not in matmul:
            raw.update(map(int, operation.outputs))
    return names


def _quantized(model: bytes, configure: Callable[[quantizer.Quantizer], None],
               inputs: Mapping[str, np.ndarray] | None = None) -> bytes:
    made = quantizer.Quantizer(bytearray(model))
    configure(made)
    ranges = None
    if inputs is not None:
        rows = len(next(iter(inputs.values())))
        ranges = made.calibrate({SIGNATURE: [{name: array[i:i + 1] for name, array in inputs.items()}
                                             for i in range(rows)]})
    return bytes(made.quantize(ranges).quantized_model)
