"""What every learning method must be able to do, whatever it is: known optima, known values, exact repetition."""

import copy
import functools
from dataclasses import fields, replace
from typing import Any, NamedTuple

import gymnasium
import numpy as np
import pytest

from ant_rl_core import bundle as policy_bundle
from ant_rl_core.spec import RobotSpec
from ant_rl_core.step import Previous, TimeStepEnv
from ant_rl_core.testing import EndlessRewardEnv, FakeActor, FakeVectorEnv, IdentityEnv
from policy_node.actor import load_actor
from trainer import loop
from trainer.algorithms.table import ALGORITHMS

GAMMA = 0.9

OFF_POLICY = dict(learning_starts=100, batch_size=64, replay_capacity=1000, discount=GAMMA, updates_per_step=0.5)
ACTOR_CRITIC = dict(OFF_POLICY, actor_learning_rate=2e-3, critic_learning_rate=4e-3, target_share=0.1,
                    actor_hidden=(32,), critic_hidden=(32,))
ON_POLICY = dict(learning_rate=1e-2, discount=GAMMA, gae_lambda=0.9, max_gradient_norm=10.0, initial_log_std=-1.0,
                 actor_hidden=(32,), critic_hidden=(32,))

# A value other than the one in `small` for every setting that all methods of a kind have.
OFF_POLICY_CHANGES = dict(
    total_steps=500, learning_starts=3, updates_per_step=0.5, batch_size=5, replay_capacity=6, n_step=3, discount=0.5,
    prioritized=False, priority_exponent=0.1, importance_exponent=0.0, importance_exponent_end=0.2,
    normalize_observations=False, observation_min_std=0.2, observation_clip=0.5, precision="bfloat16")
ACTOR_CRITIC_CHANGES = dict(OFF_POLICY_CHANGES, actor_learning_rate=1e-2, critic_learning_rate=1e-2, target_share=0.5,
                            actor_hidden=(5,), critic_hidden=(6, 6), embedding_size=3)
TWIN_CRITIC_CHANGES = dict(ACTOR_CRITIC_CHANGES, critic_layer_norm=True, critic_batch_renorm=True, momentum=0.5)
NOISE_CHANGES = dict(exploration_std=0.7, target_noise_std=0.9, target_noise_clip=0.01, actor_interval=1)
ON_POLICY_CHANGES = dict(
    total_steps=500, rollout_length=16, learning_rate=1e-2, learning_rate_end=0.5, discount=0.5, gae_lambda=0.1,
    value_coefficient=2.0, entropy_coefficient=0.5, max_gradient_norm=1e-4, initial_log_std=-1.5, min_std=0.6065,
    observation_clip=0.1, actor_hidden=(6, 6), critic_hidden=(6,))


class Case(NamedTuple):
    """What a method is tried with.

    Attributes:
        learning: settings with which it solves small tasks fast, with four robots.
        steps: environment steps that it needs for them.
        small: settings for a few updates of tiny networks in which every setting plays a part.
        changes: another value for each setting of `small`.
        pendulum: settings that differ from `learning` on the pendulum.
        pendulum_steps: environment steps that it needs there; 0 where it is not tried.
        pendulum_envs: robots there.
    """

    learning: dict[str, Any]
    steps: int
    small: dict[str, Any]
    changes: dict[str, Any]
    pendulum: dict[str, Any]
    pendulum_steps: int
    pendulum_envs: int


def off_policy(learning, changes, small, pendulum, steps=1000, pendulum_steps=2200):
    small = dict(total_steps=60, learning_starts=8, updates_per_step=0.25, batch_size=8, replay_capacity=100,
                 prioritized=True, importance_exponent=0.4, importance_exponent_end=1.0,
                 normalize_observations=True, **small)
    pendulum = dict(learning_starts=400, replay_capacity=10_000, discount=0.97, updates_per_step=1.0, **pendulum)
    return Case(learning, steps, small, changes, pendulum, pendulum_steps, 4)


def on_policy(learning, changes, small, pendulum, steps, pendulum_steps):
    small = {**dict(rollout_length=8, total_steps=1000, actor_hidden=(8,), critic_hidden=(8,)), **small}
    return Case(learning, steps, small, changes, pendulum, pendulum_steps, 16)


TINY = dict(actor_hidden=(8,), critic_hidden=(8,))
SWINGING_UP = dict(actor_hidden=(64, 64), critic_hidden=(64, 64), actor_learning_rate=2e-3, critic_learning_rate=3e-3,
                   target_share=0.02)
CASES = {
    "ppo": on_policy(
        dict(ON_POLICY, rollout_length=32, epochs=10, minibatch_size=64, desired_kl=0.0),
        dict(ON_POLICY_CHANGES, epochs=3, minibatch_size=4, clip_ratio=1e-3, target_kl=1e-9, desired_kl=1e-9),
        dict(epochs=2, minibatch_size=8),
        dict(learning_rate=3e-3, minibatch_size=128, rollout_length=64, discount=0.95, gae_lambda=0.95,
             initial_log_std=0.0), steps=2560, pendulum_steps=64_000),
    "a2c": on_policy(
        dict(ON_POLICY, rollout_length=8), dict(ON_POLICY_CHANGES, rms_decay=0.5, rms_epsilon=0.1),
        dict(rollout_length=4), {}, steps=6400, pendulum_steps=0),
    "ddpg": off_policy(
        dict(ACTOR_CRITIC, n_step=1, max_torque=1.0, exploration_std=0.3, exploration_std_end=0.1),
        dict(ACTOR_CRITIC_CHANGES, max_torque=0.8, network="report", exploration_std=0.9, exploration_std_end=0.5,
             exploration_steps=10), dict(TINY, network="plain", exploration_steps=20),
        dict(SWINGING_UP, exploration_std=0.2)),
    "td3": off_policy(
        dict(ACTOR_CRITIC, max_torque=1.0, exploration_std=0.3, embedding_size=8),
        dict(TWIN_CRITIC_CHANGES, **NOISE_CHANGES, max_torque=0.8, actor_critics=1),
        dict(TINY, embedding_size=0),
        dict(SWINGING_UP, exploration_std=0.2)),
    "sac": off_policy(
        dict(ACTOR_CRITIC, initial_temperature=1e-3, temperature_learning_rate=0.0, embedding_size=8),
        dict(TWIN_CRITIC_CHANGES, temperature_learning_rate=0.1, initial_temperature=0.1, target_entropy=2.0,
             actor_interval=1), dict(TINY, embedding_size=0),
        dict(SWINGING_UP, initial_temperature=0.1, temperature_learning_rate=2e-3)),
    "td7": off_policy(
        dict(OFF_POLICY, actor_learning_rate=2e-3, critic_learning_rate=4e-3, encoder_learning_rate=2e-3, width=32,
             target_interval=20, exploration_std=0.3),
        dict(OFF_POLICY_CHANGES, **NOISE_CHANGES, actor_learning_rate=1e-2, critic_learning_rate=1e-2,
             encoder_learning_rate=1e-2, width=6, target_interval=3, actor_starts=3), dict(width=8, target_interval=2),
        dict(target_interval=50, exploration_std=0.2)),
    "dqn": off_policy(
        dict(OFF_POLICY, learning_rate=4e-3, target_share=0.1, hidden=(64,), levels=9, max_torque=1.0, epsilon=0.3,
             huber_threshold=100.0, n_step=1),
        dict(OFF_POLICY_CHANGES, levels=5, max_torque=0.7, clipped_double=False, learning_rate=1e-2, target_share=0.5,
             epsilon=0.9, huber_threshold=0.01, max_gradient_norm=1e-3, hidden=(5,), layer_norm=False, n_step=2),
        dict(hidden=(8,)),
        dict(hidden=(64, 64), learning_rate=2e-3, target_share=0.02)),
}
METHODS = list(ALGORITHMS)
TRIED_ELSEWHERE = {"initial_policy"}  # needs a file, see test_td7.py


def make(name, settings, env, seed=0):
    method = ALGORITHMS[name]
    config = method.config(**settings) if isinstance(settings, dict) else settings
    return method.learner(config, env.num_envs, env.observation_size, env.action_size, seed)


def train(env, learner, steps, start=None):
    """Run until it has observed so many steps; returns the last time step and the metrics of each update."""
    metrics = []

    def on_update(found):
        metrics.append(found)
        return False

    last = loop.run(env, learner, learner, start or env.reset(seed=0), lambda _: learner.env_steps >= steps, on_update)
    return last, metrics


def policy_of(learner):
    """The policy as it is handed over: a function from observations to the best actions."""
    actor = load_actor(policy_bundle.unpack(learner.policy()))

    def act(observation):
        rows = len(observation)
        return actor.act(observation, Previous.none(rows, actor.manifest.action_size), (), np.zeros(rows, bool))[0]

    return act


def value_of(learner, observation):
    if learner.on_policy:
        return learner.model.value(learner.model.normalize(observation))
    return learner.value(observation)


def saved_copy(learner):
    return {name: np.array(array) for name, array in learner.save().items()}


def test_every_method_is_tried_with_every_setting():
    assert set(CASES) == set(ALGORITHMS)
    for name, case in CASES.items():
        config = ALGORITHMS[name].config(**case.small)
        assert set(case.changes) == {field.name for field in fields(config)} - TRIED_ELSEWHERE, name
        same = [key for key, value in case.changes.items() if value == getattr(config, key)]
        assert not same, f"{name}: {same} must be other values than those of `small`"


# -- what it must be able to learn -------------------------------------------------------------------------------------

@functools.cache
def begun(name):
    """A learner for four robots and how it was at the start, to which `restore` takes it; it is compiled but once."""
    case = CASES[name]
    learner = make(name, dict(case.learning, total_steps=4 * case.steps), IdentityEnv(4, 2))
    return learner, saved_copy(learner)


def learned(name, env, share=1.0):
    """A learner that began with `env` and spent this share of its case's steps there."""
    learner, start = begun(name)
    learner.restore(start)
    train(env, learner, int(share * CASES[name].steps))
    return learner


@pytest.mark.parametrize("name", METHODS)
def test_the_identity_is_learned(name):
    policy = policy_of(learned(name, IdentityEnv(4, 2)))
    observation = np.random.default_rng(1).uniform(-0.8, 0.8, (1000, 2)).astype(np.float32)
    reward = 1.0 - np.square(policy(observation) - observation).mean()
    assert reward > 0.95, "doing nothing gives 0.79"


class LimitIsAnEnd(EndlessRewardEnv):
    """The same, but it calls its time limit a true end, as a learner would that takes the two for one."""

    def _ends(self):
        terminated, truncated = super()._ends()
        return truncated, terminated


def endless_values(learner):
    return value_of(learner, np.tile(np.array([[1.0, 0.0]], np.float32), (4, 1)))


@pytest.mark.parametrize("name", METHODS)
def test_the_value_of_endless_reward_is_one_over_one_minus_gamma(name):
    learner = learned(name, EndlessRewardEnv(4, 10, action_size=2), 2.0)
    values = endless_values(learner)
    assert values.dtype == np.float32 and values.shape == (4,)
    np.testing.assert_allclose(values, 10.0, rtol=0.04)
    train(LimitIsAnEnd(4, 10, action_size=2), learner, learner.env_steps + CASES[name].steps)
    assert endless_values(learner).max() < 9.5, "a learner that took the limit for an end would not be found out"


@pytest.mark.parametrize("name", METHODS)
def test_the_value_before_a_true_end_is_that_of_the_steps_left(name):
    left = np.arange(1, 11)
    learner = learned(name, EndlessRewardEnv(4, 10, terminates=True, action_size=2), 1.5)
    observation = np.column_stack([np.ones(10), left / 10]).astype(np.float32)
    np.testing.assert_allclose(value_of(learner, observation), (1 - GAMMA**left) / (1 - GAMMA), atol=0.4)


def pendulum(num_envs):
    env = gymnasium.make_vec("Pendulum-v1", num_envs, vectorization_mode="sync", vector_kwargs={
        "autoreset_mode": gymnasium.vector.AutoresetMode.SAME_STEP})
    return TimeStepEnv(gymnasium.wrappers.vector.RescaleAction(env, -1.0, 1.0))


def pendulum_return(policy, episodes=30):
    """Mean return of the policy over whole episodes of 200 steps, always the same ones."""
    env, total = pendulum(episodes), 0.0
    time_step = env.reset(seed=1000)
    for _ in range(200):
        time_step = env.step(policy(time_step.observation))
        total += time_step.reward.mean()
    assert time_step.truncated.all()
    env.close()
    return total


# A2C's one gradient step per rollout is too little here (-1,244 became -1,110 in 128,000 steps): test_a2c.py has an
# easier task.
@pytest.mark.parametrize("name", [name for name in METHODS if CASES[name].pendulum_steps])
def test_another_task_of_gymnasium_is_learned(name):
    """Swinging a pendulum up and holding it: doing nothing gives about -1200, the best about -150."""
    case = CASES[name]
    env = pendulum(case.pendulum_envs)
    learner = make(name, {**case.learning, "total_steps": case.pendulum_steps, **case.pendulum}, env, seed=1)
    before = pendulum_return(policy_of(learner))
    train(env, learner, case.pendulum_steps)
    after = pendulum_return(policy_of(learner))
    env.close()
    assert before < -1000 and after > before + 700, f"{before:.0f} became {after:.0f}"


# -- repetition --------------------------------------------------------------------------------------------------------

VARIANTS = [*((name, {}) for name in METHODS), ("ddpg", {"network": "default"}),
            *((name, {"embedding_size": 3}) for name in ("ddpg", "td3", "sac"))]
STEPS = 32  # enough for several updates with `small`, and for every setting to count


class SmallRewards(FakeVectorEnv):
    """The same, with rewards of both signs and of the size of untrained values."""

    def _reward(self, action):
        return np.sin(self._episodes.step + 2.0 * np.arange(self.num_envs)) + action.mean(axis=1)


def small_env():
    return SmallRewards(2, (3, 7), RobotSpec("fake", 5, 2, 1.0))


def assert_same(first, second):
    assert first.keys() == second.keys()
    different = [name for name in first if not np.array_equal(first[name], second[name])]
    assert not different


@pytest.mark.parametrize(("name", "extra"), VARIANTS)
def test_the_seed_decides_everything(name, extra, eager):
    def trained(seed):
        env = small_env()
        learner = make(name, {**CASES[name].small, **extra}, env, seed)
        start = saved_copy(learner)
        train(env, learner, STEPS)
        return start, saved_copy(learner)

    (start, first), (_, again), (other_start, other) = trained(1), trained(1), trained(2)
    assert_same(first, again)
    parameters = [key for key, array in first.items() if key.startswith("variable_") and array.ndim == 2]
    assert parameters
    for key in parameters:
        changed = not np.array_equal(first[key], start[key])
        assert changed and not np.array_equal(first[key], other[key]), key
    # All weights depend on the seed from the start on; what is zero is an optimizer's.
    assert all(not start[key].any() or not np.array_equal(start[key], other_start[key]) for key in parameters)
    assert not np.array_equal(first["noise"], other["noise"])


@pytest.mark.parametrize(("name", "extra"), VARIANTS)
def test_a_restored_run_equals_an_unbroken_one_bit_for_bit(name, extra, eager):
    env, settings = small_env(), {**CASES[name].small, **extra}
    unbroken = make(name, settings, env, seed=7)
    broken_off, _ = train(env, unbroken, STEPS - 4)  # within a rollout
    saved, env_then = saved_copy(unbroken), copy.deepcopy(env)
    kept = copy.deepcopy(saved)
    _, expected = train(env, unbroken, 2 * STEPS, start=broken_off)
    learner = make(name, settings, env, seed=8)
    learner.restore(saved)
    assert_same(saved_copy(learner), saved)
    _, found = train(env_then, learner, 2 * STEPS, start=broken_off)
    assert found == expected and len(found) > 1
    assert_same(saved_copy(learner), saved_copy(unbroken))
    assert learner.version == unbroken.version and learner.env_steps == unbroken.env_steps == 2 * STEPS
    assert_same(saved, kept)  # nothing later reaches what was saved


@pytest.mark.parametrize("name", METHODS)
def test_a_restored_run_goes_on_with_its_own_settings(name, eager):
    case, env = CASES[name], small_env()
    rates = [key for key in case.changes if key.endswith("learning_rate")]
    saved = make(name, case.small, env, seed=7)
    start, _ = train(env, saved, STEPS)
    found = []
    for key in [None, *rates]:
        learner = make(name, case.small if key is None else {**case.small, key: case.changes[key]}, env, seed=8)
        learner.restore(saved_copy(saved))
        train(copy.deepcopy(env), learner, 2 * STEPS, start=start)
        found.append(saved_copy(learner))
    assert rates
    for key, other in zip(rates, found[1:], strict=True):
        assert any(not np.array_equal(found[0][array], other[array]) for array in other
                   if array.startswith("variable_")), key


@pytest.mark.parametrize("name", METHODS)
def test_the_state_of_other_networks_is_refused_and_changes_nothing(name):
    case = CASES[name]
    sizes = [key for key in case.changes if key.endswith("hidden") or key in ("width", "embedding_size")]
    env = small_env()
    learner = make(name, case.small, env)
    for key in sizes:
        other = make(name, {**case.small, key: case.changes[key]}, env, seed=1)
        before = saved_copy(other)
        with pytest.raises(ValueError, match="the checkpoint is of other networks than these settings give"):
            other.restore(learner.save())
        assert_same(before, saved_copy(other))


# -- settings ----------------------------------------------------------------------------------------------------------

@functools.cache
def outcome(name, config):
    """All that a learner is after a few updates, and what it does then."""
    env = small_env()
    learner = make(name, config, env)
    last, _ = train(env, learner, STEPS)
    arrays = {key: array for key, array in saved_copy(learner).items() if key.startswith("variable_")}
    arrays["action"] = learner.act(last.observation, Previous.none(2, 2), (), np.zeros(2, bool))[0]
    return {key: array.tobytes() for key, array in arrays.items()}


@pytest.mark.parametrize(("name", "setting"), [
    (name, setting) for name in METHODS for setting in CASES[name].changes])
def test_every_setting_changes_what_is_learned(name, setting, eager):
    config = ALGORITHMS[name].config(**CASES[name].small)
    assert outcome(name, replace(config, **{setting: CASES[name].changes[setting]})) != outcome(name, config)


@pytest.mark.parametrize("name", METHODS)
def test_settings_unchanged_change_nothing(name, eager):
    config = ALGORITHMS[name].config(**CASES[name].small)
    assert outcome(name, config) == outcome.__wrapped__(name, replace(config))


# -- numbers that are none ---------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name", METHODS)
def test_a_weight_that_is_no_number_ends_the_training_with_a_name(name, eager):
    env = small_env()
    learner = make(name, CASES[name].small, env)
    state = saved_copy(learner)
    state["variable_0"][:] = np.nan
    learner.restore(state)
    text = r"^\w+ became nan \(and \S+ with it\) at \d+ environment steps; the last checkpoint is the last good one$"
    with pytest.raises(FloatingPointError, match=text):
        loop.run(env, FakeActor(env.spec), learner, env.reset(), lambda _: learner.env_steps >= STEPS, lambda _: False)
