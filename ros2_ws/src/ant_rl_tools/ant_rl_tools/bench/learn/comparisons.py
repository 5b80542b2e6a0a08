"""Rows that compare with stable-baselines3; both sides run in turn, each in a process of its own."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from ant_rl_core.spec import ANT
from ant_rl_core.surroundings.python import module_command
from ant_rl_tools.bench.learn import matmul_rate
from ant_rl_tools.bench.learn.bench_config import LearnBenchConfig
from ant_rl_tools.bench.learn.installation import reference_environment, reference_python
from ant_rl_tools.bench.learn.worker_process import Worker
from ant_rl_tools.bench.rows import Measured, compare, paired_rates
from ant_rl_tools.unavailable import Unavailable

_BATCH, _HIDDEN, _POLICY_DELAY = 256, [256, 256], 2
_PPO_ENVS, _PPO_HIDDEN = 16, [64, 64]
# The methods as stable-baselines3 has them.
_PLAIN = {"td3": {"embedding_size": 0, "actor_critics": 1}, "sac": {"embedding_size": 0, "actor_interval": 1}}
_LIBRARIES = ("numpy", "tensorflow", "xla")


def our_worker(kind: str, threads: int, **arguments: Any) -> Worker:
    """A process with segments of `ours`."""
    return Worker(module_command("ant_rl_tools.bench.learn.stack_worker"), threads, {"kind": kind, **arguments})


def reference_worker(kind: str, threads: int, **arguments: Any) -> Worker:
    """A process with segments of `sb3_worker`; Unavailable where stable-baselines3 can't be installed."""
    script = Path(__file__).with_name("sb3_worker.py")
    return Worker([str(reference_python()), str(script)], threads, {"kind": kind, **arguments},
                  reference_environment())


def measure_updates(method: str, names: Sequence[str], config: LearnBenchConfig) -> dict[str, Measured]:
    """The rows *_update and *_matmul_share of TD3 or SAC, those that are asked for.

    Args:
        method: td3 or sac.
        names: rows to measure.
        config: arguments of the benchmark.
    """
    update, share, found = f"{method}_update", f"{method}_matmul_share", {}
    hidden = {"actor_hidden": _HIDDEN, "critic_hidden": _HIDDEN}
    per_cycle, shapes = _products(method)
    with ExitStack() as exits:
        ours = exits.enter_context(our_worker("updates", config.num_threads, method=method,
                                              settings={"batch_size": _BATCH, **hidden, **_PLAIN[method]}))
        contenders = {"ours": partial(ours.run, "update", config.seconds)}
        if update in names:
            try:
                theirs = exits.enter_context(reference_worker(method, config.num_threads, hidden=_HIDDEN,
                                                              settings={"batch_size": _BATCH}))
                contenders["stable_baselines3"] = partial(theirs.run, "update", config.seconds)
            except Unavailable as reason:
                found[update] = Measured(reason=str(reason))
        if share in names:
            bare = exits.enter_context(our_worker("products", config.num_threads, products=shapes))
            contenders.update({f"{name}_{library}": partial(bare.run, f"{name}_{library}", config.seconds / 4)
                               for name in ("products", "square") for library in _LIBRARIES})
        rates = paired_rates(contenders, config.rounds)
    if "stable_baselines3" in rates:
        found[update] = compare(rates, "ours", "stable_baselines3")
    if share in names:
        found[share] = judge_share(rates, matmul_rate.operations(shapes) / per_cycle)
    return found


def judge_share(rates: dict[str, list[float]], operations: float) -> Measured:
    """How much of what its matrix products alone reach an update reaches.

    Args:
        rates: updates per second of our learner; operations per second of the products and of the large square one, by
            library.
        operations: of one update.
    """
    def best(name: str) -> list[float]:
        return max((rates[f"{name}_{library}"] for library in _LIBRARIES), key=median)

    in_giga = {"update": [operations * rate / 1e9 for rate in rates["ours"]],
               "bare_products": [rate / 1e9 for rate in best("products")],
               "square": [rate / 1e9 for rate in best("square")]}
    ratio = compare(in_giga, "update", "bare_products")
    figures = {f"{name}_gflop_per_s": median(values) for name, values in in_giga.items()}
    share_of_square = compare(in_giga, "update", "square").ratio
    assert share_of_square is not None  # both were measured
    return Measured({**figures, "share_of_square": share_of_square}, ratio.ratio)


def measure_ppo(config: LearnBenchConfig) -> Measured:
    """The row ppo_steps: against the better of stable-baselines3's two vector environments.

    Raises:
        Unavailable: stable-baselines3 can't be installed, or a process ended.
    """
    with ExitStack() as exits:
        ours = exits.enter_context(our_worker("steps", config.num_threads, method="ppo", num_envs=_PPO_ENVS, settings={
            "rollout_length": 128, "epochs": 10, "minibatch_size": 128, "actor_hidden": _PPO_HIDDEN,
            "critic_hidden": _PPO_HIDDEN}))
        theirs = exits.enter_context(reference_worker("ppo", config.num_threads, hidden=_PPO_HIDDEN, settings={
            "num_envs": _PPO_ENVS, "n_steps": 128, "n_epochs": 10, "batch_size": 128}))
        rates = paired_rates({"ours": partial(ours.run, "learn", config.seconds),
                              "dummy": partial(theirs.run, "dummy", config.seconds),
                              "subprocesses": partial(theirs.run, "subprocesses", config.seconds)}, config.rounds)
    better = max(("dummy", "subprocesses"), key=lambda name: median(rates[name]))
    both = {f"{name}_per_s": median(values) for name, values in rates.items()}
    compared = compare(rates, "ours", better)
    return Measured({**both, **compared.figures}, compared.ratio)


def _products(method: str) -> tuple[int, list[matmul_rate.Product]]:
    """(updates of a cycle, products of all of them) with the sizes that are compared."""
    sizes = (_BATCH, ANT.observation_size, ANT.action_size, _HIDDEN)
    if method == "sac":
        return 1, matmul_rate.sac(*sizes)
    every, actor = matmul_rate.td3(*sizes)
    return _POLICY_DELAY, [*_POLICY_DELAY * every, *actor]
