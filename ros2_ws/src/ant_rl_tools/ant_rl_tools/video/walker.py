"""A robot that a policy walks, and its picture."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ant_env_node.tasks.ant import TaskAnt
from ant_env_node.vec_env import VectorAnt
from ant_rl_core.contracts import Actor
from ant_rl_core.step import Previous, TimeStep, TimeStepEnv
from trainer.loop import Move, drive
from viewer_node.offscreen import Camera
from viewer_node.paint import paint


class MeteredActor:
    """An actor whose choices are measured.

    Attributes:
        latencies: of each choice [s].
        processor_seconds: that all of them took in the thread that asked for them [s].
    """

    def __init__(self, actor: Actor) -> None:
        self._actor = actor
        self.version, self.initial_state = actor.version, actor.initial_state
        self.latencies: list[float] = []
        self.processor_seconds = 0.0

    def act(self, observation: np.ndarray, previous: Previous, state: Any,
            reset_mask: np.ndarray) -> tuple[np.ndarray, Mapping[str, np.ndarray], Any]:
        """As `Actor.act`."""
        started, processor = time.perf_counter(), time.thread_time()
        chosen = self._actor.act(observation, previous, state, reset_mask)
        self.processor_seconds += time.thread_time() - processor
        self.latencies.append(time.perf_counter() - started)
        return chosen


class Walker:
    """One robot and what walks it, tick by tick.

    Args:
        actor: what walks.
        ant: the simulation, of one robot.

    Attributes:
        ant: the same.
        time_step: the newest.
    """

    time_step: TimeStep
    _moves: Iterator[Move]

    def __init__(self, actor: Actor, ant: VectorAnt) -> None:
        self.ant = ant
        self._actor, self._env = actor, TimeStepEnv(ant)
        self._picture: np.ndarray | None = None

    def begin(self, seed: int) -> None:
        """A new episode, and a fresh memory."""
        self.time_step = self._env.reset(seed)
        self._moves = drive(self._env, self._actor, self.time_step)

    def step(self) -> Move:
        """One control tick; where an episode ended with it, the robot stands at the start of the next."""
        move = next(self._moves)
        self.time_step = move.after
        return move

    def picture(self, camera: Camera) -> np.ndarray:
        """The robot; at the end of an episode the picture before, as the robot is reset at once."""
        if not self.time_step.done[0] or self._picture is None:
            ball = None
            if isinstance(self.ant, TaskAnt):
                paint(camera.model, self.ant.tasks[0].gear)
                ball = self.ant.ball(0)
            self._picture = camera.picture(self.ant.data(0), ball)
        return self._picture

    def close(self) -> None:
        """End the simulation's threads."""
        self._env.close()
