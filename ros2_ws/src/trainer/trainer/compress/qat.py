"""Quantization-aware fine-tuning by distillation (Jacob et al., arXiv:1712.05877).

TensorFlow Model Optimization quantizes models of Keras 2 only; the rounding that the weights learn to live with is
TensorFlow's own, and what is stored in the end comes from the same quantizer as the variant int8.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import tensorflow as tf
from ai_edge_quantizer.algorithm_manager import AlgorithmName

from trainer.compress import quantize
from trainer.compress.differentiable import DifferentiableGraph, Matmul
from trainer.compress.fit import Course, Student, first_lesson, teach
from trainer.compress.samples import Arrays, Teacher

COURSE = Course(rounds=4, samples=20_000, epochs=2, last_epochs=6, learning_rate=1e-4)
Range = tuple[float, float]


def qat_int8(model: bytes, teacher: Teacher, course: Course, seed: int,
             tell: Callable[[str], None]) -> bytes:
    """A LiteRT graph in int8, see `quantize.int8`, whose weights learned to give in int8 what the teacher gives.

    In every sum of products that is going to be int8, input, kernel and result are rounded as they will be; gradients
    pass the rounding unchanged within the range (straight-through estimator).

    Args:
        model: float32 graph.
        teacher: what it learns from.
        course: how much it is taught.
        seed: of the lessons.
        tell: see `fit.teach`.

    Differs from the paper in: ranges are those of the float actor's own rollouts and stay fixed; no batch norm to fold;
    the targets are a teacher's outputs, at the states that the quantized actor itself visits.
    """
    graph = DifferentiableGraph(model)
    rng = np.random.default_rng(seed)
    samples = first_lesson(teacher, course, rng)
    in_float = set(quantize.edges(model))
    ranges = _ranges(graph, samples.inputs)

    def rounded(matmul: Matmul, x: tf.Tensor) -> tf.Tensor:
        if matmul.output in in_float:
            return matmul(x)
        before, after = ranges[matmul.output]
        return _rounded(matmul(_rounded(x, before), _rounded_kernel(matmul.kernel)), after)

    student = Student(partial(graph, matmul=rounded), graph.trainable_variables,
                      lambda: quantize.int8(graph.litert_bytes(), samples.inputs, AlgorithmName.MIN_MAX_UNIFORM_QUANT))
    teach(student, teacher, course, rng, tell, samples)
    return student.litert()


def _ranges(graph: DifferentiableGraph, inputs: Arrays) -> dict[str, tuple[Range, Range]]:
    """Least and largest value of what goes into each sum of products, and of what it gives, by its output's name."""
    found: dict[str, tuple[Range, Range]] = {}

    def span(values: tf.Tensor) -> Range:
        return float(tf.reduce_min(values)), float(tf.reduce_max(values))

    def watched(matmul: Matmul, x: tf.Tensor) -> tf.Tensor:
        y = matmul(x)
        found[matmul.output] = span(x), span(y)
        return y
    graph({name: tf.constant(array) for name, array in inputs.items()}, watched)
    return found


def _rounded(x: tf.Tensor, limits: Range) -> tf.Tensor:
    # Zero is among the values in any case, as in what the quantizer makes.
    return tf.quantization.fake_quant_with_min_max_args(x, min(limits[0], 0.0), max(limits[1], 1e-6))


def _rounded_kernel(kernel: tf.Variable) -> tf.Tensor:
    """The kernel in int8 with one symmetric scale per output."""
    largest = tf.stop_gradient(tf.maximum(tf.reduce_max(tf.abs(kernel), axis=0), 1e-6))
    return tf.quantization.fake_quant_with_min_max_vars_per_channel(kernel, -largest, largest, narrow_range=True)
