"""NodeTiming, NodeStats and EpisodeSummary to and from the types of `ant_rl_core.telemetry`."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from ant_rl_interfaces.msg import EpisodeSummary, NodeStats, NodeTiming
from builtin_interfaces.msg import Time

from ant_rl_core.telemetry import REWARD_PARTS, Episode, Stats, Timing
from ant_rl_ros.stamps import seconds

# Fields that have the same name on both sides.
_STATS = ("node", "host", "pid", "alive", "cpu_percent", "rss_mib", "uss_mib", "threads", "temperature", "loop_rate",
          "deadline_misses", "dropped", "queued", "cpu_frequency", "cpu_frequency_cap", "throttling",
          "throttling_since_boot")
_EPISODE = ("seed", "row", "episode_id", "session", "episode_return", "length", "distance", "duration", "terminated",
            "truncated", "policy_version", "task")


def encode_timing(timing: Timing, stamp: Time) -> NodeTiming:
    """The message of what a node says of itself."""
    message = NodeTiming()
    message.header.stamp = stamp
    message.node, message.host, message.pid = timing.node, timing.host, timing.pid
    message.state, message.detail, message.loop_rate = timing.state, timing.detail, timing.loop_rate
    message.stage_names = list(timing.stages)
    message.stage_p50, message.stage_p99, message.stage_max = _columns(timing.stages.values(), 3)
    message.counter_names, message.counter_values = list(timing.counters), list(timing.counters.values())
    message.value_names = list(timing.values)
    message.value_values = [float(value) for value in timing.values.values()]
    return message


def decode_timing(message: NodeTiming) -> Timing:
    """Check and decode; ValueError where a stage, a counter or a value lacks one of its figures."""
    node = message.node
    stages = _table(node, "stage", message.stage_names, p50=message.stage_p50, p99=message.stage_p99,
                    max=message.stage_max)
    counters = _table(node, "counter", message.counter_names, value=message.counter_values)
    values = _table(node, "value", message.value_names, value=message.value_values)
    return Timing(node, message.host, message.pid, message.state, message.detail, message.loop_rate, stages,
                  {name: count for name, (count,) in counters.items()},
                  {name: value for name, (value,) in values.items()}, seconds(message.header.stamp))


def encode_stats(stats: Stats, stamp: Time) -> NodeStats:
    """The message of what a monitor knows of a process."""
    message = NodeStats()
    message.header.stamp = stamp
    for name in _STATS:
        setattr(message, name, getattr(stats, name))
    message.stage_names = list(stats.stages_ms)
    message.stage_p50_ms, message.stage_p99_ms = _columns(stats.stages_ms.values(), 2)
    message.round_trip_p50_ms, message.round_trip_p99_ms = stats.round_trip_ms
    return message


def decode_stats(message: NodeStats) -> Stats:
    """Check and decode; ValueError where a stage lacks one of its figures."""
    stages = _table(message.node, "stage", message.stage_names, p50=message.stage_p50_ms, p99=message.stage_p99_ms)
    return Stats(**{name: getattr(message, name) for name in _STATS}, stages_ms=stages,
                 round_trip_ms=(message.round_trip_p50_ms, message.round_trip_p99_ms),
                 stamp=seconds(message.header.stamp))


def encode_episode(episode: Episode, stamp: Time) -> EpisodeSummary:
    """The message of a finished episode."""
    message = EpisodeSummary()
    message.header.stamp = stamp
    for name in _EPISODE:
        setattr(message, name, getattr(episode, name))
    for part, value in episode.reward_parts.items():
        setattr(message, f"reward_{part}", value)
    return message


def decode_episode(message: EpisodeSummary) -> Episode:
    """A finished episode."""
    return Episode(**{name: getattr(message, name) for name in _EPISODE},
                   reward_parts={part: getattr(message, f"reward_{part}") for part in REWARD_PARTS},
                   stamp=seconds(message.header.stamp))


def _columns(rows: Collection[Sequence[float]], count: int) -> list[list[float]]:
    """One list for each of the `count` figures that every row has."""
    return [[row[i] for row in rows] for i in range(count)]


def _table(node: str, what: str, names: Sequence[str], **columns: Sequence[Any]) -> dict[str, tuple[Any, ...]]:
    """The figures of each name; ValueError where there are more or fewer of them than names."""
    if any(len(column) != len(names) for column in columns.values()):
        found = ", ".join(f"{len(column)} of {name}" for name, column in columns.items())
        raise ValueError(f"each {what} of {node} must have {' and '.join(columns)}, found {len(names)} names and "
                         f"{found}")
    return dict(zip(names, zip(*columns.values(), strict=True), strict=True))
