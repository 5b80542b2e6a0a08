"""The loop that drives an environment, an actor and a learner in one process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

from ant_rl_core.contracts import Actor, Learner, VectorEnv
from ant_rl_core.step import Previous, TimeStep, transition

OnStep = Callable[[TimeStep], bool]
OnUpdate = Callable[[Mapping[str, float]], bool]


def run(env: VectorEnv, actor: Actor, learner: Learner | None, start: TimeStep, on_step: OnStep,
        on_update: OnUpdate) -> TimeStep:
    """Act, step, observe, update, until a callback ends it.

    A learner that is not on-policy learns from what was observed before while the environment makes its step.

    Args:
        env: environment, already at `start`.
        actor: chooses the actions; shares its parameters with the learner where there is one.
        learner: learns from the transitions; None only runs the actor.
        start: time step to go on from.
        on_step: is given every time step; returns True to end.
        on_update: is given the metrics of every update, between two steps; those of a learner that is not on-policy at
            every tick, empty before it learns. Returns True to end.

    Returns:
        The last time step, from which another call can go on.
    """
    time_step = start
    previous = Previous.none(env.num_envs, env.action_size)
    state = actor.initial_state(env.num_envs)
    with ThreadPoolExecutor(1, "env") as background:
        while True:
            version = actor.version
            before = previous, state
            action, extras, state = actor.act(time_step.observation, previous, state, time_step.trial_first)
            metrics = None if learner is None or learner.on_policy else {}
            if learner is not None and not learner.on_policy and learner.ready():
                stepping = background.submit(env.step, action)
                metrics = learner.update()
                after = stepping.result()
            else:
                after = env.step(action)
            if learner is not None:
                learner.observe(transition(time_step, action, after, extras, version, *before))
                if learner.on_policy and learner.ready():
                    metrics = learner.update()
            previous = Previous(action, after.reward, after.done)
            time_step = after
            if on_step(after) or metrics is not None and on_update(metrics):
                return after
