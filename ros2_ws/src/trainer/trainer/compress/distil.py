"""A small student in place of a large actor."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from ant_rl_core.bundle import BundleError
from trainer.compress.fit import Course, Student, first_lesson, teach
from trainer.compress.litert_file import LiteRTFile
from trainer.compress.samples import Samples, Teacher
from trainer.export import policy_graph
from trainer.networks.mlp import dense

COURSE = Course(rounds=40, samples=20_000, epochs=8, last_epochs=60, learning_rate=1e-3)
# Least standard deviation that the student's inputs are scaled by; see `OffPolicyConfig.observation_min_std`.
_LEAST_STD = 1.0


def distilled(model: bytes, hidden: Sequence[int], teacher: Teacher, course: Course, seed: int,
              tell: Callable[[str], None]) -> bytes:
    """A LiteRT graph of a few relu layers that takes and gives what the teacher does, and learned it from it.

    Args:
        model: what it is to be smaller than.
        hidden: sizes of its layers.
        teacher: what it learns from.
        course: how much it is taught.
        seed: of weights and lessons.
        tell: see `fit.teach`.

    Raises:
        BundleError: it would have no fewer weights than `model`.
    """
    weights_seed, lessons_seed = np.random.SeedSequence(seed).spawn(2)
    rng = np.random.default_rng(lessons_seed)
    samples = first_lesson(teacher, course, rng)
    network = _network(samples, hidden, weights_seed)
    most, count = LiteRTFile(model).weights, sum(int(np.prod(v.shape)) for v in network.trainable_variables
                                                 if len(v.shape) > 1)
    if count >= most:
        raise BundleError(f"expected a student that is smaller than its teacher with {most:,} weights, found one with "
                          f"{count:,}: take smaller layers")
    names = list(samples.inputs)

    def graph(inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        return network(inputs["observation"] if names == ["observation"] else dict(inputs))

    student = Student(graph, [v.value for v in network.trainable_variables], lambda: policy_graph.litert_bytes(network))
    teach(student, teacher, course, rng, tell, samples)
    return student.litert()


def _network(samples: Samples, hidden: Sequence[int], seeds: np.random.SeedSequence) -> keras.Model:
    """A network of the teacher's inputs and outputs, its inputs scaled as in the samples."""
    states = iter(seeds.generate_state(len(hidden) + len(samples.outputs)).tolist())
    inputs = {name: keras.Input(array.shape[1:], dtype="float32", name=name)
              for name, array in samples.inputs.items()}
    flat = [keras.layers.Flatten()(x) if len(x.shape) > 2 else x for x in inputs.values()]
    x = flat[0] if len(flat) == 1 else keras.layers.Concatenate()(flat)
    given = np.concatenate([array.reshape(len(array), -1) for array in samples.inputs.values()], axis=1)
    x = keras.layers.Normalization(mean=given.mean(axis=0),
                                   variance=np.maximum(given.var(axis=0), _LEAST_STD**2), name="normalize")(x)
    for i, size in enumerate(hidden):
        x = dense(size, next(states), activation="relu", name=f"student_{i}")(x)
    outputs: dict[str, Any] = {}
    for name, array in samples.outputs.items():
        # A policy's action is the squashed mean, where it gives the mean too.
        if name == "action" and "mean" in samples.outputs:
            continue
        shape = array.shape[1:]
        head = dense(int(np.prod(shape)), next(states), name=f"student_{name}")(x)
        head = keras.layers.Reshape(shape)(head) if len(shape) > 1 else head
        outputs[name] = keras.ops.tanh(head) if name == "action" else head
    if "mean" in outputs:
        outputs["action"] = keras.ops.tanh(outputs["mean"])
    return keras.Model(inputs["observation"] if len(inputs) == 1 else inputs, outputs, name="policy")
