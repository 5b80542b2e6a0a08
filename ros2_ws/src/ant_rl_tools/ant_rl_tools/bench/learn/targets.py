"""Rows about the learners alone: overlap, memory, and the wall clock of a training."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from ant_rl_tools.bench.learn.bench_config import MEMORY_LIMIT_MB, WALL_CLOCK_LIMITS, LearnBenchConfig
from ant_rl_tools.bench.learn.comparisons import our_worker
from ant_rl_tools.bench.rows import Measured, against_limits, compare, paired_rates
from ant_rl_tools.unavailable import Unavailable
from trainer.runs.curve import Table

_LEARNING_STARTS = 1000
_PPO_STEPS = 16_384  # eight updates
_FIGURES = ("env_steps", "wall_seconds", "mean_return")  # that are read of an evaluation


def measure_overlap(config: LearnBenchConfig) -> Measured:
    """The row overlap, of TD3 with one robot; Unavailable if the process ended."""
    with our_worker("overlap", config.num_threads, method="td3",
                    settings={"learning_starts": _LEARNING_STARTS}) as worker:
        rates = paired_rates({name: partial(worker.run, name, config.seconds) for name in ("beside", "in_turn")},
                             config.rounds)
    return compare(rates, "beside", "in_turn")


def measure_memory(name: str, config: LearnBenchConfig) -> Measured:
    """The row replay_memory or ppo_memory; Unavailable if the process ended."""
    method, settings = ("ppo", {"total_steps": _PPO_STEPS}) if name == "ppo_memory" else ("td3", {})
    with our_worker("memory", config.num_threads, method=method, settings=settings) as worker:
        return against_limits({"peak_rss_mb": worker.run("train")}, {"peak_rss_mb": MEMORY_LIMIT_MB})


def read_wall_clock(folder: str, score: int) -> Measured:
    """The row wall_clock_*: when an evaluation of a run of `./run train` first reached this mean return.

    The figures are those of that evaluation; of the best one, and the ratio is 0, where none reached it.

    Raises:
        Unavailable: no run with evaluations was given.
    """
    if not folder:
        raise Unavailable("a training takes up to an hour: name the folder of one with training:=runs/NAME, see "
                          "docs/benchmark.md")
    path = Path(folder) / "evaluation.csv"
    try:
        if not path.exists():
            raise FileNotFoundError(f"there is no {path}")
        rows = [{name: float(row[name]) for name in _FIGURES} for row in Table(path).read()[1]]
    except (OSError, ValueError, KeyError) as error:
        raise Unavailable(f"{folder} holds no evaluations that can be read ({error}): train with "
                          "evaluation_interval:=10000") from error
    if not rows:
        raise Unavailable(f"{path} holds no evaluation yet")
    reached = next((row for row in rows if row["mean_return"] >= score), None)
    shown = reached or max(rows, key=lambda row: row["mean_return"])
    figures = {"wall_clock_min": shown["wall_seconds"] / 60.0, "mean_return": shown["mean_return"],
               "env_steps": shown["env_steps"]}
    if reached is None:
        return Measured(figures, 0.0)
    return against_limits(figures, {"wall_clock_min": WALL_CLOCK_LIMITS[score]})
