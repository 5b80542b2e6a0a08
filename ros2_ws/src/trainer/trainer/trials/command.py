"""Evaluation by trials: `./run eval BUNDLE … tasks:=NAME key:=value …`."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from ant_env_node.make import ants
from ant_env_node.tasks.ant import TaskAnt
from ant_env_node.tasks.distribution import PARTS, TaskDistribution
from ant_env_node.tasks.told import ToldTask
from ant_rl_core.contracts import VectorEnv
from ant_rl_core.settings import ArgumentError
from ant_rl_core.step import TimeStepEnv
from trainer.runs.progress import track
from trainer.trials import table
from trainer.trials.evaluate_config import BOTH, EvaluateConfig
from trainer.trials.figures import EARLY_STEPS, by_task, change_figures, episode_figures
from trainer.trials.policies import Policy, named, with_controls
from trainer.trials.probe import probe
from trainer.trials.record import PROBE_TICKS, Inside, Trials, joined, look_inside, run_trials
from trainer.trials.table import Result

_MOST_ROWS = 32  # at a time, unless more are asked for
_PROBED = 256  # robots whose memory a probe is fitted on, and as many that it is tested on
_PROBE_SEED = 500_000  # added to the seed, so that they are no robots of the trials


def policies(names: Sequence[str], config: EvaluateConfig) -> list[Policy]:
    """What is evaluated, in the order of the table.

    Raises:
        ValueError: there is none of a name, it can't be run, or the settings don't go together.
    """
    tasks = config.distribution()
    if tasks is not None:
        for part in parts(config, tasks):
            tasks.part(part)
    if config.controls and (config.episodes < 2 or config.num_envs == 1):
        raise ArgumentError("controls need two robots at a time, whose memories are exchanged, found episodes:="
                            f"{config.episodes} num_envs:={config.num_envs}: give more of both")
    found = [named(name, config.tasks, config.backend, config.variant) for name in names]
    return [each for policy in found for each in (with_controls(policy, config.seed) if config.controls else [policy])]


def parts(config: EvaluateConfig, tasks: TaskDistribution | None) -> tuple[str, ...]:
    """The parts of the tasks that are asked for."""
    if tasks is None:
        return ("train",)
    if config.task_part != BOTH:
        return (config.task_part,)
    return tuple(part for part in PARTS if getattr(tasks, part))


def evaluate(chosen: Sequence[Policy], config: EvaluateConfig) -> list[Result]:
    """Every policy on the tasks of every part, all with the same seeds."""
    tasks = config.distribution()
    asked = parts(config, tasks)
    each = config.steps * (tasks.episodes_per_trial if tasks else 1) * len(_groups(config.episodes, config.num_envs))
    probes = 2 * (max(PROBE_TICKS) + 1) * len(_groups(_PROBED, config.num_envs)) if config.probe else 0
    ticks = track(itertools.count(), len(asked) * len(chosen) * (each + probes), "tick")
    results = []
    for part in asked:
        found = [Result(policy, part, joined(list(_played(policy, config, part, ticks)))) for policy in chosen]
        if tasks is not None and tasks.hazard:
            found = _with_changes(found)
        if config.probe:
            found = [_probed(result, config, ticks) for result in found]
        results += found
    return results


def told(results: Sequence[Result], config: EvaluateConfig) -> list[str]:
    """The results as lines of text."""
    tasks = config.distribution()
    lines: list[str] = []
    for part, group in itertools.groupby(results, lambda result: result.part):
        found = list(group)
        if tasks is None:
            lines.append(f"Ant-v5, {config.episodes} episodes")
        else:
            lines.append(f"{tasks.name}, {part.replace('_', ' ')} ({len(tasks.part(part))} tasks), {config.episodes} "
                         f"trials of {tasks.episodes_per_trial} episode{'s' if tasks.episodes_per_trial > 1 else ''}"
                         f"{f', chance of another task {tasks.hazard:g} per tick' if tasks.hazard else ''}")
        lines[-1] += f", seeds {config.seed} to {config.seed + config.episodes - 1}"
        lines += [table.reward_line(tasks, part, config.steps), "", *table.returns_table(found, config.steps)]
        further = [table.tasks_table(found) if tasks is not None and not tasks.hazard else [],
                   table.changes_table(found), *(table.probe_table(result, PROBE_TICKS) for result in found)]
        for block in filter(None, further):
            lines += ["", *block]
        lines.append("")
    return lines[:-1]


def summary(results: Sequence[Result], config: EvaluateConfig) -> dict[str, Any]:
    """The results as plain data."""
    tasks = config.distribution()
    return {"tasks": config.tasks, "episodes": config.episodes, "seed": config.seed, "steps": config.steps,
            **({"episodes_per_trial": tasks.episodes_per_trial, "hazard": tasks.hazard} if tasks else {}),
            "reward": {part: table.reward_line(tasks, part, config.steps) for part in parts(config, tasks)},
            "backend": config.backend, "variant": config.variant, "results": [_plain(result) for result in results]}


def _played(policy: Policy, config: EvaluateConfig, part: str, ticks: Iterator[int]) -> Iterator[Trials]:
    for first, count in _groups(config.episodes, config.num_envs):
        with _robots(policy, config, part, config.seed + first, count) as (env, names, seeds):
            yield run_trials(env, policy.make(), env.reset(), names(), seeds, ticks)


@contextmanager
def _robots(policy: Policy, config: EvaluateConfig, part: str, seed: int,
            count: int) -> Iterator[tuple[VectorEnv, Callable[[], list[str]], Sequence[int]]]:
    """Robots, what their tasks are called, to be asked after their reset, and their seeds."""
    with ants(count, seed, config.num_threads or None, config.distribution(), part, config.steps) as ant:
        env = TimeStepEnv(ant)

        def names() -> list[str]:
            return [task.name for task in ant.tasks] if isinstance(ant, TaskAnt) else [""] * count
        yield ToldTask(env) if policy.told else env, names, ant.np_random_seed


def _with_changes(results: list[Result]) -> list[Result]:
    """With what came of changes of the task, against the speed of whoever is told it, where somebody is."""
    references = [change_figures(result.trials).speeds["100+"] for result in results if result.policy.told]
    return [replace(result, changes=change_figures(result.trials, *references[:1])) for result in results]


def _probed(result: Result, config: EvaluateConfig, ticks: Iterator[int]) -> Result:
    """With probes that are fitted on tasks to train on, and tested on those held out, where there are any."""
    if result.policy.control or not result.policy.remembers:
        return result
    tasks = config.distribution()
    tested = "held_out" if tasks is not None and tasks.held_out else "train"
    train = _seen(result.policy, config, "train", config.seed + _PROBE_SEED, ticks)
    test = _seen(result.policy, config, tested, config.seed + 2 * _PROBE_SEED, ticks)
    return replace(result, memory=probe(train, test, "memory"), observation=probe(train, test, "observation"))


def _seen(policy: Policy, config: EvaluateConfig, part: str, seed: int, ticks: Iterator[int]) -> Inside:
    found = []
    for first, count in _groups(_PROBED, config.num_envs):
        with _robots(policy, config, part, seed + first, count) as (env, _, _):
            found.append(look_inside(env, policy.make(), env.reset(), PROBE_TICKS, ticks))
    return Inside.joined(found)


def _groups(count: int, num_envs: int) -> list[tuple[int, int]]:
    """First robot and number of robots of each of the groups that run at a time; they are about equal."""
    rows = num_envs or min(count, _MOST_ROWS)
    places = np.linspace(0, count, -(-count // rows) + 1).astype(int).tolist()
    return [(first, end - first) for first, end in itertools.pairwise(places)]


def _plain(result: Result) -> dict[str, Any]:
    trials = result.trials
    episodes = []
    for place in range(trials.num_episodes):
        whole, early = episode_figures(trials, place), episode_figures(trials, place, EARLY_STEPS)
        episodes.append({
            "mean_return": float(whole.returns.mean()), "std_return": float(whole.returns.std()),
            f"mean_return_{EARLY_STEPS}": float(early.returns.mean()),
            f"std_return_{EARLY_STEPS}": float(early.returns.std()), f"falls_{EARLY_STEPS}": early.falls,
            "mean_speed": float(whole.speeds.mean()), "falls": whole.falls, "count": len(whole.fell),
            **({"hits": int(whole.hit.sum()), "balls": int(whole.balls.sum())} if whole.balls.any() else {}),
            "returns": whole.returns.tolist(), f"returns_{EARLY_STEPS}": early.returns.tolist(),
            "lengths": whole.lengths.tolist(), "speeds": whole.speeds.tolist(), "fell": whole.fell.tolist()})
    found: dict[str, Any] = {"policy": result.policy.name, "control": result.policy.control,
                             "task_input": result.policy.told, "part": result.part, "episodes": episodes,
                             "seeds": list(trials.seeds), "tasks": list(trials.names),
                             "by_task": {name: float(np.mean(values)) for name, values in by_task(trials).items()}}
    if result.changes is not None:
        found["changes"] = asdict(result.changes)
    for name in ("memory", "observation"):
        if getattr(result, name):
            found[f"probe_{name}"] = {str(tick): asdict(each) for tick, each in
                                      zip(PROBE_TICKS, getattr(result, name), strict=True)}
    return _finite(found)


def _finite(value: Any) -> Any:
    """With null for NaN, which JSON does not know."""
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
