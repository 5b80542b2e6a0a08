"""Evaluation in one process: `./run eval BUNDLE key:=value …`."""

from __future__ import annotations

import itertools
import json
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np

from ant_env_node.episodes import EpisodeLedger
from ant_env_node.make import ants
from ant_env_node.tasks.ant import TaskAnt
from ant_env_node.tasks.distribution import PARTS, TaskDistribution
from ant_env_node.tasks.presets import PRESETS, STOCK
from ant_env_node.tasks.worlds import WORLDS, World, robot_of, tasks_named, with_settings
from ant_env_node.vec_env import VectorAnt
from ant_rl_core import bundle as policy_bundle, settings
from ant_rl_core.contracts import Actor
from ant_rl_core.files import check_not_an_input, check_writable, write_atomically
from ant_rl_core.settings import Settings, setting
from ant_rl_core.shipped import resolve_policy
from ant_rl_core.step import TimeStepEnv
from ant_rl_core.telemetry import Episode
from ant_rl_core.timing import StageTimer
from policy_node.actor import BACKENDS, load_actor
from trainer.loop import drive
from trainer.runs import evaluate_world
from trainer.runs.progress import track

_MOST_ROWS = 32  # at a time, unless more are asked for
_EPISODE_STEPS = 1000  # at most, of Ant-v5


@dataclass(frozen=True)
class EvaluateConfig(Settings):
    """Settings of an evaluation."""

    episodes: int = setting(20, "how many episodes; episode k is Ant-v5 reset with seed + k, so the result is "
                            "repeatable", minimum=1)
    seed: int = setting(1000, "seed of the first episode", minimum=0)
    backend: str = setting("litert", "litert or keras", choices=tuple(BACKENDS))
    variant: str = setting(policy_bundle.FLOAT32, "which of the bundle's variants: float32, or a smaller one that it "
                           "has, such as int8")
    num_envs: int = setting(0, "robots at a time; 0 means as many as episodes, at most 32", minimum=0)
    num_threads: int = setting(0, "threads that step physics; 0 means one per core", minimum=0)
    tasks: str = setting(STOCK, "tasks to be evaluated on, see ./run tasks; episode k has the task of the robot with "
                         "seed + k", choices=(STOCK, *PRESETS, *WORLDS))
    task_part: str = setting("held_out", "which of the tasks: those to train on, or those held out", choices=PARTS)
    summary: str = setting("", "path for the result as JSON; empty means none", path=True)


@dataclass(frozen=True)
class TaskEpisode(Episode):
    """An episode in a task.

    Attributes:
        task: what the task is called; empty where all robots have the same.
    """

    task: str = ""


def evaluate(actor: Actor, episodes: int, seed: int, num_envs: int = 0, num_threads: int = 0,
             timer: StageTimer | None = None, with_progress: bool = False, tasks: TaskDistribution | None = None,
             part: str = "train") -> list[TaskEpisode]:
    """Run episodes with seeds seed, seed + 1, …; the rewards are those of Ant-v5 as it comes, or of the tasks.

    They are numbered as if each had a robot of its own, so that it does not show how many ran at a time.
    `timer` records the durations of stages `inference` and `step`; `with_progress` shows how far it is.
    """
    timer = timer or StageTimer()
    rows = num_envs or min(episodes, _MOST_ROWS)
    ticks: Iterator[int] = itertools.count()
    if with_progress:  # at most so many: episodes may end before their time limit
        ticks = track(ticks, -(-episodes // rows) * _EPISODE_STEPS, "tick")
    results: list[TaskEpisode] = []
    while len(results) < episodes:
        rows = min(rows, episodes - len(results))
        with ants(rows, seed + len(results), num_threads or None, tasks, part) as ant:
            results += _first_episodes(ant, actor, len(results), timer, ticks)
    return results


def _first_episodes(ant: VectorAnt, actor: Actor, first: int, timer: StageTimer,
                    ticks: Iterator[int]) -> list[TaskEpisode]:
    """The first episode of each robot, numbered from `first` on; takes one of `ticks` for each tick."""
    env = TimeStepEnv(ant)
    start = env.reset()
    names = [task.name for task in ant.tasks] if isinstance(ant, TaskAnt) else [""] * ant.num_envs
    ledger = EpisodeLedger(start, ant.np_random_seed)
    found: dict[int, Episode] = {}
    with closing(drive(env, actor, start, timer=timer)) as moves:
        while len(found) < ant.num_envs:
            next(ticks)
            for episode in ledger.add(next(moves).after):
                found.setdefault(episode.row, episode)
    return [TaskEpisode(**{**vars(found[row]), "row": first + row, "episode_id": first + row, "task": name})
            for row, name in enumerate(names)]


def summarize(episodes: list[TaskEpisode], seconds: float, timer: StageTimer) -> dict[str, Any]:
    """The result as plain data: means, every episode, rates [1/s] and latencies [ms]."""
    returns = np.array([episode.episode_return for episode in episodes])
    steps = sum(episode.length for episode in episodes)
    return {
        "mean_return": float(returns.mean()), "std_return": float(returns.std()),
        "episodes": [{"return": e.episode_return, "seed": e.seed, "length": e.length, "distance": e.distance,
                      "terminated": e.terminated, **({"task": e.task} if e.task else {})} for e in episodes],
        "rates": {"env_steps_per_second": steps / seconds},
        "latencies_ms": {name: {"p50": 1e3 * stage.p50, "p99": 1e3 * stage.p99}
                         for name, stage in timer.summary().items()},
    }


def main(bundle: str, arguments: Mapping[str, str]) -> int:
    """Evaluate a bundle (a path or the name of a shipped one); returns the exit code."""
    try:
        (config,) = settings.build([EvaluateConfig], with_settings([EvaluateConfig], arguments))
        path = resolve_policy(bundle)
        if config.summary:
            check_writable("summary", config.summary)
            check_not_an_input("summary", config.summary, [path])
        policy = policy_bundle.read(path)
        tasks = tasks_named(config.tasks)
        robot = robot_of(tasks)
        policy.check_robot(robot.name, robot.observation_size, robot.action_size)
        actor = load_actor(policy, config.backend, config.variant)
        if isinstance(tasks, World):
            return evaluate_world.run(bundle, actor, tasks, config)
        if tasks is not None:
            tasks.part(config.task_part)
    except ValueError as error:  # of the settings or of the bundle
        print(error, file=sys.stderr)
        return 2
    timer = StageTimer()
    start = time.perf_counter()
    episodes = evaluate(actor, config.episodes, config.seed, config.num_envs, config.num_threads, timer,
                        with_progress=True, tasks=tasks, part=config.task_part)
    summary = {"policy": bundle, "backend": config.backend, "variant": config.variant,
               **summarize(episodes, time.perf_counter() - start, timer)}
    code = 0
    if config.summary:
        try:
            write_atomically(config.summary, json.dumps(summary, indent=2).encode())
        except OSError as error:
            print(f"can't write the summary {config.summary} ({error.strerror}): make room or choose another path",
                  file=sys.stderr)
            code = 1
    for episode in episodes:
        print(f"seed {episode.seed}: return {episode.episode_return:8.1f}, {episode.length:4d} steps, "
              f"{episode.distance:6.1f} m{', fell' if episode.terminated else ''}{episode.task and ', '}{episode.task}")
    print(f"mean return {summary['mean_return']:.1f} ± {summary['std_return']:.1f} over {len(episodes)} episodes")
    return code
