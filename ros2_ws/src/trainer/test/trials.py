"""Settings that a method is tried with, made of the fields that its configuration has: no method is named here."""

import functools
from dataclasses import fields, replace
from typing import Any, NamedTuple

from ant_rl_core.settings import ArgumentError, Settings, settings_of
from ant_rl_core.spec import ANT
from trainer.algorithms.table import ALGORITHMS

GAMMA = 0.9
WITHOUT_TASKS = [name for name, method in ALGORITHMS.items() if not (method.needs_tasks or method.needs_ant)]

# What solves small tasks fast, with four robots, of methods that learn from their present policy alone and of others.
_LEARNING = {
    True: dict(rollout_length=8, minibatch_size=32, minibatch_rows=4, learning_rate=1e-2, discount=GAMMA,
               gae_lambda=0.9, max_gradient_norm=10.0, initial_log_std=-1.0, actor_hidden=(32,), critic_hidden=(32,),
               input_hidden=(32,), memory_size=16),
    False: dict(learning_starts=100, batch_size=64, replay_capacity=1000, n_step=1, discount=GAMMA,
                updates_per_step=0.5, learning_rate=4e-3, encoder_learning_rate=2e-3, actor_learning_rate=2e-3,
                critic_learning_rate=4e-3, target_share=0.1, target_interval=20, actor_hidden=(32,),
                critic_hidden=(32,), hidden=(64,), width=32, embedding_size=8, max_torque=1.0, exploration_std=0.3,
                exploration_std_end=0.1)}
# What differs on the pendulum.
_PENDULUM = {
    True: dict(rollout_length=64, minibatch_size=128, learning_rate=3e-3, discount=0.95,
               gae_lambda=0.95, initial_log_std=0.0),
    False: dict(learning_starts=400, replay_capacity=10_000, discount=0.97, updates_per_step=1.0, learning_rate=2e-3,
                target_share=0.02, target_interval=50, actor_hidden=(64, 64),
                critic_hidden=(64, 64), hidden=(64, 64), exploration_std=0.2)}
# The same, where targets follow at every step instead of being renewed seldom.
_PENDULUM_FOLLOWED = dict(critic_learning_rate=3e-3)
# A few updates of tiny networks in which every setting plays a part: what bounds something is near what it bounds.
_SMALL = {
    True: dict(total_steps=1000, rollout_length=8, minibatch_size=8, minibatch_rows=2, epochs=3, learning_rate=3e-3,
               entropy_coefficient=-0.5, min_std=0.6065, clip_ratio=0.02, reward_clip=0.5,
               actor_hidden=(8,), critic_hidden=(8,), input_hidden=(8,), memory_size=8, branches=3, horizon=2,
               code_size=4, joint_size=8, rollout_policy_hidden=(8,), model_hidden=(8,), random_steps=16,
               model_steps=16, model_batches=4, model_interval=1),
    False: dict(total_steps=60, learning_starts=8, updates_per_step=0.25, batch_size=8, replay_capacity=20,
                prioritized=True, importance_exponent=0.4, importance_exponent_end=1.0, normalize_observations=True,
                observation_clip=1.0, huber_threshold=0.5, max_gradient_norm=0.5, epsilon=0.5,
                exploration_steps=20, target_interval=2, network="plain", embedding_size=0, actor_hidden=(8,),
                critic_hidden=(8,), hidden=(8,), width=8)}
TRIED_ELSEWHERE = {"initial_policy", "model"}  # need a file, see test_td7.py, test_rl2.py and test_i2a.py


def imagines_ants(name: str) -> bool:
    """Whether a method imagines, with its usual settings, and so learns with Ants alone."""
    return "imagination" in {field.name for field in fields(ALGORITHMS[name].config)}


class Trial(NamedTuple):
    """What a method is tried with.

    Attributes:
        learning: settings with which it solves small tasks fast, with four robots.
        steps: environment steps that it needs for them.
        small: settings for a few updates of tiny networks in which every setting plays a part.
        pendulum: settings for the pendulum.
        pendulum_steps: environment steps that it needs there; 0 where it is not tried.
        pendulum_envs: robots there.
    """

    learning: dict[str, Any]
    steps: int
    small: dict[str, Any]
    pendulum: dict[str, Any]
    pendulum_steps: int
    pendulum_envs: int


@functools.cache
def trial(name: str) -> Trial:
    """What the method of this name is tried with."""
    method = ALGORITHMS[name]
    on_policy, defaults = method.learner.on_policy, {field.name: field.default for field in fields(method.config)}

    def fitting(table: dict[str, Any]) -> dict[str, Any]:
        """What the method has of these settings; it has no embeddings where its default is to have none."""
        return {key: value for key, value in table.items()
                if key in defaults and not (key == "embedding_size" and not defaults[key])}

    small = fitting(_SMALL[on_policy])
    learning = {**fitting(_LEARNING[on_policy]), **method.short_run}
    pendulum = {**learning, **fitting(_PENDULUM[on_policy])}
    if "target_share" in defaults:
        pendulum |= fitting(_PENDULUM_FOLLOWED)
    if not on_policy:
        return Trial(learning, 1000, small, pendulum, 2200, 4)
    # Who learns but once from each rollout learns too little in the pendulum's 64,000 steps: A2C, whose settings these
    # are, gets from -1,244 to -1,110 in twice as many. test_a2c.py has an easier task.
    # Who learns from whole rows makes a quarter as many gradient steps there, of several times the cost.
    if "minibatch_rows" in defaults:
        return Trial(learning, 2560, small, pendulum, 0, 16)
    return (Trial(learning, 2560, small, pendulum, 64_000, 16) if "epochs" in defaults
            else Trial(learning, 6400, small, pendulum, 0, 16))


def untrained(name: str, **settings: Any) -> Any:
    """A learner of the method for one Ant that has learned nothing, with little replay where it has some."""
    method = ALGORITHMS[name]
    small = {"replay_capacity": 200, "learning_starts": 100, "held_out_ticks": 10}
    known = {field.name for field in fields(method.config)}
    config = method.config(**{key: value for key, value in small.items() if key in known}, **settings)
    return method.learner(config, 1, ANT.observation_size, ANT.action_size, seed=1)


def others(config: Settings, name: str) -> list[Any]:
    """Other values of a setting that go with the rest of `config`, from near to far."""
    (setting,) = (each for each in settings_of(type(config)) if each.name == name)
    value = getattr(config, name)
    candidates = {bool: lambda: [not value], int: lambda: [value // 2, 3, value + 1, 1],
                  float: lambda: [0.5 * value, 1e-6, 0.5], tuple: lambda: [(5,), (6, 6)], str: list}[type(value)]()
    return [other for other in setting.choices or candidates if other != value and _is_allowed(config, name, other)]


def _is_allowed(config: Settings, name: str, value: Any) -> bool:
    try:
        replace(config, **{name: value})
    except ArgumentError:
        return False
    return True
