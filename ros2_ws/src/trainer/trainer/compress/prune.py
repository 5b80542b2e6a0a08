"""Magnitude pruning with fine-tuning (Zhu & Gupta, To prune, or not to prune, arXiv:1710.01878).

TensorFlow Model Optimization prunes models of Keras 2 only, so the masks are here, in the loop that fine-tunes.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from trainer.compress.differentiable import DifferentiableGraph
from trainer.compress.fit import Course, Student, teach
from trainer.compress.samples import Teacher

COURSE = Course(rounds=32, samples=20_000, epochs=1, last_epochs=8, learning_rate=1e-3)


def pruned(model: bytes, sparsity: float, teacher: Teacher, course: Course, seed: int,
           tell: Callable[[str], None]) -> bytes:
    """A LiteRT graph in which this share of each matrix is zero, the smallest magnitudes first.

    The share grows over the first three quarters of the rounds along the paper's cubic schedule, 1 - (1 - t)^3, while
    what is left learns to give what the teacher gives. What was zero once may come back until the share is reached.

    Args:
        model: float32 graph.
        sparsity: share of zeros, at least 0 and less than 1.
        teacher: what the rest learns from.
        course: how much it is taught.
        seed: of the lessons.
        tell: see `fit.teach`.

    Differs from the paper in: shares grow between rounds of learning, not every few hundred steps; the targets are a
    teacher's outputs, at the states that the pruned actor itself visits.
    """
    graph = DifferentiableGraph(model)
    masks = [tf.Variable(tf.ones_like(matmul.kernel), trainable=False) for matmul in graph.matmuls]

    def mask() -> None:
        for matmul, kept in zip(graph.matmuls, masks, strict=True):
            matmul.kernel.assign(matmul.kernel * kept)

    def grow(turn: int) -> None:
        time = min(1.0, (turn + 1) / (0.75 * course.rounds))
        share = sparsity * (1.0 - (1.0 - time) ** 3)
        for matmul, kept in zip(graph.matmuls, masks, strict=True):
            kept.assign(largest(matmul.kernel.numpy(), share))
        mask()

    student = Student(graph, graph.trainable_variables, graph.litert_bytes, after_step=mask)
    teach(student, teacher, course, np.random.default_rng(seed), tell, before_round=grow)
    return student.litert()


def largest(kernel: np.ndarray, sparsity: float) -> np.ndarray:
    """1.0 where a matrix has its largest magnitudes, 0.0 at the `sparsity` share of entries with the smallest."""
    mask = np.ones(kernel.size, np.float32)
    mask[np.argsort(np.abs(kernel), axis=None, kind="stable")[:round(sparsity * kernel.size)]] = 0.0
    return mask.reshape(kernel.shape)


def sparse(model: bytes) -> bytes:
    """The same LiteRT graph with matrices that are mostly zeros stored by what is not zero in them."""
    return DifferentiableGraph(model).litert_bytes(sparse=True)
