"""The loop that drives an environment, an actor and a learner in one process."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np

from ant_rl_core.contracts import Actor, Learner, VectorEnv
from ant_rl_core.step import Previous, TimeStep, Transition, transition
from ant_rl_core.timing import StageTimer

OnStep = Callable[[TimeStep], bool]
OnUpdate = Callable[[Mapping[str, float]], bool]


@dataclass(frozen=True)
class Move:
    """One choice of the actor and what came of it.

    Attributes:
        before, previous, state: what the actor saw, what it was told of the move before, and its memory.
        action: float32 [n, action_size], chosen and applied.
        extras: what the actor reported, e.g. log_prob float32 [n].
        policy_version: version of the actor that chose.
        after: what the environment returned.
    """

    before: TimeStep
    previous: Previous
    state: Any
    action: np.ndarray
    extras: Mapping[str, np.ndarray]
    policy_version: int
    after: TimeStep

    def transition(self) -> Transition:
        """The move as learners take it."""
        return transition(self.before, self.action, self.after, self.extras, self.policy_version, self.previous,
                          self.state)


def drive(env: VectorEnv, actor: Actor, start: TimeStep, meanwhile: Callable[[], None] | None = None,
          timer: StageTimer | None = None) -> Generator[Move, None, None]:
    """Act and step, without end.

    Args:
        env: environment, already at `start`.
        actor: chooses the actions; its memory begins anew at `start`.
        start: time step to go on from.
        meanwhile: called at each move after the actor has chosen, while the environment makes its step in a thread
            beside; the move comes when both are done.
        timer: records how long each move spends in the stages `inference` and `step`.

    Yields:
        Each move. What is done with it until the next one is asked for is done before the actor acts again.
    """
    stage = timer.stage if timer else lambda _: nullcontext()
    before, previous = start, Previous.none(env.num_envs, env.action_size)
    state = actor.initial_state(env.num_envs)
    with ThreadPoolExecutor(1, "env") as background:
        while True:
            version = actor.version
            with stage("inference"):
                action, extras, following = actor.act(before.observation, previous, state, before.trial_first)
            with stage("step"):
                if meanwhile is None:
                    after = env.step(action)
                else:
                    stepping = background.submit(env.step, action)
                    meanwhile()
                    after = stepping.result()
            yield Move(before, previous, state, action, extras, version, after)
            before, previous, state = after, Previous(action, after.reward, after.done), following


def run(env: VectorEnv, actor: Actor, learner: Learner, start: TimeStep, on_step: OnStep,
        on_update: OnUpdate) -> TimeStep:
    """Act, step, observe, update, until a callback ends it.

    A learner that is not on-policy learns from what was observed before while the environment makes its step.

    Args:
        env: environment, already at `start`.
        actor: chooses the actions; shares its parameters with the learner.
        learner: learns from the transitions.
        start: time step to go on from.
        on_step: is given every time step; returns True to end.
        on_update: is given the metrics of every update, between two steps; those of a learner that is not on-policy at
            every tick, empty before it learns. Returns True to end.

    Returns:
        The last time step, from which another call can go on.
    """
    metrics: Mapping[str, float] | None = None

    def learn() -> None:
        nonlocal metrics
        metrics = learner.update() if learner.ready() else {}

    with closing(drive(env, actor, start, None if learner.on_policy else learn)) as moves:
        while True:
            move = next(moves)
            learner.observe(move.transition())
            if learner.on_policy:
                metrics = learner.update() if learner.ready() else None
            if on_step(move.after) or metrics is not None and on_update(metrics):
                return move.after
