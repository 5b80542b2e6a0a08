"""What is measured, what is to be reached, and how a measurement is judged."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from ant_rl_core.settings import Settings, setting


@dataclass(frozen=True)
class Goal:
    """One row of the table before it is measured.

    Attributes:
        name: as in the summary and in `rows:=`.
        what: what is compared with what.
        target: what the ratio must reach.
        comparison: `>=` where a greater ratio is better, `<=` where a smaller one is.
        text: the goal in words, where the ratio is a share of limits; empty: comparison and target say it.
    """

    name: str
    what: str
    target: float
    comparison: str = ">="
    text: str = ""

    @property
    def goal(self) -> str:
        """The goal in a few words."""
        return self.text or f"{'≥' if self.comparison == '>=' else '≤'} {self.target:.2f}"

    def is_met_by(self, ratio: float) -> bool:
        """Whether this ratio reaches the target."""
        return bool(ratio >= self.target if self.comparison == ">=" else ratio <= self.target)


@dataclass(frozen=True)
class Measured:
    """What a row's measurement gave.

    Attributes:
        figures: numbers by name; the ends of the names give the units, see `report.UNITS`.
        ratio: what is compared with the target; None where it can't be measured here.
        reason: why it can't; else empty.
    """

    figures: Mapping[str, float] = field(default_factory=dict)
    ratio: float | None = None
    reason: str = ""


@dataclass(frozen=True)
class SuiteConfig(Settings):
    """Arguments of every benchmark."""

    rows: str = setting("", "names of the rows to measure, with commas in between; empty means all")
    seconds: float = setting(1.0, "length of one measured segment; each comparison takes several of each side", above=0)
    rounds: int = setting(5, "segments of each side", minimum=1)
    summary: str = setting("", "file for the figures as JSON; empty means none", path=True)


# Names of rows that share what they need, and what measures those of them that it is given.
Group = tuple[tuple[str, ...], Callable[[list[str]], dict[str, Measured]]]

# Limits of the rows that are absolute; their ratio is limit / measured, the least one where there are several.
ROUND_TRIP_LIMITS_US = {"p50_us": 300.0, "p99_us": 1000.0}
MEMORY_LIMIT_MB = 100.0  # [MB] of 10^6 bytes
CPU_LIMIT_PERCENT = 3.0  # of one core, at the control rate of 20 Hz

GOALS = (
    Goal("vector_ant_vs_mj_step", "VectorAnt ÷ raw mj_step, 16 robots, same threads", 0.90),
    Goal("vector_ant_vs_sync", "VectorAnt ÷ Gymnasium SyncVectorEnv, 16 robots", 1.3),
    Goal("vector_ant_vs_async", "VectorAnt ÷ Gymnasium AsyncVectorEnv, 16 robots", 1.3),
    Goal("vector_ant_vs_envpool", "VectorAnt ÷ EnvPool, 16 robots, same threads", 1.0),
    Goal("tasks_64", "64 robots, each wired in a way of its own ÷ 64 that are alike, on the same trajectories", 0.95),
    Goal("lockstep_1", "lock-step over DDS, 1 robot ÷ Gymnasium and the actor in one process", 0.7),
    Goal("lockstep_64", "lock-step over DDS, 64 robots ÷ VectorAnt and the actor in one process", 0.9),
    Goal("round_trip", "round trip env → policy → env without physics", 1.0, text="p50 ≤ 300 us, p99 ≤ 1000 us"),
    Goal("policy_litert_memory", "policy node with LiteRT: resident memory", 1.0, text="≤ 100 MB"),
    Goal("policy_litert_cpu", "policy node with LiteRT at 20 Hz: share of a core", 1.0, text="≤ 3 %"),
    Goal("ppo_overhead", "PPO in one process, 16 robots: wall time not spent in physics", 0.40, "<="),
)


def paired_rates(contenders: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Runs a segment of each contender in turn, over and over; every other round goes backwards, against drift.

    Args:
        contenders: by name what runs one segment and returns its rate [1/s].
        rounds: segments of each.

    Returns:
        The rates of each contender, one per round.
    """
    rates: dict[str, list[float]] = {name: [] for name in contenders}
    for i in range(rounds):
        for name in list(contenders)[::1 if i % 2 == 0 else -1]:
            rates[name].append(contenders[name]())
    return rates


def compare(rates: Mapping[str, list[float]], numerator: str, denominator: str) -> Measured:
    """The median over the rounds of the ratio within each round, with the median rates as figures [1/s]."""
    ratios = [a / b for a, b in zip(rates[numerator], rates[denominator], strict=True)]
    figures = {f"{name}_per_s": median(rates[name]) for name in (numerator, denominator)}
    return Measured({**figures, "lowest_ratio": min(ratios), "highest_ratio": max(ratios)}, median(ratios))


def against_limits(figures: Mapping[str, float], limits: Mapping[str, float]) -> Measured:
    """The least of limit / measured over all limits: 1 or more where every figure keeps its limit."""
    return Measured(figures, min(limit / figures[name] for name, limit in limits.items()))


def as_json(goal: Goal, measured: Measured) -> dict[str, Any]:
    """One row of the summary; `met` is None, with a reason, where it could not be measured."""
    row: dict[str, Any] = {
        "name": goal.name, "what": goal.what, "figures": dict(measured.figures), "ratio": measured.ratio,
        "target": goal.target, "comparison": goal.comparison, "goal": goal.goal,
        "met": None if measured.ratio is None else goal.is_met_by(measured.ratio)}
    if measured.ratio is None:
        row["reason"] = measured.reason
    return row
