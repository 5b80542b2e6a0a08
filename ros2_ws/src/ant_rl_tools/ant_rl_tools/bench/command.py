"""The command: which rows, in which order, and the summary."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ant_rl_core import bundle, settings
from ant_rl_core.bundle import BundleError
from ant_rl_core.files import check_not_an_input, check_writable, write_atomically
from ant_rl_core.machine import machine
from ant_rl_core.settings import ArgumentError, setting
from ant_rl_core.shipped import resolve_policy
from ant_rl_core.spec import ANT
from ant_rl_tools.bench import report
from ant_rl_tools.bench.learn import suite as learn
from ant_rl_tools.bench.learn.bench_config import LearnBenchConfig
from ant_rl_tools.bench.rows import GOALS, Goal, Group, Measured, SuiteConfig, as_json
from ant_rl_tools.unavailable import Unavailable
from trainer.runs.progress import numbered

_VECTOR_ROWS = tuple(goal.name for goal in GOALS if goal.name.startswith("vector_ant"))
_BUSY = 1.0  # load average
_INPUTS = ("policy", "training")  # arguments of one suite or the other
_POLICY_ROWS = ("round_trip", "policy_litert_memory", "policy_litert_cpu")


@dataclass(frozen=True)
class BenchConfig(SuiteConfig):
    """Arguments of the benchmark."""

    policy: str = setting("default", "policy bundle to run, a path or the name of a shipped one", path=True)


class Suite(NamedTuple):
    """Rows that are measured by one command.

    Attributes:
        config: its arguments.
        goals: the rows.
        check: refuses arguments that can't be used, given them and the names of the rows.
        groups: who measures which rows.
    """

    config: type[SuiteConfig]
    goals: Sequence[Goal]
    check: Callable[[Any, Sequence[str]], None]
    groups: Callable[[Any], list[Group]]


def main(arguments: Mapping[str, str], suite: str = "") -> int:
    """Measure, print the table and write the summary; returns the exit code: 0 whatever the verdicts."""
    try:
        config, names = read_arguments(arguments, suite)
    except ValueError as error:  # of settings, of the summary's path or of the bundle
        print(f"ant_rl: {error}", file=sys.stderr)
        return 2
    facts, start = machine(), time.monotonic()
    if facts["load_average"] > _BUSY:
        print(f"bench: the machine is busy, load average {facts['load_average']:.1f}: figures will be low, and "
              "programs whose threads wait for each other suffer most", file=sys.stderr, flush=True)
    found = measure(names, SUITES[suite].groups(config))
    rows = [as_json(goal, found[goal.name]) for goal in SUITES[suite].goals if goal.name in names]
    if config.summary:
        summary = {"rows": rows, "machine": facts, "seconds": round(time.monotonic() - start, 1)}
        text = json.dumps(summary, indent=2, allow_nan=False)
        try:
            write_atomically(Path(config.summary), text.encode())
        except OSError as error:
            print(report.table(rows))
            print(f"ant_rl: can't write the summary {config.summary} ({error.strerror}): make room or choose another "
                  "path", file=sys.stderr)
            return 1
    print(report.table(rows))
    return 0


def read_arguments(arguments: Mapping[str, str], suite: str = "") -> tuple[Any, list[str]]:
    """The configuration and the names of the rows that it asks for; ValueError says what can't be used."""
    chosen = SUITES[suite]
    (config,) = settings.build([chosen.config], arguments)
    known = [goal.name for goal in chosen.goals]
    names = [name for name in config.rows.split(",") if name] or known
    for name in names:
        if name not in known:
            raise ArgumentError(f"rows must be of {', '.join(known)}; found {name!r}")
    if config.summary:
        check_writable("summary", config.summary)
        check_not_an_input("summary", config.summary, filter(None, (getattr(config, each, "") for each in _INPUTS)))
    chosen.check(config, names)
    return config, names


def measure(names: list[str], groups: Sequence[Group]) -> dict[str, Measured]:
    """Measure the rows, in groups that share what they need; what can't be measured gets the reason.

    The groups import what they need when their turn comes: processes are forked before ROS makes threads, and
    TensorFlow is loaded last.
    """
    found: dict[str, Measured] = {}
    chosen = [(wanted, run) for members, run in groups if (wanted := [name for name in members if name in names])]
    for place, (wanted, run) in numbered(chosen):
        print(f"bench: {', '.join(wanted)} ({place}) ...", file=sys.stderr, flush=True)
        start = time.monotonic()
        try:
            found.update(run(wanted))
        except (Unavailable, BundleError) as error:
            found.update({name: Measured(reason=str(error)) for name in wanted})
        print(f"bench:   {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
    return found


def help_text(suite: str = "") -> str:
    """Every row and every argument with its default and meaning."""
    chosen = SUITES[suite]
    lines = [f"usage: ./run bench {suite}{' ' if suite else ''}[key:=value …]", ""]
    if not suite:
        lines += ["./run bench learn measures the learners, against stable-baselines3 and the machine's limits.", ""]
    lines += ["rows:", *(f"  {goal.name:<22} {goal.what}: {goal.goal}" for goal in chosen.goals), "",
              "arguments, with their defaults:"]
    return "\n".join([*lines, *(f"  {name}:={default}\n        {meaning}"
                                for name, default, meaning in settings.describe(chosen.config))])


def _check(config: BenchConfig, names: Sequence[str]) -> None:
    if {*_POLICY_ROWS, "lockstep_1", "lockstep_64"} & set(names):
        bundle.read(resolve_policy(config.policy)).check_robot(ANT.name, ANT.observation_size, ANT.action_size)


def _groups(config: BenchConfig) -> list[Group]:
    def vector(names: list[str]) -> dict[str, Measured]:
        from ant_rl_tools.bench import simulation
        return simulation.measure(names, config.seconds, config.rounds)

    def tasks(names: list[str]) -> dict[str, Measured]:
        from ant_rl_tools.bench import tasks as group
        return {name: group.measure(config.seconds, config.rounds) for name in names}

    def lockstep(names: list[str]) -> dict[str, Measured]:
        from ant_rl_tools.bench import lockstep as group
        (name,) = names
        return {name: group.measure(int(name.removeprefix("lockstep_")), config.policy, config.seconds,
                                    config.rounds)}

    def policy(names: list[str]) -> dict[str, Measured]:
        from ant_rl_tools.bench import policy as group
        return group.measure(names, config.policy)

    def learning(names: list[str]) -> dict[str, Measured]:
        from ant_rl_tools.bench import learning as group
        return {"ppo_overhead": group.measure()}

    return [(_VECTOR_ROWS, vector), (("tasks_64",), tasks), (("lockstep_1",), lockstep), (("lockstep_64",), lockstep),
            (_POLICY_ROWS, policy), (("ppo_overhead",), learning)]


# By the word after `bench`; the first one is measured without a word.
SUITES = {"": Suite(BenchConfig, GOALS, _check, _groups),
          "learn": Suite(LearnBenchConfig, learn.GOALS, learn.check, learn.groups)}
