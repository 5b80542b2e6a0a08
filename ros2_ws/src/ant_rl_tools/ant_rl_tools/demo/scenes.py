"""What is to be shown: the table of the scenes, and what is drawn of a task.

A scene that is added is one entry of `SCENES`; it is offered once its policy ships.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ant_env_node.tasks.distribution import TaskDistribution
from ant_env_node.tasks.presets import PRESETS, lost_leg
from ant_env_node.tasks.symmetry import NUM_LEGS
from ant_env_node.tasks.task import Task
from ant_rl_core.settings import ArgumentError
from ant_rl_core.shipped import shipped_policies
from ant_rl_core.spec import ACTUATOR_NAMES

NOMINAL = Task()
_STREAM = 0xDE30  # parts the draw of tasks from the reset noise of the same seed


@dataclass(frozen=True)
class Scene:
    """One demonstration.

    Attributes:
        preset: the distribution that its tasks are of.
        policy: the shipped one that adapts.
        memoryless: the shipped one beside it.
        story: what happens, a sentence.
        change_at: when the task changes [s].
        starts_nominal: as Ant-v5 comes at first, rather than in a task.
        all_tasks: whether its tasks are drawn from those to train on, too, where only one is held out.
        apart: how different the two tasks are at least and at most, where there are such, see `difference`.
        parts: what the belief's numbers are about.
        truth: of a task, the numbers that the belief should come to, float [k] in -1..1.
        tolerance: a number that is less off is believed rightly; of signs, 1.
    """

    preset: str
    policy: str
    story: str
    change_at: float
    parts: tuple[str, ...]
    truth: Callable[[Task], np.ndarray]
    starts_nominal: bool = False
    all_tasks: bool = False
    apart: tuple[float, float] = (0.0, math.inf)
    tolerance: float = 0.5
    memoryless: str = "default"

    @property
    def tasks(self) -> TaskDistribution:
        """Its distribution."""
        return PRESETS[self.preset]()

    def is_believed(self, belief: np.ndarray, task: Task) -> np.ndarray:
        """bool [k], which numbers of a belief are right."""
        return np.abs(belief - self.truth(task)) < self.tolerance

    def difference(self, one: Task, other: Task) -> float:
        """How far the truths of two tasks are apart: of signs, how many differ."""
        return float(np.sum(np.abs(self.truth(one) - self.truth(other)))) / 2

    def choose(self, seed: int, first: str = "", then: str = "") -> tuple[Task, Task]:
        """The task at the start and the one after the change: as named, else ones that the seed draws.

        The second is another than the first, and as far from it as `apart` says where the tasks allow it.

        Raises:
            ArgumentError: a name that is none of the distribution's.
        """
        tasks = self.tasks
        drawn = (*tasks.train, *tasks.held_out) if self.all_tasks else tasks.held_out or tasks.train
        random = np.random.default_rng((_STREAM, seed))
        start = self._named(first) if first else NOMINAL if self.starts_nominal else drawn[random.integers(len(drawn))]
        if then:
            return start, self._named(then)
        others = {task: difference for task in drawn if (difference := self.difference(start, task)) > 0}
        least, most = self.apart
        fitting = [task for task, difference in others.items() if least <= difference <= most] or list(others)
        return start, fitting[random.integers(len(fitting))]

    def _named(self, name: str) -> Task:
        tasks = self.tasks
        known = {task.name: task for task in (*tasks.train, *tasks.held_out)}
        if name not in known:
            nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
            raise ArgumentError(f"unknown task {name!r}; the nearest one is {nearest!r}, and ./run tasks {self.preset} "
                                "lists them all")
        return known[name]


def _gear(task: Task) -> np.ndarray:
    return np.array(task.gear)


def _heading(task: Task) -> np.ndarray:
    angle = task.heading or 0.0
    return np.array([math.cos(angle), math.sin(angle)])


def _delay(task: Task) -> np.ndarray:
    return np.eye(_DELAYS)[task.delay]


def _lost(task: Task) -> np.ndarray:
    return np.eye(1 + NUM_LEGS)[1 + lost_leg(task.vector()[None])[0]]


_DELAYS = 1 + max(task.delay for task in PRESETS["latency"]().train)
SCENES = {
    "wired": Scene("wired", "wired", "Some motors are wired the wrong way round, which no robot is told; while it "
                   "walks, others are.", 6.0, ACTUATOR_NAMES, _gear, apart=(2, 6), tolerance=1.0),
    "directions": Scene("directions", "directions", "Walking is rewarded in one direction, and then in another: only "
                        "the reward tells which.", 5.0, ("forward", "left"), _heading, apart=(0.5, math.inf)),
    "latency": Scene("latency", "adaptive", "Torques come at once at first, and then some ticks late.", 4.0,
                     tuple(f"{delay} ticks" for delay in range(_DELAYS)), _delay, starts_nominal=True),
    "lost_leg": Scene("lost_leg", "lost_leg", "A leg goes limp while the robot walks.", 4.0,
                      ("none lost", *(f"leg {leg} lost" for leg in range(NUM_LEGS))), _lost, starts_nominal=True,
                      all_tasks=True),
}


def offered() -> dict[str, Scene]:
    """The scenes whose policies ship, by name."""
    shipped = shipped_policies()
    return {name: scene for name, scene in SCENES.items() if {scene.policy, scene.memoryless} <= set(shipped)}


def scene_named(name: str) -> Scene:
    """The scene of this name; ArgumentError where there is none, or its policy is not here yet."""
    there = offered()
    if name in there:
        return there[name]
    known = ", ".join(there) or "none: is the workspace built?"
    if name in SCENES:
        raise ArgumentError(f"demo {name} needs the shipped policies {SCENES[name].policy} and "
                            f"{SCENES[name].memoryless}, which are not both here; there are {known}")
    near = difflib.get_close_matches(name, there, 1)
    raise ArgumentError(f"there is no demo {name}; " + (f"did you mean {near[0]}?" if near else f"there are {known}"))
