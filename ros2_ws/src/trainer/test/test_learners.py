"""What every learning method must be able to do, whatever it is: known optima, known values, exact repetition."""

import copy
import functools
import itertools
from contextlib import closing
from dataclasses import fields, replace

import gymnasium
import numpy as np
import pytest
from trials import GAMMA, TRIED_ELSEWHERE, WITHOUT_TASKS, imagines_ants, others, trial

from ant_rl_core import bundle as policy_bundle
from ant_rl_core.spec import ANT, RobotSpec
from ant_rl_core.step import Previous, TimeStepEnv
from ant_rl_core.testing import EndlessRewardEnv, FakeActor, FakeVectorEnv, IdentityEnv
from policy_node.actor import load_actor
from trainer import loop
from trainer.algorithms.meta.recurrent_actor_critic import TASK_SIZE, inputs_of
from trainer.algorithms.table import ALGORITHMS

METHODS = WITHOUT_TASKS  # see test_guided.py for the others


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
        return actor.act(observation, Previous.none(rows, actor.manifest.action_size), actor.initial_state(rows),
                         np.zeros(rows, bool))[0]

    return act


def values_along(learner, env, ticks):
    """What a learner thinks that its states are worth, over the first ticks of episodes it acts in, [ticks, n]."""
    values = []
    with closing(loop.drive(env, learner, env.reset(seed=1))) as moves:
        for move in itertools.islice(moves, ticks):
            observation = move.before.observation
            if not learner.on_policy:
                values.append(learner.value(observation))
            elif hasattr(learner.model.actor, "state_shapes"):
                before = move.previous.forgotten(move.before.trial_first)
                inputs = inputs_of(learner.model.normalize(observation), before.action, before.reward, before.done)
                values.append(learner.model.value(inputs, move.state, np.zeros((env.num_envs, TASK_SIZE), np.float32)))
            else:
                values.append(learner.model.value(learner.model.normalize(observation)))
            assert values[-1].dtype == np.float32 and values[-1].shape == (env.num_envs,)
    return np.array(values)


def saved_copy(learner):
    return {name: np.array(array) for name, array in learner.save().items()}


def small_config(name):
    return ALGORITHMS[name].config(**trial(name).small)


def settings_of(name):
    """The settings of a method that are tried here: without those that it has from another method, which tries them."""
    config = ALGORITHMS[name].config
    bases = {each.config for each in ALGORITHMS.values() if issubclass(config, each.config)} - {config}
    had = {field.name for base in bases for field in fields(base)}
    return [field.name for field in fields(config) if field.name not in TRIED_ELSEWHERE | had]


SETTINGS = {name: settings_of(name) for name in METHODS}


def other(name, setting):
    """The small settings of a method with another value of one of them."""
    config = small_config(name)
    return replace(config, **{setting: others(config, setting)[0]})


def test_every_method_is_tried_with_every_setting():
    for name, settings in SETTINGS.items():
        config = small_config(name)
        assert settings and not [setting for setting in settings if not others(config, setting)], name


@pytest.mark.parametrize("name", METHODS)
def test_policies_name_their_method_as_the_table_does(name, eager):
    learner = make(name, small_config(name), small_env(name))
    assert policy_bundle.unpack(learner.policy()).manifest.algorithm == name


# -- what it must be able to learn -------------------------------------------------------------------------------------

@functools.cache
def begun(name):
    """A learner for four robots and how it was at the start, to which `restore` takes it; it is compiled but once."""
    tried = trial(name)
    learner = make(name, dict(tried.learning, total_steps=4 * tried.steps), IdentityEnv(4, 2))
    return learner, saved_copy(learner)


def learned(name, env, share=1.0):
    """A learner that began with `env` and spent this share of its trial's steps there."""
    learner, start = begun(name)
    learner.restore(start)
    train(env, learner, int(share * trial(name).steps))
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
    return values_along(learner, EndlessRewardEnv(4, 10, action_size=2), 9)


@pytest.mark.parametrize("name", METHODS)
def test_the_value_of_endless_reward_is_one_over_one_minus_gamma(name):
    learner = learned(name, EndlessRewardEnv(4, 10, action_size=2), 2.0)
    np.testing.assert_allclose(endless_values(learner), 10.0, rtol=0.04)
    train(LimitIsAnEnd(4, 10, action_size=2), learner, learner.env_steps + trial(name).steps)
    assert endless_values(learner).max() < 9.5, "a learner that took the limit for an end would not be found out"


@pytest.mark.parametrize("name", METHODS)
def test_the_value_before_a_true_end_is_that_of_the_steps_left(name):
    learner = learned(name, EndlessRewardEnv(4, 10, terminates=True, action_size=2), 1.5)
    values = values_along(learner, EndlessRewardEnv(4, 10, terminates=True, action_size=2), 10)
    left = np.arange(10, 0, -1)
    np.testing.assert_allclose(values, np.tile((1 - GAMMA**left) / (1 - GAMMA), (4, 1)).T, atol=0.4)


def pendulum(num_envs):
    env = gymnasium.make_vec("Pendulum-v1", num_envs, vectorization_mode="sync", vector_kwargs={
        "autoreset_mode": gymnasium.vector.AutoresetMode.SAME_STEP})
    return TimeStepEnv(gymnasium.wrappers.vector.RescaleAction(env, -1.0, 1.0))


def pendulum_return(learner, episodes=30):
    """Mean return of the policy over whole episodes of 200 steps, always the same ones."""
    env, total = pendulum(episodes), 0.0
    actor = load_actor(policy_bundle.unpack(learner.policy()))
    with closing(loop.drive(env, actor, env.reset(seed=1000))) as moves:
        for _ in range(200):
            time_step = next(moves).after
            total += time_step.reward.mean()
    assert time_step.truncated.all()
    env.close()
    return total


@pytest.mark.parametrize("name", [name for name in METHODS if trial(name).pendulum_steps])
def test_another_task_of_gymnasium_is_learned(name):
    """Swinging a pendulum up and holding it: doing nothing gives about -1200, the best about -150."""
    tried = trial(name)
    env = pendulum(tried.pendulum_envs)
    learner = make(name, dict(tried.pendulum, total_steps=tried.pendulum_steps), env, seed=1)
    before = pendulum_return(learner)
    train(env, learner, tried.pendulum_steps)
    after = pendulum_return(learner)
    env.close()
    assert before < -1000 and after > before + 700, f"{before:.0f} became {after:.0f}"


# -- repetition --------------------------------------------------------------------------------------------------------

# Every method, and once more with each setting that makes networks of another kind.
VARIANTS = [*((name, None) for name in METHODS),
            *((name, setting) for name in METHODS for setting in ("network", "embedding_size")
              if setting in SETTINGS[name])]
STEPS = 32  # enough for several updates with `small`, and for every setting to count
FURTHER = 16  # a rollout more


class SmallRewards(FakeVectorEnv):
    """The same, with rewards of both signs and of the size of untrained values."""

    def _reward(self, action):
        return np.sin(self._episodes.step + 2.0 * np.arange(self.num_envs)) + action.mean(axis=1)


def small_env(name):
    sizes = (ANT.observation_size, ANT.action_size) if imagines_ants(name) else (5, 2)
    return SmallRewards(2, (3, 7), RobotSpec("fake", *sizes, 1.0))


def assert_same(first, second):
    assert first.keys() == second.keys()
    different = [name for name in first if not np.array_equal(first[name], second[name])]
    assert not different


def variant(name, setting):
    return small_config(name) if setting is None else other(name, setting)


@functools.cache
def trained(name, config, seed=0):
    """All that a learner is at the start, all that it is after a few updates, and what it does then."""
    env = small_env(name)
    learner = make(name, config, env, seed)
    start = saved_copy(learner)
    last, _ = train(env, learner, STEPS)
    end = saved_copy(learner)
    end["action"], _, _ = learner.act(last.observation, Previous.none(2, env.action_size), learner.initial_state(2),
                                      np.zeros(2, bool))
    return start, end


@pytest.mark.parametrize(("name", "setting"), VARIANTS)
def test_the_seed_decides_everything(name, setting, eager):
    config = variant(name, setting)
    (start, first), (_, again) = trained(name, config), trained.__wrapped__(name, replace(config))
    other_start, other = trained(name, config, 2)
    assert_same(first, again)
    parameters = [key for key, array in first.items() if key.startswith("variable_") and array.ndim == 2]
    assert parameters
    for key in parameters:
        changed = not np.array_equal(first[key], start[key])
        assert changed and not np.array_equal(first[key], other[key]), key
    # All weights depend on the seed from the start on; what is zero is an optimizer's.
    assert all(not start[key].any() or not np.array_equal(start[key], other_start[key]) for key in parameters)
    assert not np.array_equal(first["noise"], other["noise"])


@pytest.mark.parametrize(("name", "setting"), VARIANTS)
def test_a_restored_run_equals_an_unbroken_one_bit_for_bit(name, setting, eager):
    env, settings = small_env(name), variant(name, setting)
    end = STEPS + (2 * FURTHER if ALGORITHMS[name].learner.on_policy else FURTHER)
    unbroken = make(name, settings, env, seed=7)
    broken_off, _ = train(env, unbroken, STEPS - 4)  # within a rollout
    saved, env_then = saved_copy(unbroken), copy.deepcopy(env)
    kept = copy.deepcopy(saved)
    _, expected = train(env, unbroken, end, start=broken_off)
    learner = make(name, settings, env, seed=8)
    learner.restore(saved)
    assert_same(saved_copy(learner), saved)
    _, found = train(env_then, learner, end, start=broken_off)
    assert found == expected and len(found) > 1
    assert_same(saved_copy(learner), saved_copy(unbroken))
    assert learner.version == unbroken.version and learner.env_steps == unbroken.env_steps == end
    assert_same(saved, kept)  # nothing later reaches what was saved


@pytest.mark.parametrize("name", METHODS)
def test_a_restored_run_goes_on_with_its_own_settings(name, eager):
    env = small_env(name)
    rates = [setting for setting in SETTINGS[name] if setting.endswith("learning_rate")]
    saved = make(name, small_config(name), env, seed=7)
    start, _ = train(env, saved, STEPS)
    found = []
    for key in [None, *rates]:
        learner = make(name, variant(name, key), env, seed=8)
        learner.restore(saved_copy(saved))
        train(copy.deepcopy(env), learner, STEPS + FURTHER, start=start)
        found.append(saved_copy(learner))
    assert rates or len(SETTINGS[name]) < len(fields(ALGORITHMS[name].config)) / 2  # it has another method's
    for key, arrays in zip(rates, found[1:], strict=True):
        assert any(not np.array_equal(found[0][array], arrays[array]) for array in arrays
                   if array.startswith("variable_")), key


@pytest.mark.parametrize("name", METHODS)
def test_the_state_of_other_networks_is_refused_and_changes_nothing(name):
    sizes = [setting for setting in SETTINGS[name]
             if setting.endswith("hidden") or setting in ("width", "embedding_size")]
    env = small_env(name)
    learner = make(name, small_config(name), env)
    assert sizes
    for key in sizes:
        unlike = make(name, other(name, key), env, seed=1)
        before = saved_copy(unlike)
        with pytest.raises(ValueError, match="the checkpoint is of other networks than these settings give"):
            unlike.restore(learner.save())
        assert_same(before, saved_copy(unlike))


# -- settings ----------------------------------------------------------------------------------------------------------

def outcome(name, config):
    """What a learner has learned after a few updates, and what it does then."""
    _, end = trained(name, config)
    return {key: array.tobytes() for key, array in end.items() if key == "action" or key.startswith("variable_")}


@pytest.mark.parametrize(("name", "setting"), [(name, setting) for name in METHODS for setting in SETTINGS[name]])
def test_every_setting_changes_what_is_learned(name, setting, eager):
    """That those of before change nothing, `test_the_seed_decides_everything` shows."""
    config = small_config(name)
    # What bounds something counts where it is met: not every other value changes something in so few updates.
    assert any(outcome(name, replace(config, **{setting: value})) != outcome(name, config)
               for value in others(config, setting))


# -- numbers that are none ---------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name", METHODS)
def test_a_weight_that_is_no_number_ends_the_training_with_a_name(name, eager):
    env = small_env(name)
    learner = make(name, small_config(name), env)
    state = saved_copy(learner)
    state["variable_0"][:] = np.nan
    learner.restore(state)
    text = r"^\w+ became nan \(and \S+ with it\) at \d+ environment steps; the last checkpoint is the last good one$"
    with pytest.raises(FloatingPointError, match=text):
        loop.run(env, FakeActor(env.spec), learner, env.reset(), lambda _: learner.env_steps >= STEPS, lambda _: False)
