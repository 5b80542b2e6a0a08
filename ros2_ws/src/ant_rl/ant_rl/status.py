"""What a run of the stack shows while it lasts and sums up at its end; pure, fed by `node.py`."""

from __future__ import annotations

import math
import platform
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any

import numpy as np

from ant_rl.own_env import OwnEnvironment
from ant_rl.tick_rate import TickRate
from ant_rl_core.telemetry import NAN, Episode, Stats, Timing, short_name
from ant_rl_core.tick import RowTasks

_ORDER = ("env", "policy", "trainer", "monitor", "recorder", "viewer", "status")
_MOST_TASKS = 8  # of the summary for people; JSON has the task of each episode
_ORDINARY = ("answered",)  # counters of what should happen
_TOLD_STAGES = ("round_trip", "inference", "physics", "update")  # of the summary for people; JSON has all


class Record:
    """Everything that was heard of a run.

    Args:
        started: when it began [s], on the clock of the `now` arguments.
        title: first line of the live block.
    """

    def __init__(self, started: float, title: str = "ant_rl") -> None:
        self._started = started
        self._title = title
        self._timing: dict[str, Timing] = {}
        self._environment = OwnEnvironment()
        self._rate = TickRate()
        self._windows: dict[tuple[str, str], list[tuple[float, float, float, float]]] = {}
        self._stats: dict[str, Stats] = {}
        self._cpu: dict[str, list[float]] = {}
        self._peak_rss: dict[str, float] = {}
        self._episodes: list[Episode] = []
        self._task = ""  # of the first robot

    @property
    def contested(self) -> bool:
        """Whether a second environment was heard beside this run's; its figures and episodes are left out."""
        return self._environment.contested

    @property
    def episodes(self) -> list[Episode]:
        """Finished episodes of this run's environment."""
        if not self.contested:
            return self._episodes
        return [episode for episode in self._episodes if self._environment.owns(episode.session)]

    def add_timing(self, timing: Timing) -> None:
        """Take what a node says about itself, once per second."""
        is_env = short_name(timing.node) == "env"
        if is_env and not self._environment.hears(timing):
            return
        self._timing[timing.node] = timing
        ticks = timing.loop_rate if math.isfinite(timing.loop_rate) else 0.0
        if is_env:
            self._rate.add(timing)
        for stage, figures in timing.stages.items():
            self._windows.setdefault((timing.node, stage), []).append((max(ticks, 1.0), *figures))

    def add_stats(self, stats: Stats) -> None:
        """Take what the monitor measured of a node."""
        self._stats[stats.node] = stats
        if math.isfinite(stats.cpu_percent):
            self._cpu.setdefault(stats.node, []).append(stats.cpu_percent)
        if math.isfinite(stats.rss_mib):
            self._peak_rss[stats.node] = max(stats.rss_mib, self._peak_rss.get(stats.node, 0.0))

    def add_episode(self, episode: Episode) -> None:
        """Take a finished episode."""
        self._episodes.append(episode)

    def add_tasks(self, tasks: RowTasks) -> None:
        """Take which task each robot has now."""
        self._task = tasks.names[0]

    # The live view

    def frame(self, now: float) -> list[str]:
        """The live block for a terminal."""
        live = self._live()
        lines = [
            f"{self._title}   {_clock(now - self._started)}",
            f"  episodes {live['episode']:>8}   step {live['episode_step']:>8}   return {live['episode_return']:>9}"
            f"   speed {live['forward_speed']:>6} m/s",
            f"  last    {live['last']:>9}   mean {live['mean']}",
            f"  loop    {live['loop_rate']:>9} /s   round trip p50 {live['p50']} ms, p99 {live['p99']} ms",
            *([f"  task    {self._task}"] if self._task else []),
            f"  {'node':<12}{'state':<10}{'rate/s':>9}{'CPU %':>8}{'RSS MiB':>9}{'USS MiB':>9}",
        ]
        for node in self._nodes():
            timing, stats = self._timing.get(node, Timing(node)), self._stats.get(node, Stats(node))
            state = timing.state if stats.alive else "gone"
            detail = f"  {timing.detail}" if timing.detail else ""
            lines.append(f"  {short_name(node):<12}{state:<10}{_number(timing.loop_rate, 0):>9}"
                         f"{_number(stats.cpu_percent, 0):>8}{_number(stats.rss_mib, 0):>9}"
                         f"{_number(stats.uss_mib, 0):>9}{detail}")
        problems = self._problems()
        return [*lines, f"  {problems}"] if problems else lines

    def line(self, now: float) -> str:
        """The live view as one plain line."""
        live = self._live()
        nodes = []
        for node in self._nodes():
            stats = self._stats.get(node, Stats(node))
            nodes.append(f"{short_name(node)} {_number(stats.cpu_percent, 0)} % {_number(stats.rss_mib, 0)} MiB")
        waiting = [f"{short_name(node)} is {timing.state}: {timing.detail}"
                   for node, timing in self._timing.items() if timing.detail]
        parts = [f"{_clock(now - self._started)} {live['episode']} episodes, step {live['episode_step']} return "
                 f"{live['episode_return']} (mean {live['mean']}) speed {live['forward_speed']} m/s",
                 f"{live['loop_rate']} ticks/s, round trip {live['p50']}/{live['p99']} ms", ", ".join(nodes),
                 f"task {self._task}" if self._task else "", self._problems(), *waiting]
        return " | ".join(part for part in parts if part)

    def _live(self) -> dict[str, str]:
        env = self._env()
        value = {name: env.values.get(name, NAN) for name in ("episode_step", "episode_return", "forward_speed")}
        p50, p99, _ = env.round_trip
        returns = [episode.episode_return for episode in self.episodes]
        return {
            "episode": str(len(self.episodes)), "episode_step": _number(value["episode_step"], 0),
            "episode_return": _number(value["episode_return"], 1),
            "forward_speed": _number(value["forward_speed"], 2),
            "last": _number(returns[-1] if returns else NAN, 1),
            "mean": f"{np.mean(returns):.1f} ± {np.std(returns):.1f} over {len(returns)}" if returns else "-",
            "loop_rate": _number(env.loop_rate, 0), "p50": _number(1e3 * p50, 3), "p99": _number(1e3 * p99, 3),
        }

    def _env(self) -> Timing:
        return next((timing for node, timing in self._timing.items() if short_name(node) == "env"), Timing("env"))

    def _nodes(self) -> list[str]:
        names = dict.fromkeys([*self._timing, *self._stats])
        return sorted(names, key=_place)

    def _problems(self) -> str:
        return ", ".join(f"{short_name(node)} {name} {count}" for node, timing in self._timing.items()
                         for name, count in timing.counters.items() if count and name not in _ORDINARY)

    # The end

    def summary(self, now: float, arguments: Mapping[str, str]) -> dict[str, Any]:
        """The whole run as plain data for JSON; null where nothing was measured.

        Rates are per second, latencies in ms: of each one-second window's p50 (p99) the median, weighted by ticks.
        """
        returns = np.array([episode.episode_return for episode in self.episodes])
        env = self._env().values
        rate = self._rate.ticks_per_second
        return _without_nan({
            "mean_return": float(returns.mean()) if len(returns) else None,
            "std_return": float(returns.std()) if len(returns) else None,
            "episodes": [{"seed": e.seed, "return": e.episode_return, "length": e.length, "distance": e.distance,
                          "duration": e.duration, "terminated": e.terminated, "row": e.row,
                          "episode_id": e.episode_id, "session": e.session, "policy_version": e.policy_version,
                          **({"task": e.task} if e.task else {})}
                         for e in self.episodes],
            "contested": self.contested,
            "ticks": env.get("ticks"), "env_steps": env.get("env_steps"),
            "wall_time_s": now - self._started,
            "rates": {"ticks_per_second": rate,
                      "env_steps_per_second": rate * _ratio(env.get("env_steps", NAN), env.get("ticks", NAN))},
            "latencies_ms": self._latencies(),
            "counters": {short_name(node): dict(timing.counters) for node, timing in self._timing.items()},
            "nodes": {short_name(node): self._resources(node) for node in self._nodes()},
            "arguments": dict(arguments),
            "versions": versions(),
        })

    def table(self, summary: Mapping[str, Any]) -> list[str]:
        """The summary as lines for people."""
        lines = ["", "Summary"]
        if self.episodes:
            speeds = [episode.distance / episode.duration for episode in self.episodes if episode.duration > 0]
            falls = sum(episode.terminated for episode in self.episodes)
            lines += [f"  episodes      {len(self.episodes)}, of which {falls} ended by a fall",
                      f"  return        {summary['mean_return']:.1f} ± {summary['std_return']:.1f}",
                      f"  speed         {np.mean(speeds):.2f} m/s" if speeds else "  speed         -"]
            lines += [f"  in {task:<24} {len(returns)} episode{'s' * (len(returns) > 1)}, return "
                      f"{np.mean(returns):.1f} ± {np.std(returns):.1f}"
                      for task, returns in self._by_task().items()]
        else:
            lines.append("  episodes      none finished")
        rates = summary["rates"]
        lines.append(f"  ticks         {_number(summary['ticks'], 0)}, "
                     f"{_number(rates['ticks_per_second'], 1)} per second")
        if summary["env_steps"] != summary["ticks"]:
            lines.append(f"  robot steps   {_number(summary['env_steps'], 0)}, "
                         f"{_number(rates['env_steps_per_second'], 1)} per second")
        for stage in filter(summary["latencies_ms"].__contains__, _TOLD_STAGES):
            figures = summary["latencies_ms"][stage]
            lines.append(f"  {stage:<14}p50 {_number(figures['p50'], 3)} ms, p99 {_number(figures['p99'], 3)} ms")
        for node, figures in summary["nodes"].items():
            lines.append(f"  {node:<14}{_number(figures['cpu_percent'], 0)} % of a core, "
                         f"{_number(figures['rss_mib'], 0)} MiB")
        problems = self._problems()
        return [*lines, f"  counted       {problems}"] if problems else lines

    def _by_task(self) -> dict[str, list[float]]:
        """Returns by the task in which the episode ended, of at most `_MOST_TASKS`; the most frequent come first."""
        found: dict[str, list[float]] = {}
        for episode in self.episodes:
            if episode.task:
                found.setdefault(episode.task, []).append(episode.episode_return)
        most = sorted(found, key=lambda task: len(found[task]), reverse=True)[:_MOST_TASKS]
        return {task: found[task] for task in most}

    def _latencies(self) -> dict[str, dict[str, float]]:
        names = [stage for _, stage in self._windows]
        result = {}
        for (node, stage), windows in self._windows.items():
            weights, p50, p99, longest = np.array(windows).T
            name = stage if names.count(stage) == 1 else f"{short_name(node)}.{stage}"
            result[name] = {"p50": 1e3 * weighted_median(p50, weights), "p99": 1e3 * weighted_median(p99, weights),
                            "max": 1e3 * float(longest.max())}
        return result

    def _resources(self, node: str) -> dict[str, Any]:
        stats = self._stats.get(node, Stats(node))
        timing = self._timing.get(node, Timing(node))
        cpu = self._cpu.get(node)
        return {"cpu_percent": float(np.mean(cpu)) if cpu else None, "rss_mib": self._peak_rss.get(node),
                "uss_mib": stats.uss_mib, "threads": stats.threads or None, "host": stats.host or timing.host,
                "pid": stats.pid or timing.pid, "temperature_celsius": stats.temperature}


def weighted_median(values: Sequence[float], weights: Sequence[float]) -> float:
    """The value at which half of the weight is reached; NaN values don't count, NaN without any other."""
    array, share = np.asarray(values, np.float64), np.asarray(weights, np.float64)
    known = np.isfinite(array)
    array, share = array[known], share[known]
    if not len(array):
        return NAN
    order = np.argsort(array)
    reached = np.cumsum(share[order])
    return float(array[order][np.searchsorted(reached, reached[-1] / 2)])


def versions() -> dict[str, str]:
    """Versions of Python and of what the stack stands on, where it is installed."""
    result = {"python": platform.python_version()}
    for package in ("ant_rl", "rclpy", "numpy", "mujoco", "gymnasium", "ai-edge-litert", "tensorflow"):
        try:
            result[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue  # not everything is needed everywhere
    return result


def _place(node: str) -> int:
    """Where a node stands in the lists."""
    name = short_name(node)
    return _ORDER.index(name) if name in _ORDER else len(_ORDER)


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def _clock(seconds: float) -> str:
    whole = int(seconds)
    return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def _ratio(above: float, below: float) -> float:
    return above / below if below > 0 else NAN


def _without_nan(value: Any) -> Any:
    """JSON has no NaN: null says that it was not measured."""
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
