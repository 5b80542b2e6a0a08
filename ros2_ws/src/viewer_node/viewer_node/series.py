"""What nodes tell, as points of the series that are drawn beside the robot: values by the path of each series."""

from __future__ import annotations

import math

from ant_rl_core.telemetry import Episode, Stats, Timing, short_name

_STAGES = ("round_trip", "inference")  # whose latencies are shown


def named_values(told: Timing | Stats | Episode) -> dict[str, float]:
    """The points of what was told, whatever it is."""
    if isinstance(told, Timing):
        return of_timing(told)
    return of_stats(told) if isinstance(told, Stats) else of_episode(told)


def of_timing(timing: Timing) -> dict[str, float]:
    """Round trip and inference [ms], and the present episode's return."""
    figures = {"return/so_far": timing.values.get("episode_return", math.nan)}
    for name in filter(timing.stages.__contains__, _STAGES):
        p50, p99, _ = timing.stages[name]
        figures |= {f"latency/{name}_p50": 1e3 * p50, f"latency/{name}_p99": 1e3 * p99}
    return _known(figures)


def of_stats(stats: Stats) -> dict[str, float]:
    """Processor [% of a core] and memory [MiB] of a node."""
    node = short_name(stats.node)
    return _known({f"cpu/{node}": stats.cpu_percent, f"memory/{node}": stats.rss_mib})


def of_episode(episode: Episode) -> dict[str, float]:
    """Return of a finished episode."""
    return {"return/episode": episode.episode_return}


def _known(figures: dict[str, float]) -> dict[str, float]:
    return {path: value for path, value in figures.items() if math.isfinite(value)}
