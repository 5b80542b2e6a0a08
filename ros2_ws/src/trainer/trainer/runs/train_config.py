"""What is chosen for a training run in one process: settings of the run, of the shaped reward and of the method."""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before a method is imported

from ant_env_node.shaping import ShapingConfig
from ant_env_node.tasks.presets import STOCK
from ant_env_node.tasks.worlds import WORLDS, AnyTaskSettings, with_settings
from ant_rl_core import settings
from ant_rl_core.settings import ArgumentError, Settings, setting
from trainer import checkpoint
from trainer.algorithms.method import Method
from trainer.algorithms.table import ALGORITHMS

_IDENTITY = ("num_envs", "seed")  # settings of a run that can't be others when it goes on


@dataclass(frozen=True)
class TrainConfig(AnyTaskSettings):
    """Settings of a training run, whatever the method."""

    num_envs: int = setting(0, "robots that collect in parallel; 0 means as many as the method likes best", minimum=0)
    num_threads: int = setting(0, "threads that step physics, and threads within one operation of TensorFlow; 0 means "
                               "one per core", minimum=0)
    seed: int = setting(0, "seed of networks, exploration and environments", minimum=0)
    output: str = setting("", "folder for checkpoint, curve and policy; empty means runs/ALGORITHM-SEED",
                        path=True)
    checkpoint_interval: int = setting(250_000, "environment steps between checkpoints", minimum=1)
    curve_interval: int = setting(2048, "least environment steps between two rows of the curve; a row has the means "
                                  "since the last", minimum=1)
    evaluation_interval: int = setting(0, "environment steps between evaluations of the policy as it would be "
                                       "exported; 0 means only at the end", minimum=0)
    evaluation_episodes: int = setting(20, "deterministic episodes of an evaluation (seeds 1000, 1001, …); the policy "
                                       "bundle tells of those at the end", minimum=0)
    max_episode_steps: int = setting(0, "time limit of the episodes that are learned from; a shorter one gives more "
                                     "of their starts; 0 means as the method likes best", minimum=0)
    task_input: bool = setting(False, "tell the policy its task, in numbers behind the observation: the oracle, which "
                               "others are measured beside")
    shaping: bool = setting(False, "learn from a shaped reward, whose constants follow; what is shown and written "
                            "stays the default reward")
    resume: bool = setting(False, "go on from the checkpoint in the output folder, with the settings of then where "
                           "none are given")

    def rules(self) -> Iterator[tuple[bool, str]]:
        yield from super().rules()
        yield (self.tasks not in (STOCK, *WORLDS) or not self.task_input,
               "tasks must be named where the policy is told its task (task_input:=true), such as tasks:=wired")
        yield (self.evaluation_episodes >= min(1, self.evaluation_interval),
               "evaluation_episodes must be at least 1")

    def folder(self, algorithm: str) -> Path:
        """Where the run is kept."""
        return Path(self.output or f"runs/{algorithm}-{self.seed}")


class Chosen(NamedTuple):
    """All that was chosen for a run: settings of the run, of its method, and of the shaped reward."""

    train: TrainConfig
    learner: Any
    shaping: ShapingConfig


def choose(algorithm: str, arguments: Mapping[str, str]) -> Chosen:
    """The settings of a run; one that is resumed keeps those that it was begun with, unless others are given."""
    chosen = _build(algorithm, arguments)
    if chosen.train.resume:
        begun = _begun(algorithm, chosen.train.folder(algorithm))
        for name in _IDENTITY:
            if name in arguments and getattr(chosen.train, name) != int(begun[name]):
                raise ArgumentError(f"{begun['output']} holds a run with {name}:={begun[name]}, found {name}:="
                                    f"{arguments[name]}: leave it out, or choose another output:=")
        chosen = _build(algorithm, {**begun, **arguments})
    constants = {field.name for field in fields(ShapingConfig)}
    for name in arguments:
        if name in constants and not chosen.train.shaping:
            raise ArgumentError(f"{name} is of the shaped reward: add shaping:=true, or leave it out")
    return chosen


def choose_over_ros(algorithm: str, arguments: Mapping[str, str], folder: str, seed: int, checkpoint_interval: int,
                    resume: bool) -> Chosen:
    """The settings of a run that the trainer node drives.

    With `resume`, one whose folder holds a checkpoint keeps what it was begun with, the seed too, unless other settings
    of the method or another interval are given.

    Args:
        algorithm: name of the method.
        arguments: settings of the method; of no other things.
        folder: where the run is kept.
        seed: of a run that begins.
        checkpoint_interval: environment steps; 0 if none is given.
        resume: go on with the run in the folder, if it holds one.
    """
    method = method_named(algorithm)
    if method.needs_tasks:
        raise ArgumentError(f"algorithm must be a method that learns from what policies did, found {algorithm}, which "
                            f"is told tasks beforehand and acts itself: use ./run train {algorithm} tasks:=NAME")
    settings.build([method.config], arguments)
    begun = {"seed": str(seed)}
    resume = resume and checkpoint.path_in(Path(folder)).exists()
    if resume:
        begun = _begun(algorithm, Path(folder))
    if checkpoint_interval:
        begun["checkpoint_interval"] = str(checkpoint_interval)
    chosen = _build(algorithm, {**begun, **arguments, "output": folder, "resume": settings.format_value(resume)})
    if getattr(chosen.learner, "needs_robots", False):
        raise ArgumentError(f"{algorithm} looks into the simulation with these settings, which nodes do not let it: "
                            f"use ./run train {algorithm} in one process, or leave imagination:=perfect out")
    if chosen.train.tasks in WORLDS:
        raise ArgumentError(f"{folder} holds a run of the tasks {chosen.train.tasks}, which have no robot and no "
                            f"nodes: go on with it by ./run train {algorithm} output:={folder} resume:=true")
    return chosen


def _build(algorithm: str, arguments: Mapping[str, str]) -> Chosen:
    method = method_named(algorithm)
    classes: list[type[Settings]] = [TrainConfig, method.config, ShapingConfig]
    chosen = Chosen(*settings.build(classes, with_settings(classes, arguments)))
    train = chosen.train
    if method.needs_tasks and train.tasks == STOCK:
        raise ArgumentError(f"{algorithm} learns from tasks: give it some, such as tasks:=wired; ./run tasks has them")
    if method.needs_tasks and train.tasks in WORLDS:
        raise ArgumentError(f"{algorithm} learns from tasks of the Ant, such as tasks:=wired, found "
                            f"tasks:={train.tasks}")
    if train.tasks in WORLDS and (train.shaping or train.max_episode_steps not in (0, method.max_episode_steps)):
        raise ArgumentError(f"shaping and max_episode_steps are of the Ant, which the tasks {train.tasks} are without: "
                            "leave them out")
    return chosen._replace(train=replace(train, num_envs=train.num_envs or method.num_envs,
                                         max_episode_steps=train.max_episode_steps or method.max_episode_steps))


def _begun(algorithm: str, folder: Path) -> dict[str, str]:
    """The arguments that the run in `folder` was begun with; ArgumentError where it holds none of this method."""
    try:
        saved = json.loads((folder / "config.json").read_bytes())
        begun = {**saved["train"], **saved.get("shaping", {}), **saved["learner"], "output": folder}
        found = saved["algorithm"]
        for name in _IDENTITY:
            int(begun[name])
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        taken = checkpoint.path_in(folder).exists()  # by an earlier version of the trainer node, or it was moved
        raise ArgumentError(f"{folder} holds no run to go on with ({error}): "
                            f"{'' if taken else 'leave resume:=true out, or '}choose another output:=") from error
    if found != algorithm:
        raise ArgumentError(f"{folder} holds a run of {found}, not of {algorithm}")
    arguments = {name: settings.format_value(value) for name, value in begun.items()}
    try:
        _build(algorithm, arguments)
    except ArgumentError as error:
        raise ArgumentError(f"{folder / 'config.json'} must tell the settings that the run was begun with, but "
                            f"{error}: mend it, or choose another output:=") from error
    return arguments


def method_named(name: str) -> Method:
    """The method of this name; ArgumentError names the nearest one where there is none."""
    if name not in ALGORITHMS:
        nearest = difflib.get_close_matches(name, ALGORITHMS, n=1, cutoff=0.0)[0]
        raise ArgumentError(f"unknown method {name!r}; the nearest one is {nearest!r}, and there are "
                            f"{', '.join(ALGORITHMS)}")
    return ALGORITHMS[name]


def help_text(algorithm: str) -> str:
    """What a method is, and every setting with its default and meaning; ArgumentError for an unknown method."""
    method = method_named(algorithm)
    lines = [f"usage: ./run train {algorithm} [key:=value …]", "", f"{algorithm}: {method.summary}"]
    for title, cls in (("the run", TrainConfig), (f"the method {algorithm}", method.config),
                       ("the shaped reward, with shaping:=true", ShapingConfig)):
        lines += ["", f"settings of {title}, with their defaults:", *settings.help_lines(cls)]
    return "\n".join(lines)


def list_text() -> str:
    """The methods, one line each."""
    lines = ["methods, and the number of robots that each collects with if num_envs is not given:"]
    width = max(map(len, ALGORITHMS)) + 2
    lines += [f"  {name:<{width}}{method.num_envs:>4}  {method.summary}" for name, method in ALGORITHMS.items()]
    return "\n".join([*lines, "settings of one: ./run train NAME --help"])
