"""A smaller actor learns to act as its teacher (DAgger: Ross et al., arXiv:1011.0686)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from policy_node.litert_actor import LiteRTGraph
from trainer.compress.samples import Samples, Teacher

Tensors = Mapping[str, tf.Tensor]
_BATCH_SIZE = 256
# The mean before the squashing has no bounds, and matters through the action alone.
_NOT_LEARNED = ("mean",)


@dataclass(frozen=True)
class Course:
    """How much is taught.

    Attributes:
        rounds: of driving and learning; the teacher drives in the first, the student in the others.
        samples: that each round adds.
        epochs: passes over all samples in each round.
        last_epochs: passes over all samples after the rounds, while the step size falls.
        learning_rate: step size of Adam in the rounds, from which it falls towards 0 in half a cosine.
    """

    rounds: int
    samples: int
    epochs: int
    last_epochs: int
    learning_rate: float


class Student:
    """A differentiable graph that learns to give what a teacher gives.

    Args:
        graph: from named inputs [n, ...] to named outputs [n, ...].
        variables: what is learned.
        litert: makes the .tflite file of the graph as it is now.
        after_step: called after each gradient step, within a compiled function.
    """

    def __init__(self, graph: Callable[[Tensors], Tensors], variables: Sequence[tf.Variable],
                 litert: Callable[[], bytes], after_step: Callable[[], None] = lambda: None) -> None:
        self.litert = litert
        self._graph, self._variables, self._after_step = graph, list(variables), after_step
        self._adam = keras.optimizers.Adam()
        self._adam.build(self._variables)
        # A whole epoch as one call: between the steps of so small networks Keras's `fit` takes most of the time.
        self._compiled = tf.function(self._epoch, reduce_retracing=True)

    def fit(self, samples: Samples, learning_rates: Sequence[float], rng: np.random.Generator) -> float:
        """One pass over the samples at each learning rate, in an order of its own; returns the last mean loss.

        The loss is the mean squared difference from the samples' outputs. What is left over after the last full batch
        of an order is left out.
        """
        inputs = {name: tf.constant(array) for name, array in samples.inputs.items()}
        targets = {name: tf.constant(array) for name, array in samples.outputs.items() if name not in _NOT_LEARNED}
        steps = len(samples) // _BATCH_SIZE
        loss = np.nan
        for rate in learning_rates:
            self._adam.learning_rate.assign(rate)
            order = rng.permutation(len(samples))[:steps * _BATCH_SIZE].reshape(steps, _BATCH_SIZE)
            loss = float(self._compiled(inputs, targets, tf.constant(order, tf.int32)))
        return loss

    def _epoch(self, inputs: Tensors, targets: Tensors, order: tf.Tensor) -> tf.Tensor:
        total = tf.constant(0.0)
        for i in tf.range(tf.shape(order)[0]):
            total += self._step(*({name: tf.gather(array, order[i]) for name, array in table.items()}
                                  for table in (inputs, targets)))
            self._after_step()
        return total / tf.cast(tf.shape(order)[0], tf.float32)

    def _step(self, inputs: Tensors, targets: Tensors) -> tf.Tensor:
        with tf.GradientTape() as tape:
            found = self._graph(inputs)
            loss = tf.add_n([tf.reduce_mean(tf.math.squared_difference(found[name], target))
                             for name, target in targets.items()])
        # What leads only to an output that does not count gets none.
        gradients = tape.gradient(loss, self._variables, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        self._adam.apply(gradients, self._variables)
        return loss


def teach(student: Student, teacher: Teacher, course: Course, rng: np.random.Generator,
          tell: Callable[[str], None], samples: Samples | None = None,
          before_round: Callable[[int], None] = lambda turn: None) -> Samples:
    """Let the student learn by DAgger; returns all that it was taught with.

    Each round lets the teacher (at first) or the student drive, asks the teacher what it would have given, and fits the
    student to all answers so far. So the student learns what to do where its own mistakes lead.

    Args:
        student: what learns.
        teacher: what it learns from.
        course: how much.
        rng: of the orders and of the robots that are driven.
        tell: is given a few words on each round before it begins.
        samples: of the first round; None: the teacher drives for them.
        before_round: called with the number of each round, from 0, before the student learns.

    Differs from the paper in: the student alone drives after the first round (their beta is 1, 0, 0, …), and its last
    version is taken, not the best on validation.
    """
    samples = samples or first_lesson(teacher, course, rng)
    loss = np.nan
    for turn in range(course.rounds):
        if turn:
            samples = samples.joined(teacher.rollout(LiteRTGraph(student.litert()), course.samples, _seed(rng)))
        tell(f"round {turn + 1} of {course.rounds}{_so_far(loss)}")
        before_round(turn)
        loss = student.fit(samples, [course.learning_rate] * course.epochs, rng)
    falling = 0.5 * course.learning_rate * (1.0 + np.cos(np.pi * np.arange(course.last_epochs) / course.last_epochs))
    tell(f"last passes{_so_far(loss)}")
    student.fit(samples, falling.tolist(), rng)
    return samples


def first_lesson(teacher: Teacher, course: Course, rng: np.random.Generator) -> Samples:
    """What the teacher sees and gives while it drives itself: the samples of a course's first round."""
    return teacher.rollout(teacher.graph, course.samples, _seed(rng))


def _so_far(loss: float) -> str:
    return "" if np.isnan(loss) else f", mean squared difference so far {loss:.2g}"


def _seed(rng: np.random.Generator) -> int:
    return int(rng.integers(2**31))
