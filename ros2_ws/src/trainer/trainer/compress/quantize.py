"""Weights and sums in fewer bits, by ai-edge-quantizer.

The edges of a graph stay in floating point, with their matrices in float16: observations hold meters, m/s and contact
forces side by side, and the last sums before the squashing range far beyond where it saturates. One scale of 8 bits
would lose what matters of both. What lies between, the larger part by far, is quantized, and so is what leads from one
state of a recurrent actor to the next: the cells that make them keep them in a range of their own.
"""

from __future__ import annotations

import contextlib
import io
import re
import warnings
from collections import Counter
from collections.abc import Callable, Mapping

import numpy as np
from ai_edge_quantizer import qtyping, quantizer
from ai_edge_quantizer.algorithm_manager import AlgorithmName

from ant_rl_core.bundle import BundleError
from policy_node.litert_actor import SIGNATURE
from trainer.compress.litert_file import LiteRTFile

_MATMUL = qtyping.TFLOperationName.FULLY_CONNECTED
_WEIGHTS = qtyping.TensorQuantizationConfig(8, symmetric=True, granularity=qtyping.QuantGranularity.CHANNELWISE)
_FLOAT16 = qtyping.OpQuantizationConfig(
    weight_tensor_config=qtyping.TensorQuantizationConfig(16, dtype=qtyping.TensorDataType.FLOAT),
    compute_precision=qtyping.ComputePrecision.FLOAT, explicit_dequantize=True)
_DYNAMIC = qtyping.OpQuantizationConfig(weight_tensor_config=_WEIGHTS,
                                        compute_precision=qtyping.ComputePrecision.INTEGER)
_STATIC = qtyping.OpQuantizationConfig(
    activation_tensor_config=qtyping.TensorQuantizationConfig(8, symmetric=False), weight_tensor_config=_WEIGHTS,
    compute_precision=qtyping.ComputePrecision.INTEGER)


def float16(model: bytes) -> bytes:
    """A LiteRT graph whose matrices are stored in float16; it sums in float32."""
    return _quantized(model, lambda q: _to_float16(q, ".*"))


def dynamic_int8(model: bytes, inputs: Mapping[str, np.ndarray]) -> bytes:
    """A LiteRT graph whose matrices are int8, with one scale per output; what they multiply is scaled at each run.

    Weights are rounded so that the sums change least for the given inputs (GPTQ: Frantar et al., arXiv:2210.17323).

    Args:
        model: float32 graph.
        inputs: float32 [m, ...] by name, as the graph gets them where it is used.

    Raises:
        BundleError: there are no matrices between the edges, or one is used several times.
    """
    return _between_edges(model, _DYNAMIC, inputs)


def int8(model: bytes, inputs: Mapping[str, np.ndarray], rounding: AlgorithmName = AlgorithmName.GPTQ) -> bytes:
    """A LiteRT graph whose sums of products are computed in int8; what lies between them stays in float32.

    Divisions by a mean magnitude, as in TD7's graph, would lose in int8 what they are there for.

    Args:
        model: float32 graph.
        inputs: as of `dynamic_int8`; the ranges of all that is computed from them are what int8 is spread over.
        rounding: of the weights, by the quantizer's name for it.

    Raises:
        BundleError: as of `dynamic_int8`.
    """
    return _between_edges(model, _STATIC, inputs, rounding)


def edges(model: bytes) -> list[str]:
    """Names of the tensors with at most one sum of products between them and the inputs, or them and the outputs.

    States are neither inputs nor outputs here.
    """
    file = LiteRTFile(model)
    inside_first, inside_last = ({index for name, index in table.items() if not name.startswith("state_")}
                                 for table in (file.sources, file.targets))
    found: list[int] = []
    for operation in file.operations:
        if not inside_first.isdisjoint(operation.sources):
            found += operation.targets
            if operation.name != _MATMUL:
                inside_first.update(operation.targets)
    for operation in reversed(file.operations):
        if not inside_last.isdisjoint(operation.targets):
            found += operation.targets
            if operation.name != _MATMUL:
                inside_last.update(operation.sources)
    return [file.names[i] for i in dict.fromkeys(found)]


def _between_edges(model: bytes, config: qtyping.OpQuantizationConfig, inputs: Mapping[str, np.ndarray],
                   rounding: AlgorithmName = AlgorithmName.GPTQ) -> bytes:
    outside, file = edges(model), LiteRTFile(model)
    used = Counter(operation.sources[1] for operation in file.operations if operation.name == _MATMUL)
    if used and max(used.values()) > 1:
        raise BundleError("expected an actor each of whose layers is used once, found one that is used in "
                          f"{max(used.values())} places, as by an actor that imagines: take float16, or distil it")
    if not any(operation.name == _MATMUL and file.names[operation.targets[0]] not in outside
               for operation in file.operations):
        raise BundleError("expected an actor with layers between its first and its last, which stay in float16, found "
                          "none that could become int8: take float16")

    def configure(q: quantizer.Quantizer) -> None:
        q.update_quantization_recipe(".*", _MATMUL, config, rounding)
        _to_float16(q, f"^({'|'.join(map(re.escape, outside))});$")
    return _quantized(model, configure, inputs)


def _to_float16(q: quantizer.Quantizer, names: str) -> None:
    q.update_quantization_recipe(names, _MATMUL, _FLOAT16, AlgorithmName.FLOAT_CASTING)


def _quantized(model: bytes, configure: Callable[[quantizer.Quantizer], None],
               inputs: Mapping[str, np.ndarray] | None = None) -> bytes:
    made = quantizer.Quantizer(bytearray(model))
    configure(made)
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():  # it reports sizes there
        # Calibration reads every tensor in between, which LiteRT warns of.
        warnings.filterwarnings("ignore", message=".*experimental_preserve_all_tensors")
        # All inputs as one batch: of several, the quantizer would average the extremes, and so cut off the rare ones.
        ranges = made.calibrate({SIGNATURE: [dict(inputs)]}) if inputs and made.need_calibration else None
        return bytes(made.quantize(ranges).quantized_model)
