"""Evaluation in one process: `./run eval BUNDLE … key:=value …`."""

from __future__ import annotations

import itertools
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any

import numpy as np

from ant_env_node.episodes import EpisodeLedger
from ant_env_node.make import ants
from ant_env_node.tasks.distribution import TaskDistribution
from ant_env_node.tasks.told import ToldTask
from ant_env_node.tasks.worlds import World, robot_of, with_settings
from ant_env_node.vec_env import VectorAnt
from ant_rl_core import bundle as policy_bundle, settings
from ant_rl_core.contracts import Actor, VectorEnv
from ant_rl_core.files import check_not_an_input, check_writable, write_atomically
from ant_rl_core.settings import ArgumentError
from ant_rl_core.shipped import resolve_policy
from ant_rl_core.spec import ANT
from ant_rl_core.step import TimeStepEnv
from ant_rl_core.telemetry import Episode
from ant_rl_core.timing import StageTimer
from policy_node.actor import load_actor
from trainer.loop import drive
from trainer.runs import evaluate_world
from trainer.runs.progress import track
from trainer.trials import command
from trainer.trials.evaluate_config import EvaluateConfig
from trainer.trials.policies import YARDSTICKS

_MOST_ROWS = 32  # at a time, unless more are asked for
_EPISODE_STEPS = 1000  # at most, of Ant-v5


def evaluate(actor: Actor, episodes: int, seed: int, num_envs: int = 0, num_threads: int = 0,
             timer: StageTimer | None = None, with_progress: bool = False, tasks: TaskDistribution | None = None,
             part: str = "train", told: bool = False, steps: int = _EPISODE_STEPS) -> list[Episode]:
    """Run episodes with seeds seed, seed + 1, …; the rewards are those of Ant-v5 as it comes, or of the tasks.

    They are numbered as if each had a robot of its own, so that it does not show how many ran at a time.
    `timer` records the durations of stages `inference` and `step`; `with_progress` shows how far it is; `told` says
    whether the actor is told its task, see `ToldTask`; `steps` is the time limit.
    """
    timer = timer or StageTimer()
    rows = num_envs or min(episodes, _MOST_ROWS)
    ticks: Iterator[int] = itertools.count()
    if with_progress:  # at most so many: episodes may end before their time limit
        ticks = track(ticks, -(-episodes // rows) * steps, "tick")
    results: list[Episode] = []
    while len(results) < episodes:
        rows = min(rows, episodes - len(results))
        with ants(rows, seed + len(results), num_threads or None, tasks, part, steps) as ant:
            results += _first_episodes(ant, actor, len(results), timer, ticks, told)
    return results


def _first_episodes(ant: VectorAnt, actor: Actor, first: int, timer: StageTimer,
                    ticks: Iterator[int], told: bool) -> list[Episode]:
    """The first episode of each robot, numbered from `first` on; takes one of `ticks` for each tick."""
    env: VectorEnv = ToldTask(TimeStepEnv(ant)) if told else TimeStepEnv(ant)
    start = env.reset()
    ledger = EpisodeLedger(start, ant.np_random_seed)
    found: dict[int, Episode] = {}
    with closing(drive(env, actor, start, timer=timer)) as moves:
        while len(found) < ant.num_envs:
            next(ticks)
            for episode in ledger.add(next(moves).after):
                found.setdefault(episode.row, episode)
    return [replace(found[row], row=first + row, episode_id=first + row) for row in range(ant.num_envs)]


def summarize(episodes: list[Episode], seconds: float, timer: StageTimer) -> dict[str, Any]:
    """The result as plain data: means, every episode, rates [1/s] and latencies [ms]."""
    returns = np.array([episode.episode_return for episode in episodes])
    steps = sum(episode.length for episode in episodes)
    return {
        "mean_return": float(returns.mean()), "std_return": float(returns.std()),
        "episodes": [{"return": e.episode_return, "seed": e.seed, "length": e.length, "distance": e.distance,
                      "terminated": e.terminated} for e in episodes],
        "rates": {"env_steps_per_second": steps / seconds},
        "latencies_ms": {name: {"p50": 1e3 * stage.p50, "p99": 1e3 * stage.p99}
                         for name, stage in timer.summary().items()},
    }


def main(bundles: Sequence[str], arguments: Mapping[str, str]) -> int:
    """Evaluate bundles (paths or names of shipped ones); returns the exit code."""
    try:
        (config,) = settings.build([EvaluateConfig], with_settings([EvaluateConfig], arguments))
        if config.summary:
            check_writable("summary", config.summary)
            check_not_an_input("summary", config.summary,
                               [resolve_policy(bundle) for bundle in bundles if bundle not in YARDSTICKS])
        tasks = config.any_tasks()
        if isinstance(tasks, World):
            return _in_world(bundles, tasks, config)
        if tasks is None and not config.controls and len(bundles) == 1:
            return _one(bundles[0], config)
        chosen = command.policies(bundles, config)
    except ValueError as error:  # of the settings or of a bundle
        print(error, file=sys.stderr)
        return 2
    results = command.evaluate(chosen, config)
    code = _write(config.summary, command.summary(results, config))
    print("\n".join(command.told(results, config)))
    return code


def _in_world(bundles: Sequence[str], world: World, config: EvaluateConfig) -> int:
    """One policy in a world without the Ant; ValueError where it can't be run."""
    if len(bundles) > 1 or config.controls or config.probe:
        raise ArgumentError(f"the tasks {world.name} take one policy, without controls and probe, found "
                            f"{' '.join(bundles)} controls:={config.controls} probe:={config.probe}")
    policy = policy_bundle.read(resolve_policy(bundles[0]))
    robot = robot_of(world)
    policy.check_robot(robot.name, robot.observation_size, robot.action_size)
    actor = load_actor(policy, config.backend, config.variant)
    return _write(config.summary, evaluate_world.run(bundles[0], actor, world, config))


def _one(bundle: str, config: EvaluateConfig) -> int:
    """One policy on Ant-v5 as it comes, episode by episode; ValueError where it can't be run."""
    policy = policy_bundle.read(resolve_policy(bundle))
    policy.check_robot(ANT.name, ANT.observation_size, ANT.action_size)
    actor = load_actor(policy, config.backend, config.variant)
    timer = StageTimer()
    start = time.perf_counter()
    episodes = evaluate(actor, config.episodes, config.seed, config.num_envs, config.num_threads, timer,
                        with_progress=True, steps=config.steps)
    summary = {"policy": bundle, "backend": config.backend, "variant": config.variant,
               **summarize(episodes, time.perf_counter() - start, timer)}
    code = _write(config.summary, summary)
    for episode in episodes:
        print(f"seed {episode.seed}: return {episode.episode_return:8.1f}, {episode.length:4d} steps, "
              f"{episode.distance:6.1f} m{', fell' if episode.terminated else ''}")
    print(f"mean return {summary['mean_return']:.1f} ± {summary['std_return']:.1f} over {len(episodes)} episodes")
    return code


def _write(path: str, summary: Mapping[str, Any]) -> int:
    """Write the summary where there is a path; returns the exit code."""
    try:
        if path:
            write_atomically(path, json.dumps(summary, indent=2, allow_nan=False).encode())
    except OSError as error:
        print(f"can't write the summary {path} ({error.strerror}): make room or choose another path", file=sys.stderr)
        return 1
    return 0
