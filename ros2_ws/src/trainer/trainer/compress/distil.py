"""A small student that learns to act as a large teacher (DAgger: Ross et al., arXiv:1011.0686)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from policy_node.actor import Graph
from policy_node.litert_actor import LiteRTGraph
from trainer import export
from trainer.compress.samples import Arrays, Samples
from trainer.networks.mlp import dense

# Least standard deviation that the student's inputs are scaled by; see `OffPolicyConfig.observation_min_std`.
_LEAST_STD = 1.0


@dataclass(frozen=True)
class Lessons:
    """How a student is taught.

    Attributes:
        rounds: of driving and learning; the teacher drives in the first, the student in the others.
        samples: that each round adds.
        epochs: passes over all samples in each round.
        batch_size: samples per gradient step.
        learning_rate: step size of Adam at the start of a round, which falls to 0 in half a cosine.
    """

    rounds: int = 5
    samples: int = 20_000
    epochs: int = 20
    batch_size: int = 256
    learning_rate: float = 1e-3


def distilled(teacher: Graph, hidden: Sequence[int], drive: Callable[[Graph, int], Arrays], lessons: Lessons,
              seed: int) -> keras.Model:
    """A student of relu layers, which takes and gives what the teacher does.

    Each round lets the teacher (at first) or the student drive, asks the teacher what it would have given, and fits
    the student to all answers so far. So the student learns what to do where its own mistakes lead.

    Args:
        teacher: gives `action` and, where it has more outputs, also those: mean, log_std, states.
        hidden: sizes of the student's layers.
        drive: what a graph is given while it drives, [lessons.samples, ...] by name, in a round.
        lessons: how it is taught.
        seed: of weights and order.

    Differs from the paper in: the student alone drives after the first round (their beta is 1, 0, 0, …) and its last
    version is taken, not the best on validation.
    """
    samples: Samples | None = None
    driver = teacher
    student: keras.Model | None = None
    keras.utils.set_random_seed(seed)
    for turn in range(lessons.rounds):
        seen = Samples.of(teacher, drive(driver, turn))
        samples = seen if samples is None else samples.joined(seen)
        if student is None:
            student = _student(samples, hidden, seed)
        _fit(student, samples, lessons)
        driver = LiteRTGraph(export.litert_bytes(student))
    return student


def _student(samples: Samples, hidden: Sequence[int], seed: int) -> keras.Model:
    """A network of the teacher's inputs and outputs, its inputs scaled as in the samples."""
    seeds = iter(np.random.SeedSequence(seed).generate_state(len(hidden) + len(samples.outputs)))
    inputs = {name: keras.Input(array.shape[1:], dtype="float32", name=name)
              for name, array in samples.inputs.items()}
    flat = [keras.layers.Flatten()(x) if len(x.shape) > 2 else x for x in inputs.values()]
    x = flat[0] if len(flat) == 1 else keras.layers.Concatenate()(flat)
    given = np.concatenate([array.reshape(len(array), -1) for array in samples.inputs.values()], axis=1)
    x = keras.layers.Normalization(mean=given.mean(axis=0),
                                   variance=np.maximum(given.var(axis=0), _LEAST_STD**2), name="normalise")(x)
    for i, size in enumerate(hidden):
        x = dense(size, int(next(seeds)), activation="relu", name=f"student_{i}")(x)
    outputs: dict[str, Any] = {}
    for name, array in samples.outputs.items():
        # A policy's action is the squashed mean, where it gives the mean too.
        if name == "action" and "mean" in samples.outputs:
            continue
        shape = array.shape[1:]
        head = dense(int(np.prod(shape)), int(next(seeds)), name=f"student_{name}")(x)
        head = keras.layers.Reshape(shape)(head) if len(shape) > 1 else head
        outputs[name] = keras.ops.tanh(head) if name == "action" else head
    if "mean" in outputs:
        outputs["action"] = keras.ops.tanh(outputs["mean"])
    return keras.Model(inputs["observation"] if len(inputs) == 1 else inputs, outputs, name="policy")


def _fit(student: keras.Model, samples: Samples, lessons: Lessons) -> None:
    steps = lessons.epochs * -(-len(samples) // lessons.batch_size)
    rate = keras.optimizers.schedules.CosineDecay(lessons.learning_rate, steps)
    # The mean before the squashing has no bounds and matters through the action alone.
    learned = {name: "mse" for name in student.output if name != "mean"}
    student.compile(keras.optimizers.Adam(rate), loss=learned)
    inputs = samples.inputs["observation"] if len(samples.inputs) == 1 else dict(samples.inputs)
    student.fit(inputs, {name: samples.outputs[name] for name in learned}, batch_size=lessons.batch_size,
                epochs=lessons.epochs, verbose=0)
