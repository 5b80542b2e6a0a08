"""What a policy node costs by itself: the round trip to it, its memory and its processor time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ant_rl_tools.bench.node import NAMESPACE, BenchNode
from ant_rl_tools.bench.rows import CPU_LIMIT_PERCENT, MEMORY_LIMIT_MB, ROUND_TRIP_LIMITS_US, Measured, against_limits
from ant_rl_tools.node_process import NodeProcess

_WARM_UP = 500
_ROUND_TRIPS = 5000
_PACED_SECONDS = 10.0


def measure(names: Sequence[str], policy: str) -> dict[str, Measured]:
    """The rows round_trip and policy_litert_* that are asked for, by name, on one policy node.

    Args:
        names: rows to measure.
        policy: bundle, as a path or the name of a shipped one.

    Raises:
        Unavailable: the node can't be started or falls silent.
    """
    found = {}
    with NodeProcess("policy", NAMESPACE, {"policy": policy}) as process, BenchNode() as node:
        env = node.play_environment()
        env.find(process)
        env.round_trips(_WARM_UP)
        if "round_trip" in names:
            found["round_trip"] = judge_round_trips(env.round_trips(_ROUND_TRIPS))
        if "policy_litert_cpu" in names:
            before = process.cpu_seconds()
            wall = env.keep_pace(_PACED_SECONDS)
            share = 100.0 * (process.cpu_seconds() - before) / wall
            found["policy_litert_cpu"] = against_limits({"cpu_percent": share}, {"cpu_percent": CPU_LIMIT_PERCENT})
        if "policy_litert_memory" in names:
            found["policy_litert_memory"] = against_limits({"rss_mb": process.resident_mb()},
                                                           {"rss_mb": MEMORY_LIMIT_MB})
    return found


def judge_round_trips(seconds: np.ndarray) -> Measured:
    """Percentiles of round trips [s], against their limits."""
    p50, p99 = np.percentile(seconds, (50, 99))
    figures = {"p50_us": 1e6 * float(p50), "p99_us": 1e6 * float(p99), "max_us": 1e6 * float(seconds.max()),
               "round_trips": float(len(seconds))}
    return against_limits(figures, ROUND_TRIP_LIMITS_US)
