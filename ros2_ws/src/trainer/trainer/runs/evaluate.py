"""Evaluation in one process: `./run eval BUNDLE key:=value …`."""

from __future__ import annotations

import itertools
import json
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ant_env_node.vec_env import VectorAnt
from ant_rl_core import bundle as policy_bundle, settings
from ant_rl_core.contracts import Actor
from ant_rl_core.files import check_writable, write_atomically
from ant_rl_core.shipped import resolve_policy
from ant_rl_core.spec import ANT
from ant_rl_core.step import Previous, TimeStepEnv
from ant_rl_core.timing import StageTimer
from policy_node.actor import load_actor
from trainer.runs.progress import track

_MOST_ROWS = 32  # at a time, unless more are asked for
_EPISODE_STEPS = 1000  # at most, of Ant-v5


@dataclass(frozen=True)
class EvaluateConfig:
    """Settings of an evaluation.

    Attributes:
        episodes: how many episodes; episode k is Ant-v5 reset with seed + k, so the result is repeatable.
        seed: seed of the first episode.
        backend: litert or keras.
        variant: which of the bundle's variants: float32, or a smaller one that it has, such as int8.
        num_envs: robots at a time; 0 means as many as episodes, at most 32.
        num_threads: threads that step physics; 0 means one per core.
        summary: path for the result as JSON; empty means none.
    """

    episodes: int = 20
    seed: int = 1000
    backend: str = "litert"
    variant: str = policy_bundle.FLOAT32
    num_envs: int = 0
    num_threads: int = 0
    summary: str = ""

    def __post_init__(self) -> None:
        for name, least in (("episodes", 1), ("seed", 0), ("num_envs", 0), ("num_threads", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, found {getattr(self, name)}")


@dataclass(frozen=True)
class Episode:
    """One evaluated episode: undiscounted return, steps, meters along x, and whether the robot fell."""

    seed: int
    episode_return: float
    length: int
    distance: float
    terminated: bool


def evaluate(actor: Actor, episodes: int, seed: int, num_envs: int = 0, num_threads: int = 0,
             timer: StageTimer | None = None, with_progress: bool = False) -> list[Episode]:
    """Run episodes with seeds seed, seed + 1, …; the rewards are those of Ant-v5 as it comes.

    `timer` records the durations of stages `inference` and `step`; `with_progress` shows how far it is.
    """
    timer = timer or StageTimer()
    rows = num_envs or min(episodes, _MOST_ROWS)
    ticks: Iterator[int] = itertools.count()
    if with_progress:  # at most so many: episodes may end before their time limit
        ticks = track(ticks, -(-episodes // rows) * _EPISODE_STEPS, "tick")
    results: list[Episode] = []
    while len(results) < episodes:
        rows = min(rows, episodes - len(results))
        results += _batch(actor, rows, seed + len(results), num_threads, timer, ticks)
    return results


def _batch(actor: Actor, rows: int, seed: int, num_threads: int, timer: StageTimer,
           ticks: Iterator[int]) -> list[Episode]:
    """The first episode of each of `rows` robots; takes one of `ticks` for each tick."""
    with VectorAnt(rows, seed, num_threads or None) as ant:
        env = TimeStepEnv(ant)
        time_step = env.reset()
        start = np.array(time_step.info["x_position"])
        previous, state = Previous.none(rows, env.action_size), actor.initial_state(rows)
        total = np.zeros(rows)
        found: dict[int, Episode] = {}
        length = 0
        while len(found) < rows:
            next(ticks)
            with timer.stage("inference"):
                action, _, state = actor.act(time_step.observation, previous, state, time_step.trial_first)
            with timer.stage("step"):
                time_step = env.step(action)
            previous = Previous(action, time_step.reward, time_step.done)
            total += time_step.reward
            length += 1
            for row in np.flatnonzero(time_step.done):
                if row not in found:
                    distance = time_step.info["final_info"]["x_position"][row] - start[row]
                    found[row] = Episode(seed + int(row), float(total[row]), length, float(distance),
                                         bool(time_step.terminated[row]))
    return [found[row] for row in range(rows)]


def summarize(episodes: list[Episode], seconds: float, timer: StageTimer) -> dict[str, Any]:
    """The result as plain data: means, every episode, rates [1/s] and latencies [ms]."""
    returns = np.array([episode.episode_return for episode in episodes])
    steps = sum(episode.length for episode in episodes)
    return {
        "mean_return": float(returns.mean()), "std_return": float(returns.std()),
        "episodes": [{"return": e.episode_return, **{k: v for k, v in asdict(e).items() if k != "episode_return"}}
                     for e in episodes],
        "rates": {"env_steps_per_second": steps / seconds},
        "latencies_ms": {name: {"p50": 1e3 * stage.p50, "p99": 1e3 * stage.p99}
                         for name, stage in timer.summary().items()},
    }


def main(bundle: str, arguments: Mapping[str, str]) -> int:
    """Evaluate a bundle (a path or the name of a shipped one); returns the exit code."""
    try:
        (config,) = settings.build([EvaluateConfig], arguments)
        if config.summary:
            check_writable("summary", config.summary)
        policy = policy_bundle.read(resolve_policy(bundle))
        policy.check_sizes(ANT.observation_size, ANT.action_size)
        actor = load_actor(policy, config.backend, config.variant)
    except ValueError as error:  # of the settings or of the bundle
        print(error, file=sys.stderr)
        return 2
    timer = StageTimer()
    start = time.perf_counter()
    episodes = evaluate(actor, config.episodes, config.seed, config.num_envs, config.num_threads, timer,
                        with_progress=True)
    summary = {"policy": bundle, "backend": config.backend, "variant": config.variant,
               **summarize(episodes, time.perf_counter() - start, timer)}
    for episode in episodes:
        print(f"seed {episode.seed}: return {episode.episode_return:8.1f}, {episode.length:4d} steps, "
              f"{episode.distance:6.1f} m{', fell' if episode.terminated else ''}")
    print(f"mean return {summary['mean_return']:.1f} ± {summary['std_return']:.1f} over {len(episodes)} episodes")
    if config.summary:
        try:
            write_atomically(config.summary, json.dumps(summary, indent=2).encode())
        except OSError as error:
            print(f"can't write the summary {config.summary} ({error.strerror}): make room or choose another path",
                  file=sys.stderr)
            return 1
    return 0
