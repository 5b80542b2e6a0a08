"""The figures of a report in words: what is at the head of the page and what the command prints."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from ant_rl_tools.report.run_data import Run

_MOST_ROWS = 30
_RETURN = "return, mean ± standard deviation"


class Table(NamedTuple):
    """Rows of cells, with the titles of their columns."""

    head: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


def key_figures(runs: Sequence[Run]) -> Table:
    """The figures of each run, and from the second run on the ratio to the first."""
    rows = []
    for label, value, digits, compared in _FIGURES:
        values = [value(run) for run in runs]
        spreads = [f" ± {_std(run):,.{digits}f}" if label == _RETURN and run.episodes else "" for run in runs]
        rows.append((label, *(_number(each, digits) + spread + (_ratio(each, values[0]) if i and compared else "")
                              for i, (each, spread) in enumerate(zip(values, spreads, strict=True)))))
    began = [time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(run.start // 1_000_000_000)) for run in runs]
    return Table(("", *(run.name for run in runs)), [("recording began", *began), *rows])


def versions(runs: Sequence[Run]) -> Table:
    """The versions of the policy that were in use: when first, for how many ticks, and how episodes went with them."""
    rows = []
    for run in runs:
        ticks, returns = run.ticks, defaultdict(list)
        for _, episode in run.episodes:
            returns[episode.policy_version].append(episode.episode_return)
        found, first, counts = np.unique(ticks.policy_version, return_index=True, return_counts=True)
        for version, at, count in sorted(zip(found, first, counts, strict=True), key=lambda entry: entry[1]):
            if version == 0:
                continue
            ended = returns[int(version)]
            rows.append((run.name, str(version), f"{ticks.time[at]:.2f}", f"{count:,}", str(len(ended)),
                         f"{np.mean(ended):,.0f}" if ended else "–"))
    head = ("run", "version", "first used [s]", "ticks", "episodes that ended with it", "their mean return")
    return Table(head, rows)


def returns_by_task(runs: Sequence[Run]) -> Table:
    """How the episodes of all robots went that ended in a task; the most frequent come first."""
    rows = []
    for run in runs:
        found = defaultdict(list)
        for _, episode in run.episodes:
            if episode.task:
                found[episode.task].append(episode)
        for task, episodes in sorted(found.items(), key=lambda entry: -len(entry[1])):
            returns = [episode.episode_return for episode in episodes]
            rows.append((run.name, task, str(len(episodes)), str(sum(episode.terminated for episode in episodes)),
                         f"{np.mean(returns):,.0f} ± {np.std(returns):,.0f}"))
    return Table(("run", "task", "episodes that ended in it", "of which by a fall", "their return"), rows)


def task_changes(runs: Sequence[Run]) -> Table:
    """Which task the first robot had, and when."""
    rows = []
    for run in runs:
        for i, (time_s, told) in enumerate(run.tasks):
            if i and told.since[0] != told.step_id:  # another robot's changed
                continue
            how = "given" if told.given[0] else "drawn"
            rows.append((run.name, told.names[0], how, f"{time_s:.2f}", str(told.session), str(told.step_id)))
    return Table(("run", "task", "how", "told [s]", "session", "since tick"), rows)


def shortened(table: Table) -> tuple[Table, str]:
    """The first and the last rows of a long table, and a sentence on what was left out, empty where that is nothing."""
    if len(table.rows) <= _MOST_ROWS:
        return table, ""
    half = _MOST_ROWS // 2
    return (Table(table.head, [*table.rows[:half], tuple("…" for _ in table.head), *table.rows[-half:]]),
            f"{len(table.rows) - 2 * half:,} rows in between are left out.")


def line(run: Run) -> str:
    """One run in one line."""
    done = f"{len(run.episodes)} episode{'s' * (len(run.episodes) != 1)}"
    if run.episodes:
        done += f", return {_mean_return(run):,.1f} ± {_std(run):,.1f}"
    missed, ticks = int(run.ticks.missed.sum()), _torques(run)
    return (f"{run.name}: {done}; round trip p50 {_number(_stage(run, 'round_trip', 'p50'), 3)} ms, p99 "
            f"{_number(_stage(run, 'round_trip', 'p99'), 3)} ms; {missed:,} deadline misses in {ticks:,} ticks")


def _torques(run: Run) -> int:
    """Number of ticks that a torque led to."""
    return int(np.count_nonzero(~run.ticks.begins))


def _mean_return(run: Run) -> float:
    return float(np.mean([episode.episode_return for _, episode in run.episodes])) if run.episodes else math.nan


def _std(run: Run) -> float:
    return float(np.std([episode.episode_return for _, episode in run.episodes])) if run.episodes else math.nan


def _length(run: Run) -> float:
    return float(np.mean([episode.length for _, episode in run.episodes])) if run.episodes else math.nan


def _speed(run: Run) -> float:
    seconds = sum(episode.duration for _, episode in run.episodes)
    return sum(episode.distance for _, episode in run.episodes) / seconds if seconds else math.nan


def _stage(run: Run, stage: str, figure: str) -> float:
    return run.latencies_ms.get(stage, {}).get(figure, math.nan)


def _percentile(values: np.ndarray, percent: float) -> float:
    return float(np.percentile(values, percent)) if len(values) else math.nan


def _resource(run: Run, pick: Callable[[np.ndarray], float], name: str) -> float:
    """Of the policy node; NaN where that was not measured."""
    node = run.resources.get("policy")
    values = getattr(node, name) if node else np.empty(0)
    values = values[np.isfinite(values)]
    return float(pick(values)) if len(values) else math.nan


# Label, value of a run, digits behind the point, whether ratios tell something.
_FIGURES: tuple[tuple[str, Callable[[Run], float], int, bool], ...] = (
    ("length [s]", lambda run: run.seconds, 1, False),
    ("robots", lambda run: run.num_envs, 0, False),
    ("ticks", _torques, 0, False),
    ("ticks per second", lambda run: run.tick_rate, 1, True),
    ("episodes finished", lambda run: len(run.episodes), 0, False),
    ("of which ended by a fall", lambda run: sum(episode.terminated for _, episode in run.episodes), 0, False),
    (_RETURN, _mean_return, 1, True),
    ("episode length, mean [steps]", _length, 1, True),
    ("speed, mean [m/s]", _speed, 2, True),
    ("round trip p50 [ms]", lambda run: _stage(run, "round_trip", "p50"), 3, True),
    ("round trip p99 [ms]", lambda run: _stage(run, "round_trip", "p99"), 3, True),
    ("observation to torques p50 [ms]", lambda run: 1e3 * _percentile(run.answers.delay, 50), 3, True),
    ("observation to torques p99 [ms]", lambda run: 1e3 * _percentile(run.answers.delay, 99), 3, True),
    ("inference p50 [ms]", lambda run: 1e3 * _percentile(run.answers.inference, 50), 3, True),
    ("inference p99 [ms]", lambda run: 1e3 * _percentile(run.answers.inference, 99), 3, True),
    ("deadline misses", lambda run: int(run.ticks.missed.sum()), 0, True),
    ("policy node, CPU, mean [% of a core]", lambda run: _resource(run, np.mean, "cpu_percent"), 1, True),
    ("policy node, RSS, largest [MiB]", lambda run: _resource(run, np.max, "rss_mib"), 1, True),
    ("versions of the policy", lambda run: len(np.unique(run.ticks.policy_version[run.ticks.policy_version > 0])), 0,
     False),
    ("ticks that the recorder missed", lambda run: run.ticks.unrecorded, 0, False),
)


def _number(value: float, digits: int) -> str:
    return f"{value:,.{digits}f}" if math.isfinite(value) else "–"


def _ratio(value: float, first: float) -> str:
    """Such as " (×1.25)"; empty where there is none to tell."""
    return f" (×{value / first:.2f})" if math.isfinite(value) and math.isfinite(first) and first > 0 else ""
