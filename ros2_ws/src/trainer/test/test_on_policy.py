"""What PPO and A2C share: the networks' likelihoods and values, acting, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest

from ant_env_node.vec_env import VectorAnt
from ant_rl_core.step import Previous, TimeStepEnv, Transition
from trainer import loop
from trainer.algorithms.on_policy.a2c import A2C, A2CConfig
from trainer.algorithms.on_policy.ppo import PPO, PPOConfig

TINY = dict(rollout_length=8, total_steps=1000, actor_hidden=(8,), critic_hidden=(8,))
SMALL = {PPO: PPOConfig(epochs=2, minibatch_size=8, **TINY), A2C: A2CConfig(**TINY)}
both = pytest.mark.parametrize("method", list(SMALL))


def make(method, num_envs=2, observation_size=5, action_size=2, seed=0, **changes):
    return method(replace(SMALL[method], **changes), num_envs, observation_size, action_size, seed)


def transition_of(learner, **changes):
    n, model = learner.num_envs, learner.model
    observation, no = np.ones((n, model.observation_size), np.float32), np.zeros(n, bool)
    batch = Transition(observation, np.zeros((n, model.action_size), np.float32), np.ones(n, np.float32), no, no,
                       observation.copy())
    return replace(batch, **changes)


@both
def test_a_run_on_the_ant_that_was_broken_off_equals_an_unbroken_one_bit_for_bit(method, eager):
    def begin():
        env = TimeStepEnv(VectorAnt(2, seed=5, num_threads=1))
        return env, make(method, observation_size=env.observation_size, action_size=env.action_size, seed=7)

    def train(env, learner, start, until):
        return loop.run(env, learner, learner, start, lambda _: False, lambda _: learner.env_steps >= until)

    env, unbroken = begin()
    middle = train(env, unbroken, env.reset(), 80)
    middle = loop.run(env, unbroken, unbroken, middle, lambda _: unbroken.buffer.size == 3, lambda _: False)
    saved = {name: np.array(array) for name, array in unbroken.save().items()}
    saved_env = {name: np.array(array) for name, array in env.save().items()}
    last = train(env, unbroken, middle, 160)
    env.close()
    env, learner = begin()
    learner.restore(saved)
    found = train(env, learner, env.restore(saved_env), 160)
    env.close()
    expected = unbroken.save()
    assert all(np.array_equal(expected[name], array) for name, array in learner.save().items())
    assert np.array_equal(last.observation, found.observation)


@both
def test_a_rollout_under_way_is_kept_and_another_is_refused(method):
    learner, other = make(method), make(method, seed=1)
    batches = [transition_of(learner, reward=np.full(2, t, np.float32)) for t in range(3)]
    for batch in batches:
        learner.observe(batch)
    saved = {name: np.array(array) for name, array in learner.save().items()}
    learner.observe(batches[0])
    other.restore(saved)
    assert other.buffer.size == 3 and other.env_steps == 6
    assert np.array_equal(other.buffer.reward[:3], [[0, 0], [1, 1], [2, 2]])
    with pytest.raises(ValueError, match="3 ticks of 2 rows, which 2 ticks of 2 can't hold: set rollout_length"):
        make(method, rollout_length=2, **({"minibatch_size": 2} if method is PPO else {})).restore(saved)


@both
@pytest.mark.parametrize("name", ["observation", "next_observation", "action", "reward"])
def test_what_is_not_a_number_is_refused_before_it_is_learned_from(method, name):
    learner = make(method)
    learner.observe(transition_of(learner))
    array = getattr(transition_of(learner), name).copy()
    array[-1] = np.nan
    with pytest.raises(FloatingPointError, match=f"^{name} became nan at 2 environment steps"):
        learner.observe(transition_of(learner, **{name: array}))
    assert learner.buffer.size == 1 and learner.env_steps == 2


@both
def test_a_loss_that_is_not_a_number_ends_the_training(method, eager):
    learner = make(method)
    learner.model.critic.trainable_variables[0].assign(np.full((5, 8), np.nan, np.float32))
    for _ in range(8):
        learner.observe(transition_of(learner))
    with pytest.raises(FloatingPointError, match="policy_loss became nan .*at 16 environment steps; the last"):
        learner.update()
    assert learner.version == 1


@both
def test_an_action_at_the_edge_can_be_learned_from(method, eager):
    learner = make(method)
    for _ in range(8):
        learner.observe(transition_of(learner, action=np.ones((2, 2), np.float32)))
    assert np.isfinite(list(learner.update().values())).all()


@both
def test_a_mean_that_went_beyond_all_actions_is_not_pulled_further(method, eager):
    learner = make(method)
    bias = learner.model.actor.layers[-1].bias
    bias.assign([30.0, 0.0])
    action = np.tile(np.array([[1.0, 0.1]], np.float32), (2, 1))
    for t in range(8):
        learner.observe(transition_of(learner, action=action, reward=np.array([t, -t], np.float32)))
    metrics = learner.update()
    assert abs(metrics["policy_loss"]) < 10 and metrics["gradient_norm"] < 100
    assert bias.numpy()[0] == 30.0


@both
def test_the_actor_explores_around_its_mean_and_reports_the_density(method):
    learner = make(method, initial_log_std=-1.0)
    observation = np.random.default_rng(0).normal(size=(4000, 5)).astype(np.float32)
    action, extras, state = learner.act(observation, Previous.none(4000, 2), learner.initial_state(4000),
                                        np.zeros(4000, bool))
    assert state == () and action.shape == (4000, 2) and extras["log_prob"].shape == (4000,)
    squashed = np.arctanh(action.astype(np.float64))
    np.testing.assert_allclose((squashed - learner.model.mean(observation)).std(axis=0), np.exp(-1.0), rtol=0.05)
    # The learners' density lacks what the squashing adds, which is the same for old and new policies.
    gaussian = learner.model.log_prob(learner.model.normalize(observation), squashed.astype(np.float32)).numpy()
    np.testing.assert_allclose(gaussian - np.log(1 - action.astype(np.float64)**2).sum(axis=1), extras["log_prob"],
                               atol=2e-4)
    again, _, _ = learner.act(observation, Previous.none(4000, 2), (), np.zeros(4000, bool))
    assert not np.array_equal(action, again)


@pytest.mark.parametrize(("name", "value"), [
    ("min_std", 0.0), ("min_std", 0.7), ("learning_rate", 0.0), ("rollout_length", 0), ("gae_lambda", 1.1)])
def test_a_setting_out_of_range_is_refused_by_name(name, value):
    with pytest.raises(ValueError, match=f"^{name} must be .*, found {value}"):
        A2CConfig(**{name: value})
