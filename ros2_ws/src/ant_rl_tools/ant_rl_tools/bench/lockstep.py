"""Environment and policy as two processes over DDS, against the same work in one process."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any

import gymnasium
import numpy as np

from ant_env_node.vec_env import VectorAnt
from ant_rl_core import bundle
from ant_rl_core.shipped import resolve_policy
from ant_rl_core.spec import ANT
from ant_rl_core.step import Previous, TimeStepEnv
from ant_rl_tools.bench.node import NAMESPACE, BenchNode
from ant_rl_tools.bench.rows import Measured, compare, paired_rates
from ant_rl_tools.node_process import NodeProcess
from policy_node.actor import BundleActor, load_actor
from trainer.loop import drive


def measure(num_envs: int, policy: str, seconds: float, rounds: int) -> Measured:
    """The row lockstep_1 or lockstep_64: ticks per second of both, in turn; each rests while the other runs.

    Args:
        num_envs: 1 is compared with Gymnasium's own environment, more with VectorAnt.
        policy: bundle, as a path or the name of a shipped one.
        seconds: length of one segment [s].
        rounds: segments of each.

    Raises:
        Unavailable: a node can't be started or falls silent.
        BundleError: the policy can't be used.
    """
    actor = load_actor(bundle.read(resolve_policy(policy)))
    with ExitStack() as stack:
        one_process = stack.enter_context(InOneProcess(actor, num_envs))
        one_process.rate(0.5)  # a warm-up
        processes = [stack.enter_context(NodeProcess(name, NAMESPACE, {"policy": policy, "num_envs": num_envs}))
                     for name in ("env", "policy")]
        env = stack.enter_context(BenchNode()).watch_environment(processes[0])

        def two_processes() -> float:
            env.pause(False, processes)
            rate = env.rate(seconds, processes)
            env.pause(True, processes)
            return rate

        two_processes()  # a warm-up
        rates = paired_rates({"two_processes": two_processes, "one_process": partial(one_process.rate, seconds)},
                             rounds)
    return compare(rates, "two_processes", "one_process")


class InOneProcess:
    """Robots and actor in this process: one of Gymnasium's own, or many in a VectorAnt; a context manager."""

    def __init__(self, actor: BundleActor, num_envs: int) -> None:
        self._actor = actor
        self._run: Callable[[float], int]
        self._env: Any  # of another kind in each case
        if num_envs == 1:
            self._env = gymnasium.make(ANT.name)
            self._observation, _ = self._env.reset(seed=0)
            self._run = self._run_gymnasium
        else:
            self._env = TimeStepEnv(VectorAnt(num_envs, 0))
            self._time_step = self._env.reset(0)
            self._run = self._run_vector

    def __enter__(self) -> InOneProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self._env.close()

    def rate(self, seconds: float) -> float:
        """Ticks per second over about so long."""
        start = time.perf_counter()
        ticks = self._run(start + seconds)
        return ticks / (time.perf_counter() - start)

    def _run_gymnasium(self, end: float) -> int:
        """Gymnasium's own environment in the loop of its manual: `drive` would slow down what we compare with."""
        env, actor, observation = self._env, self._actor, self._observation
        previous, state, first = Previous.none(1, ANT.action_size), actor.initial_state(1), np.ones(1, bool)
        ticks = 0
        while time.perf_counter() < end:
            action, _, state = actor.act(np.asarray(observation, np.float32)[None], previous, state, first)
            observation, reward, terminated, truncated, _ = env.step(action[0])
            first = np.array([terminated or truncated])
            previous = Previous(action, np.array([reward], np.float32), first)
            if first[0]:
                observation, _ = env.reset()
            ticks += 1
        self._observation = observation
        return ticks

    def _run_vector(self, end: float) -> int:
        ticks = 0
        for move in drive(self._env, self._actor, self._time_step):
            ticks += 1
            if time.perf_counter() >= end:
                self._time_step = move.after
                break
        return ticks
