"""Distributions of tasks: those to train on, those held out, and when one follows another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ant_env_node.tasks.task import Task

PARTS = ("train", "held_out")


@dataclass(frozen=True)
class TaskDistribution:
    """Tasks of equal chance, in two disjoint parts.

    Attributes:
        name: of the preset.
        meaning: what it is about, in a line.
        train: tasks that are learned from.
        held_out: tasks that no learner sees; () where all are for training.
        episodes_per_trial: after so many episodes of a row comes another task, and memory starts anew.
        hazard: chance per tick that another task comes within the episode; memory goes on.

    Raises:
        ValueError: no task to train on, a task in both parts or twice in one, or a number out of its bounds.
    """

    name: str
    meaning: str
    train: tuple[Task, ...]
    held_out: tuple[Task, ...] = ()
    episodes_per_trial: int = 1
    hazard: float = 0.0

    def __post_init__(self) -> None:
        if not self.train:
            raise ValueError(f"the tasks {self.name} must have one to train on, found none")
        places: dict[Any, str] = {}  # of names and of contents, which are no names
        for part in PARTS:
            for task in getattr(self, part):
                content = tuple(sorted((key, value) for key, value in task.as_dict().items() if key != "name"))
                for key in (task.name, content):
                    if key in places:
                        where = f"twice in {part}" if places[key] == part else "in train and in held_out"
                        raise ValueError(f"the tasks {self.name} must all be different, found {task.name} {where}")
                    places[key] = part
        if self.episodes_per_trial < 1:
            raise ValueError(f"episodes_per_trial must be at least 1, found {self.episodes_per_trial}")
        if not 0 <= self.hazard <= 1:
            raise ValueError(f"hazard must be from 0 to 1, found {self.hazard}")
        if self.hazard and "terrain" in self.differs():
            raise ValueError(f"hazard must be 0 with terrain, which would rise under the robots, found {self.hazard}")

    def differs(self) -> set[str]:
        """Names of the fields of `Task` that are not everywhere as in Ant-v5."""
        return {name for part in PARTS for task in getattr(self, part) for name in task.as_dict()} - {"name"}

    def part(self, name: str) -> tuple[Task, ...]:
        """The tasks of a part; ValueError where it is no part or has none."""
        if name not in PARTS:
            raise ValueError(f"a part of the tasks is {' or '.join(PARTS)}, found {name}")
        found: tuple[Task, ...] = getattr(self, name)
        if not found:
            raise ValueError(f"the tasks {self.name} have none that are {name}, found {len(self.train)} to train on")
        return found

    def sample(self, rng: np.random.Generator, part: str = "train") -> Task:
        """One task of a part, each of equal chance."""
        tasks = self.part(part)
        return tasks[int(rng.integers(len(tasks)))]

    def as_dict(self) -> dict[str, Any]:
        """All of it, as JSON has it."""
        return {"name": self.name, "meaning": self.meaning, "episodes_per_trial": self.episodes_per_trial,
                "hazard": self.hazard, **{part: [task.as_dict() for task in getattr(self, part)] for part in PARTS}}

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> TaskDistribution:
        """What `as_dict` gave; ValueError where it is of no distribution."""
        try:
            train, held_out = (tuple(map(Task.from_dict, told[part])) for part in PARTS)
            return cls(told["name"], told["meaning"], train, held_out, told["episodes_per_trial"], told["hazard"])
        except (KeyError, TypeError) as error:
            raise ValueError(f"tasks must be told by name, meaning, train, held_out, episodes_per_trial and hazard, "
                             f"found {error}") from error
