"""Robots with bodies of their own against robots that are all alike, on the same trajectories bit for bit."""

from __future__ import annotations

from functools import partial

import numpy as np

from ant_env_node.tasks.ant import TaskAnt
from ant_env_node.tasks.presets import PRESETS
from ant_env_node.vec_env import VectorAnt
from ant_rl_tools.bench.rows import Measured, compare, paired_rates
from ant_rl_tools.bench.simulation import run_vector_env

NUM_ENVS = 64
_SEED = 0
_PILOT_TICKS = 40


def rewired(env: TaskAnt, actions: np.ndarray, seed: int) -> np.ndarray:
    """The actions with the signs of the motors that they will meet, so that the robots move as ones wired right.

    Args:
        env: with tasks that change nothing but signs.
        actions: float32 [ticks, n, 8], for robots that are wired right.
        seed: of the reset before the first tick.
    """
    env.reset(seed=seed)
    sent = []
    for action in actions:
        sent.append(action * np.array([task.gear for task in env.tasks], np.float32))
        env.step(sent[-1])
    return np.array(sent)


def measure(seconds: float, rounds: int) -> Measured:
    """64 robots of which each is wired in a way of its own, and wired anew at each fall, against 64 that are alike.

    Args:
        seconds: length of one segment of robots that are alike [s].
        rounds: segments of each.
    """
    different = TaskAnt(NUM_ENVS, PRESETS["wired"](), seed=_SEED)
    with VectorAnt(NUM_ENVS, _SEED) as alike, different:
        pilot = run_vector_env(alike, _actions(_PILOT_TICKS), _SEED)
        actions = _actions(max(10, round(seconds * _PILOT_TICKS / pilot)))
        sent = rewired(different, actions, _SEED)
        steps = len(actions) * NUM_ENVS

        def rate(env: VectorAnt, moves: np.ndarray) -> float:
            return steps / run_vector_env(env, moves, _SEED)
        rates = paired_rates({"different": partial(rate, different, sent), "alike": partial(rate, alike, actions)},
                             rounds)
    return compare(rates, "different", "alike")


def _actions(ticks: int) -> np.ndarray:
    return np.random.default_rng(_SEED).uniform(-1.0, 1.0, (ticks, NUM_ENVS, 8)).astype(np.float32)
