"""The methods of compression by name, and what they make of one actor."""

from __future__ import annotations

import difflib
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ant_rl_core.bundle import FLOAT32
from ant_rl_core.settings import ArgumentError
from policy_node.litert_actor import LiteRTGraph
from trainer.compress import distil, prune, qat, quantize
from trainer.compress.fit import Course
from trainer.compress.samples import Arrays, Teacher

CALIBRATION_SAMPLES = 4_000

# What is made if nothing is asked for.
USUAL = ("float32", "float16", "dynamic_int8", "int8", "qat_int8", "prune_50", "prune_80", "prune_90",
         "distil_128x128", "distil_64x64", "distil_32x32", "distil_128x128+int8")


@dataclass(frozen=True)
class Method:
    """One way to make a smaller graph.

    Attributes:
        pattern: regular expression of its names; its groups are whole numbers.
        example: one of its names.
        summary: one line for --help.
        make: from a maker, the graph to make smaller, the numbers in the name and a seed to the smaller graph.
        finish: what is done at the end, where no other method follows.
    """

    pattern: str
    example: str
    summary: str
    make: Callable[[Maker, bytes, list[int], int], bytes]
    finish: Callable[[bytes], bytes] = bytes


class Maker:
    """Makes variants of one actor; what several of them begin with is made once.

    Args:
        model: its LiteRT graph, float32.
        teacher: the actor itself, for those that learn from it.
        seed: of all that is drawn.
        effort: how much is taught, as a share of the usual number of rounds and passes.
        tell: is given what is being done, in a few words.
    """

    def __init__(self, model: bytes, teacher: Teacher, seed: int, effort: float, tell: Callable[[str], None]) -> None:
        self.teacher, self.effort, self.tell = teacher, effort, tell
        self._seed = seed
        self._made = {"": model}

    def make(self, name: str) -> bytes:
        """The variant of this name, as a .tflite file.

        Raises:
            BundleError: it can't be made of this actor.
        """
        last, _ = _method(name.rpartition("+")[2])
        return last.finish(self._unfinished(name))

    def course(self, usual: Course) -> Course:
        """The course with its rounds and passes at this maker's effort."""
        return replace(usual, **{field: max(1, round(self.effort * getattr(usual, field)))
                                 for field in ("rounds", "epochs", "last_epochs")})

    def calibration(self, model: bytes) -> Arrays:
        """What a graph is given while it drives, float32 [CALIBRATION_SAMPLES, ...] by name."""
        return self.teacher.visited(LiteRTGraph(model), CALIBRATION_SAMPLES, self._seed)

    def _unfinished(self, name: str) -> bytes:
        if name not in self._made:
            before, _, last = name.rpartition("+")
            method, numbers = _method(last)
            # A seed of its own for each, which does not depend on what else is made.
            seed = int(np.random.SeedSequence([self._seed, zlib.crc32(name.encode())]).generate_state(1)[0])
            self._made[name] = method.make(self, self._unfinished(before), numbers, seed)
        return self._made[name]


def _distilled(maker: Maker, model: bytes, numbers: list[int], seed: int) -> bytes:
    return distil.distilled(model, numbers, maker.teacher, maker.course(distil.COURSE), seed, maker.tell)


def _pruned(maker: Maker, model: bytes, numbers: list[int], seed: int) -> bytes:
    return prune.pruned(model, numbers[0] / 100, maker.teacher, maker.course(prune.COURSE), seed, maker.tell)


METHODS = (
    Method(FLOAT32, FLOAT32, "the actor as it was learned",
           lambda maker, model, numbers, seed: model),
    Method("float16", "float16", "weights in float16, sums in float32",
           lambda maker, model, numbers, seed: quantize.float16(model)),
    Method("dynamic_int8", "dynamic_int8", "weights in int8, what they multiply rounded at each run",
           lambda maker, model, numbers, seed: quantize.dynamic_int8(model, maker.calibration(model))),
    Method("int8", "int8", "sums of products in int8, calibrated on the policy's own rollouts",
           lambda maker, model, numbers, seed: quantize.int8(model, maker.calibration(model))),
    Method("qat_int8", "qat_int8", "as int8, with weights that learned to be rounded",
           lambda maker, model, numbers, seed: qat.qat_int8(model, maker.teacher, maker.course(qat.COURSE), seed,
                                                            maker.tell)),
    Method(r"prune_([1-9]\d?)", "prune_80", "80 % of the weights, the smallest, become zero, and the others learn to "
           "make up for it", _pruned, prune.sparse),
    Method(r"distil_([1-9]\d*)(x[1-9]\d*)*", "distil_64x64", "a student with layers of 64 and 64 learns from the "
           "actor", _distilled),
)


def check(name: str) -> None:
    """ArgumentError unless this is the name of a method, or of several joined by +, to be applied in turn."""
    for part in name.split("+"):
        _method(part)


def _method(name: str) -> tuple[Method, list[int]]:
    for method in METHODS:
        if re.fullmatch(method.pattern, name):
            return method, [int(number) for number in re.findall(r"\d+", name.partition("_")[2])]
    examples = [method.example for method in METHODS]
    nearest = difflib.get_close_matches(name, examples, n=1, cutoff=0.0)[0]
    raise ArgumentError(f"there is no method {name!r}; the nearest one is {nearest!r}, and there are "
                        f"{', '.join(examples)}, or several joined by +")
