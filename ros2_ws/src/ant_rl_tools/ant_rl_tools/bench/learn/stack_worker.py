"""Our side of the comparison, and what only concerns ourselves: a process that imports TensorFlow."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from ant_env_node.vec_env import VectorAnt
from ant_rl_core.spec import ANT
from ant_rl_core.step import TimeStepEnv, Transition
from ant_rl_tools.bench.learn.matmul_rate import Product, operations
from ant_rl_tools.bench.learn.worker_protocol import Segment, peak_mb, rate, serve
from trainer import loop
from trainer.algorithms.table import ALGORITHMS
from trainer.runs.train import Run
from trainer.runs.train_config import TrainConfig

_FILLED = 20_000  # transitions
_WARM_UP = 50  # updates
_BLOCK = 1000  # transitions that are drawn at once
_SQUARE = 1024
_EPISODES = 20  # of the evaluation at the end of a training
_BEYOND_FULL = 500  # environment steps of training with the replay buffer full


def make(kind: str, **arguments: Any) -> Mapping[str, Segment]:
    """Segments by name; `kind` is a function of this module that makes them."""
    makers: dict[str, Callable[..., Mapping[str, Segment]]] = {
        "updates": updates, "products": bare_products, "steps": steps, "overlap": overlap, "memory": memory}
    return makers[kind](**arguments)


def updates(method: str, settings: dict[str, Any]) -> Mapping[str, Segment]:
    """Updates per second of an off-policy method on a filled replay buffer, without what surrounds them."""
    learner = _learner(method, 1, {**settings, "learning_starts": _FILLED})
    ticks = iter(_Ticks())
    for _ in range(_FILLED):
        learner.observe(next(ticks))

    def update(seconds: float) -> float:
        count, spent = 0, 0.0
        while spent < seconds or not count:
            learner.observe(next(ticks))
            start = time.perf_counter()
            learner.update()
            spent += time.perf_counter() - start
            count += 1
        return count / spent

    for _ in range(_WARM_UP):
        update(0.0)
    return {"update": update}


def bare_products(products: list[Product]) -> Mapping[str, Segment]:
    """Float32 operations per second of matrix products alone: these, and one of 1024 x 1024 x 1024.

    Each by TensorFlow's own kernels, by XLA's, and by numpy's library, as none is the fastest everywhere.
    """
    found = {}
    for name, shapes in (("products", products), ("square", [(_SQUARE, _SQUARE, _SQUARE)])):
        random = np.random.default_rng(0)
        factors = [tuple(random.standard_normal(size, np.float32) for size in ((m, k), (k, n))) for m, k, n in shapes]
        tensors = [tuple(map(tf.constant, pair)) for pair in factors]
        multiply: dict[str, Callable[[], Any]] = {"numpy": partial(_numpy_products, factors)}
        for library, compiled in (("tensorflow", False), ("xla", True)):
            function = tf.function(lambda pairs: [tf.matmul(a, b) for a, b in pairs], jit_compile=compiled,
                                   autograph=False)
            multiply[library] = partial(_called, function, tensors)
        for library, run in multiply.items():
            found[f"{name}_{library}"] = _counted(run, operations(shapes))
    return found


def _numpy_products(pairs: Sequence[tuple[np.ndarray, ...]]) -> list[np.ndarray]:
    return [a @ b for a, b in pairs]


def _called(function: Callable[[Any], Any], tensors: Any) -> list[np.ndarray]:
    """The results in memory, and so whole."""
    return [x.numpy() for x in function(tensors)]


def steps(method: str, num_envs: int, settings: dict[str, Any]) -> Mapping[str, Segment]:
    """Environment steps per second of a method that learns while it collects."""
    return {"learn": _driven(method, num_envs, settings, lambda learner: learner, warm_up=1)}


def overlap(method: str, settings: dict[str, Any]) -> Mapping[str, Segment]:
    """Environment steps per second of an off-policy method, beside the environment's steps and in turn with them."""
    return {"beside": _driven(method, 1, settings, lambda learner: learner, _WARM_UP),
            "in_turn": _driven(method, 1, settings, InTurn, _WARM_UP)}


def memory(method: str, settings: dict[str, Any]) -> Mapping[str, Segment]:
    """Peak resident memory [10^6 bytes] of a whole training: replay full, a checkpoint, an evaluation, the export."""
    def train(seconds: float) -> float:
        with tempfile.TemporaryDirectory() as folder:
            config = TrainConfig(num_envs=ALGORITHMS[method].num_envs, output=str(Path(folder) / "run"),
                                 evaluation_episodes=_EPISODES)
            run = Run(method, config, ALGORITHMS[method].config(**settings))
            if not run.learner.on_policy:
                _fill_up(run)
            run.train()
            run.close()
        return peak_mb()
    return {"train": train}


class InTurn:
    """A learner that learns between the environment's steps, as an on-policy one does."""

    on_policy = True

    def __init__(self, learner: Any) -> None:
        self._learner = learner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._learner, name)


class _Ticks:
    """Random transitions of one robot, without end, each the successor of the last."""

    def __iter__(self) -> Any:
        random, no = np.random.default_rng(0), np.zeros(1, bool)
        last = random.standard_normal((1, ANT.observation_size), np.float32)
        while True:
            observation = np.concatenate([last, random.standard_normal((_BLOCK, ANT.observation_size), np.float32)])
            action = random.uniform(-1.0, 1.0, (_BLOCK, ANT.action_size)).astype(np.float32)
            reward = random.standard_normal(_BLOCK, np.float32)
            for i in range(_BLOCK):
                j = i + 1
                yield Transition(observation[i:j], action[i:j], reward[i:j], no, no, observation[j:j + 1])
            last = observation[-1:]


def _learner(method: str, num_envs: int, settings: dict[str, Any]) -> Any:
    entry = ALGORITHMS[method]
    return entry.learner(entry.config(**settings), num_envs, ANT.observation_size, ANT.action_size, 0)


def _driven(method: str, num_envs: int, settings: dict[str, Any], wrap: Callable[[Any], Any],
            warm_up: int) -> Segment:
    """Segments of the loop that trains, each going on where the last one ended; `warm_up` updates are over."""
    env = TimeStepEnv(VectorAnt(num_envs, 0, int(os.environ["OMP_NUM_THREADS"])))
    learner = wrap(_learner(method, num_envs, settings))
    time_step = env.reset(0)

    def run(is_over: Callable[[], bool]) -> float:
        nonlocal time_step
        before = learner.env_steps
        time_step = loop.run(env, learner, learner, time_step, lambda step: False,
                             lambda figures: bool(figures) and is_over())  # there are none before learning starts
        return learner.env_steps - before

    def segment(seconds: float) -> float:
        start = time.perf_counter()
        done = run(lambda: time.perf_counter() - start >= seconds)
        return done / (time.perf_counter() - start)

    for _ in range(warm_up):
        run(lambda: True)
    return segment


def _counted(run: Callable[[], Any], amount: float) -> Segment:
    def counted() -> float:
        run()
        return amount

    counted()
    return lambda seconds: rate(seconds, counted)


def _fill_up(run: Run) -> None:
    """Fill the replay buffer and let the run end a little later."""
    ticks = iter(_Ticks())
    count = run.learner_config.replay_capacity
    for _ in range(count):
        run.learner.observe(next(ticks))
    run.learner_config = replace(run.learner_config, total_steps=count + _BEYOND_FULL)


if __name__ == "__main__":
    serve(make)
