"""Whole trials of a policy, tick by tick."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np

from ant_env_node.episodes import of_transition
from ant_env_node.tasks.task import MOVING
from ant_rl_core.contracts import Actor, VectorEnv
from ant_rl_core.step import TimeStep
from trainer.loop import Move, drive

PROBE_TICKS = (0, 1, 2, 5, 10, 50, 100)
_ARRAYS = ("reward", "speed", "episode", "ended", "fell", "hit", "changed", "task")


@dataclass(frozen=True)
class Trials:
    """The first trial of each of n robots, up to the end of the longest one; in ticks after a trial's end, nothing.

    Attributes:
        reward: float32 [ticks, n].
        speed: [m/s], along the direction that is asked for, else along x, float32 [ticks, n].
        episode: place of the episode in the trial, 0 for the first; -1 after the trial's end, int64 [ticks, n].
        ended, fell, hit: whether the tick ended its episode, whether by a fall, and whether by a ball, bool [ticks, n].
        changed: whether another task came in the episode just before the tick, bool [ticks, n].
        task: in force, float32 [ticks, n, k]; of one number, 0, where there are no tasks.
        names: what the tasks are called that the trials began in, n.
        seeds: of the robots, n.
    """

    reward: np.ndarray
    speed: np.ndarray
    episode: np.ndarray
    ended: np.ndarray
    fell: np.ndarray
    hit: np.ndarray
    changed: np.ndarray
    task: np.ndarray
    names: tuple[str, ...]
    seeds: tuple[int, ...]

    @property
    def num_episodes(self) -> int:
        """Episodes of a trial."""
        return int(self.episode.max()) + 1


@dataclass(frozen=True)
class Inside:
    """What an actor saw and had in its memory at certain ticks of its first episode.

    Attributes:
        ticks: observations that came before: at tick 0 the memory is empty.
        memory: of the actor, float32 [len(ticks), n, d]; d is 0 where it has none.
        observation: float32 [len(ticks), n, observation_size].
        task: float32 [n, k].
        there: rows whose episode lasted until then, in the same task, bool [len(ticks), n].
    """

    ticks: tuple[int, ...]
    memory: np.ndarray
    observation: np.ndarray
    task: np.ndarray
    there: np.ndarray

    @classmethod
    def joined(cls, parts: Sequence[Inside]) -> Inside:
        """Those of all parts side by side."""
        axes = {"memory": 1, "observation": 1, "task": 0, "there": 1}
        return cls(parts[0].ticks, **{name: np.concatenate([getattr(part, name) for part in parts], axis)
                                      for name, axis in axes.items()})


def run_trials(env: VectorEnv, actor: Actor, start: TimeStep, names: Sequence[str], seeds: Sequence[int],
               ticks: Iterator[int]) -> Trials:
    """The first trial of each robot.

    Args:
        env: already at `start`, where trials begin.
        actor: drives them.
        start: first time step.
        names, seeds: see `Trials`.
        ticks: one is taken for each tick.
    """
    n = env.num_envs
    active, episode = np.ones(n, bool), np.zeros(n, np.int64)
    columns: dict[str, list[np.ndarray]] = {name: [] for name in _ARRAYS}
    before_task, began = _task(start), np.ones(n, bool)
    with closing(drive(env, actor, start)) as moves:
        while active.any():
            next(ticks)
            move = next(moves)
            after, task = move.after, _task(move.before)
            hit = after.info.get("hit", np.zeros(n, bool))
            row = {"reward": after.reward, "speed": _speed(move, task), "ended": after.done,
                   "fell": after.terminated & ~hit, "hit": hit,
                   "changed": _differ(task, before_task) & ~began, "task": task}
            for name, values in row.items():
                dropped = ~active.reshape(-1, *[1] * (values.ndim - 1))
                columns[name].append(np.where(dropped, np.zeros((), values.dtype), values))
            columns["episode"].append(np.where(active, episode, -1))
            episode += after.done
            active &= after.trial_id == start.trial_id
            before_task, began = task, after.done
    return Trials(**{name: np.array(values) for name, values in columns.items()}, names=tuple(names),
                  seeds=tuple(seeds))


def look_inside(env: VectorEnv, actor: Actor, start: TimeStep, at: Sequence[int], ticks: Iterator[int]) -> Inside:
    """What an actor has in its memory while it drives; arguments as of `run_trials`, and `Inside.ticks` as `at`."""
    n = env.num_envs
    there, task = np.ones(n, bool), _task(start)
    found: dict[str, list[np.ndarray]] = {"memory": [], "observation": [], "there": []}
    with closing(drive(env, actor, start)) as moves:
        for tick in range(max(at) + 1):
            next(ticks)
            move = next(moves)
            there = there & ~_differ(_task(move.before), task)
            if tick in at:
                found["memory"].append(_flat(move.state, n))
                found["observation"].append(move.before.observation)
                found["there"].append(there)
            there = there & ~move.after.done
    return Inside(tuple(sorted(at)), task=task, **{name: np.array(values) for name, values in found.items()})


def joined(parts: Sequence[Trials]) -> Trials:
    """The trials of all parts side by side."""
    length = max(len(part.reward) for part in parts)

    def along(name: str) -> np.ndarray:
        arrays = [getattr(part, name) for part in parts]
        padded = [np.pad(array, [(0, length - len(array)), *[(0, 0)] * (array.ndim - 1)],
                         constant_values=-1 if name == "episode" else 0) for array in arrays]
        return np.concatenate(padded, axis=1)
    return Trials(**{name: along(name) for name in _ARRAYS}, names=tuple(name for part in parts for name in part.names),
                  seeds=tuple(seed for part in parts for seed in part.seeds))


def _task(step: TimeStep) -> np.ndarray:
    return np.zeros((len(step.reward), 1), np.float32) if step.task is None else step.task


def _differ(task: np.ndarray, other: np.ndarray) -> np.ndarray:
    """bool [n], rows whose tasks are two: where a ball is, or a goal seen from the robot, makes none."""
    differs = task != other
    return (differs[:, ~MOVING] if task.shape[1] == len(MOVING) else differs).any(axis=1)


def _speed(move: Move, task: np.ndarray) -> np.ndarray:
    """Velocity [m/s] along the task's direction, float32 [n]; along x where it has none, 0 of no robot."""
    info = move.after.info
    if "x_velocity" not in info and "final_info" not in info:
        return np.zeros(len(task), np.float32)
    x, y = (of_transition(info, f"{axis}_velocity", move.after.done) for axis in "xy")
    direction = task[:, :2] if task.shape[1] > 1 else np.zeros((len(task), 2))
    asked = direction.any(axis=1)
    return np.where(asked, x * direction[:, 0] + y * direction[:, 1], x).astype(np.float32)


def _flat(state: Any, n: int) -> np.ndarray:
    """All of an actor's memory, float32 [n, d]."""
    return np.concatenate([np.zeros((n, 0), np.float32), *(array.reshape(n, -1) for array in state)], axis=1)
