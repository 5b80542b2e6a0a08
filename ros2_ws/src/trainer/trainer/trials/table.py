"""Figures of trials as tables that a person reads."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ant_env_node.tasks.distribution import TaskDistribution
from ant_env_node.tasks.task import FEATURES, Task
from trainer.trials.figures import (
    EARLY_STEPS,
    SEGMENTS,
    ChangeFigures,
    EpisodeFigures,
    by_task,
    episode_figures,
)
from trainer.trials.policies import Policy
from trainer.trials.probe import Probed
from trainer.trials.record import Trials

_MOST_TASKS = 16  # that are told one by one; the summary has them all


@dataclass(frozen=True)
class Result:
    """What came of one policy on the tasks of one part.

    Attributes:
        policy: which.
        part: train or held_out.
        trials: tick by tick.
        changes: of the task within episodes; None where there were none.
        memory, observation: what they tell of the task at each tick of `PROBE_TICKS`; () where that was not asked for.
    """

    policy: Policy
    part: str
    trials: Trials
    changes: ChangeFigures | None = None
    memory: Sequence[Probed] = ()
    observation: Sequence[Probed] = ()


def reward_line(tasks: TaskDistribution | None, part: str, steps: int) -> str:
    """What is rewarded, and what standing still earns: without it, returns under one name can't be compared."""
    asked = tasks.part(part) if tasks else (Task(),)
    found = dict.fromkeys(map(_wanted, asked))
    balls = ", also where a ball hits" if any(task.hit_radius for task in asked) else ""
    return (f"reward per step: {' or '.join(found)}; + 1 while the torso is from 0.2 to 1 m high, - 0.5 |action|², "
            f"- 0.0005 |contact forces|², as in Ant-v5; an episode ends there or after {steps:,} steps{balls}, and of "
            f"the survival standing still earns {steps:,}")


def returns_table(results: Sequence[Result], steps: int) -> list[str]:
    """One line for each policy and each place of an episode in the trial."""
    early = steps > EARLY_STEPS
    with_balls = any(episode_figures(result.trials, 0).balls.any() for result in results)
    rows = [["policy", "trial", *([f"first {EARLY_STEPS} steps", "falls in them"] if early else []),
             f"{steps:,} steps", "m/s", "falls", *(["balls that hit"] if with_balls else [])]]
    for result in results:
        for place in range(result.trials.num_episodes):
            whole = episode_figures(result.trials, place)
            first = episode_figures(result.trials, place, EARLY_STEPS)
            rows.append([result.policy.label if place == 0 else "", f"episode {place + 1}",
                         *([_spread(first.returns), _share(first)] if early else []),
                         _spread(whole.returns), f"{whole.speeds.mean():.2f}", _share(whole),
                         *([_of(int(whole.hit.sum()), int(whole.balls.sum()))] if with_balls else [])])
    return _aligned(rows)


def tasks_table(results: Sequence[Result]) -> list[str]:
    """Mean returns of first episodes by task; nothing where there are too many tasks, or none."""
    results = [result for result in results if not result.policy.control]
    found = [{name: np.mean(values) for name, values in by_task(result.trials).items()} for result in results]
    if not 1 < len(found[0]) <= _MOST_TASKS:
        return []
    rows = [["task", *(result.policy.label for result in results)]]
    return _aligned([*rows, *([name, *(f"{each[name]:,.0f}" for each in found)] for name in found[0])])


def changes_table(results: Sequence[Result]) -> list[str]:
    """What came of changes of the task within episodes; nothing where none was seen for long enough."""
    found = [(result.policy, result.changes) for result in results if result.changes is not None]
    if not any(changes.count for _, changes in found):
        return []
    rows = [["policy", "ticks since the change:", *SEGMENTS, "falls in 100", "at half speed in 100"]]
    for policy, changes in found:
        rows.append([policy.label, "m/s", *(_number(changes.speeds[name], 2) for name in SEGMENTS),
                     _of(changes.fell, changes.count),
                     f"{_of(changes.recovered, changes.count)}, half of {_number(changes.reference, 2)} m/s"])
        rows.append(["", "reward", *(_number(changes.rewards[name], 2) for name in SEGMENTS), "", ""])
    return _aligned(rows)


def probe_table(result: Result, ticks: Sequence[int]) -> list[str]:
    """What memory and observation tell of the task, tick by tick; nothing where that was not asked for."""
    if not result.observation:
        return []
    rows = [["after ticks", "memory: right", "R²", "observation: right", "R²", "chance", "trials"]]
    for tick, memory, observation in zip(ticks, result.memory, result.observation, strict=True):
        rows.append([str(tick), _number(memory.accuracy, 3), _number(memory.r2, 2), _number(observation.accuracy, 3),
                     _number(observation.r2, 2), _number(observation.chance, 3), str(observation.rows)])
    title = f"what a linear map of its memory, and of the observation alone, tells of the task ({result.policy.label}):"
    return [title, *_aligned(rows)]


def _wanted(task: Task) -> str:
    if task.heading is not None:
        return "velocity along the task's direction [m/s]"
    if task.goal is not None:
        return "1 within the goal's radius" if task.goal_radius else "- distance to the goal [m]"
    if task.speed is not None:
        return "- |forward velocity - the one asked for| [m/s]"
    return f"the task's weights times {', '.join(FEATURES)}" if task.weights else "forward velocity [m/s]"


def _spread(values: np.ndarray) -> str:
    return f"{values.mean():,.0f} ± {values.std():,.0f}"


def _share(figures: EpisodeFigures) -> str:
    return _of(figures.falls, len(figures.fell))


def _of(part: int, whole: int) -> str:
    return f"{part} of {whole} ({part / whole:.0%})" if whole else "0 of 0"


def _number(value: float, digits: int) -> str:
    return "-" if math.isnan(value) else f"{value:.{digits}f}"


def _aligned(rows: Iterable[Sequence[str]]) -> list[str]:
    """Columns side by side, the first to the left, the others to the right."""
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) if i == 0 else cell.rjust(width)
                      for i, (cell, width) in enumerate(zip(row, widths, strict=True))).rstrip() for row in rows]
