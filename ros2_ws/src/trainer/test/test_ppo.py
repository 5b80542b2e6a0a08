"""PPO against mathematics: a float64 reference of a whole update, known optima, known values, exact repetition."""

import functools
from dataclasses import fields, replace

import numpy as np
import pytest

from ant_env_node.vec_env import VectorAnt
from ant_rl_core.spec import RobotSpec
from ant_rl_core.step import Previous, TimeStepEnv, Transition
from ant_rl_core.testing import EndlessRewardEnv, FakeVectorEnv, IdentityEnv
from trainer import loop
from trainer.algorithms.ppo import METRICS, PPO, PPOConfig


def make(config, env, seed=0):
    return PPO(config, env.num_envs, env.observation_size, env.action_size, seed)


def train(env, learner, updates, start=None):
    """Run until `updates` updates were made; returns the last time step and the figures of each update."""
    figures = []

    def on_update(found):
        figures.append(found)
        return len(figures) == updates

    last = loop.run(env, learner, learner, start or env.reset(seed=0), lambda _: False, on_update)
    return last, figures


def weights(learner):
    return {name: array for name, array in learner.save().items() if name.startswith("variable_")}


# -- a whole update, computed by hand ----------------------------------------------------------------------------------

class Reference:
    """PPO in numpy float64, written from the docstrings: gradients by central differences, no code shared.

    Two observations, one action, one hidden layer of three units in actor and in critic.
    """

    SHAPES = ((2, 3), (3,), (3, 1), (1,), (1,), (2, 3), (3,), (3, 1), (1,))  # actor, log_std, critic

    def __init__(self, config, variables, order_rng):
        self.config, self.rng = config, order_rng
        self.theta = np.concatenate([np.ravel(v).astype(np.float64) for v in variables])
        self.m, self.v, self.t = np.zeros_like(self.theta), np.zeros_like(self.theta), 0
        self.seen, self.returns, self.rates, self.env_steps, self.clipped = [], [], [], 0, 0
        self.rate = config.learning_rate

    def split(self, theta):
        ends = np.cumsum([np.prod(shape) for shape in self.SHAPES])
        return [part.reshape(shape) for part, shape in zip(np.split(theta, ends[:-1]), self.SHAPES, strict=True)]

    def mean(self, theta, x):
        w1, b1, w2, b2 = self.split(theta)[:4]
        return np.tanh(x @ w1 + b1) @ w2 + b2

    def value(self, theta, x):
        w1, b1, w2, b2 = self.split(theta)[5:]
        return (np.tanh(x @ w1 + b1) @ w2 + b2)[:, 0]

    def log_prob(self, theta, x, u):
        log_std = self.split(theta)[4]
        normal = -0.5 * ((u - self.mean(theta, x)) / np.exp(log_std)) ** 2 - log_std - 0.5 * np.log(2 * np.pi)
        return normal.sum(axis=1)

    def loss(self, theta, x, u, old_log_prob, advantage, target):
        c = self.config
        ratio = np.exp(self.log_prob(theta, x, u) - old_log_prob)
        clipped = np.minimum(np.maximum(ratio, 1 - c.clip_ratio), 1 + c.clip_ratio)
        surrogate = np.minimum(ratio * advantage, clipped * advantage).mean()
        entropy = (self.split(theta)[4] + 0.5 * np.log(2 * np.pi * np.e)).sum()
        error = np.square(self.value(theta, x) - target).mean()
        return -surrogate + c.value_coefficient * error - c.entropy_coefficient * entropy

    def gradient(self, *data):
        h, gradient = 1e-6, np.zeros_like(self.theta)
        for i in range(len(self.theta)):
            step = np.zeros_like(self.theta)
            step[i] = h
            gradient[i] = (self.loss(self.theta + step, *data) - self.loss(self.theta - step, *data)) / (2 * h)
        return gradient

    def normalise(self, x):
        seen = np.concatenate(self.seen) if self.seen else None
        mean, variance = (0.0, 1.0) if seen is None else (seen.mean(axis=0), seen.var(axis=0))
        return np.clip((x - mean) / np.sqrt(variance + 1e-8), -self.config.observation_clip,
                       self.config.observation_clip)

    def advantages(self, x, x_next, reward, terminated, cut):
        """By the sum's definition, term by term."""
        c, shape = self.config, reward.shape
        scale = np.sqrt(np.var(self.returns) + 1e-8) if self.returns else np.sqrt(1 + 1e-8)
        value = scale * self.value(self.theta, x).reshape(shape)
        after = scale * self.value(self.theta, x_next).reshape(shape)
        delta = reward + c.discount * ~terminated * after - value
        advantage = np.zeros(shape)
        for t, row in np.ndindex(*shape):
            for s in range(t, shape[0]):
                advantage[t, row] += (c.discount * c.gae_lambda) ** (s - t) * delta[s, row]
                if cut[s, row]:
                    break
        return advantage, advantage + value

    def update(self, observation, action, reward, terminated, cut, next_observation):
        c, rows = self.config, reward.size
        x, x_next = (self.normalise(array.reshape(rows, -1).astype(np.float64))
                     for array in (observation, next_observation))
        u = np.arctanh(action.reshape(rows, -1).astype(np.float64))
        old_log_prob = self.log_prob(self.theta, x, u)
        left = 1 - self.env_steps / c.total_steps
        self.env_steps += rows
        decayed = c.learning_rate * (c.learning_rate_end + (1 - c.learning_rate_end) * left)
        rate = min(decayed, self.rate) if c.desired_kl else decayed
        self.rates.append(rate)
        for epoch in range(c.epochs):
            advantage, returns = self.advantages(x, x_next, reward, terminated, cut)
            if epoch == 0:
                self.returns += list(returns.ravel())
            target = returns.ravel() / np.sqrt(np.var(self.returns) + 1e-8)
            divergence = 0.0
            for at in self.rng.permutation(rows).reshape(-1, c.minibatch_size):
                part = advantage.ravel()[at]
                part = (part - part.mean()) / (part.std() + 1e-8)
                ratio = np.exp(self.log_prob(self.theta, x[at], u[at]) - old_log_prob[at])
                divergence += np.mean(ratio - 1 - np.log(ratio)) * c.minibatch_size / rows
                self.clipped += np.sum(np.abs(ratio - 1) > c.clip_ratio)
                gradient = self.gradient(x[at], u[at], old_log_prob[at], part, target[at])
                norm = np.sqrt(np.sum(gradient**2))
                gradient *= min(1.0, c.max_gradient_norm / norm)
                self.t += 1
                self.m = 0.9 * self.m + 0.1 * gradient
                self.v = 0.999 * self.v + 0.001 * gradient**2
                step = rate * np.sqrt(1 - 0.999**self.t) / (1 - 0.9**self.t)
                self.theta = self.theta - step * self.m / (np.sqrt(self.v) + 1e-5)
        if divergence > 2 * c.desired_kl:
            self.rate = max(rate / 1.5, 0.01 * c.learning_rate)
        elif divergence < c.desired_kl / 2:
            self.rate = min(rate * 1.5, c.learning_rate)
        else:
            self.rate = rate
        self.seen.append(observation.reshape(rows, -1).astype(np.float64))


@pytest.mark.parametrize(("max_gradient_norm", "desired_kl", "compiled"), [(0.5, 0.002, True), (1e-3, 0.0, False)])
def test_updates_equal_those_computed_by_hand_in_float64(max_gradient_norm, desired_kl, compiled, request):
    if not compiled:
        request.getfixturevalue("eager")
    config = PPOConfig(rollout_length=8, epochs=3, minibatch_size=4, learning_rate=0.02, learning_rate_end=0.2,
                       total_steps=100, discount=0.9, gae_lambda=0.8, clip_ratio=0.1, value_coefficient=0.7,
                       entropy_coefficient=0.05, max_gradient_norm=max_gradient_norm, observation_clip=1.5,
                       desired_kl=desired_kl, actor_hidden=(3,), critic_hidden=(3,))
    learner = PPO(config, 2, 2, 1, seed=4)
    data = np.random.default_rng(8)
    for variable in learner.model.variables:  # an actor that starts at almost nothing would hide errors
        variable.assign(variable.numpy() + data.normal(0, 0.3, variable.shape))
    order = np.random.default_rng(0)
    order.bit_generator.state = learner.rng.bit_generator.state
    reference = Reference(config, [v.numpy() for v in learner.model.variables], order)
    for _ in range(3):
        observation = data.normal(1, 2, (9, 2, 2)).astype(np.float32)
        following = observation[1:].copy()
        terminated, truncated = data.random((2, 8, 2)) < 0.2
        gap = np.zeros((8, 2), bool)
        gap[4, 1] = True
        cut = terminated | truncated | gap
        following[cut] += 1.0  # final observations are not the first of the next episode
        cut[-1] = True
        action = np.tanh(data.normal(0, 1, (8, 2, 1))).astype(np.float32)
        reward = data.normal(1, 3, (8, 2)).astype(np.float32)
        assert (terminated & ~truncated).any() and (truncated & ~terminated).any()
        for t in range(8):
            learner.observe(Transition(observation[t], action[t], reward[t], terminated[t], truncated[t], following[t]))
        assert learner.ready()
        figures = learner.update()
        reference.update(observation[:8], action, reward, terminated, cut, following)
        found = np.concatenate([np.ravel(v.numpy()) for v in learner.model.variables])
        np.testing.assert_allclose(found, reference.theta, atol=3e-5)
        assert figures["learning_rate"] == pytest.approx(reference.rates[-1])
    assert max_gradient_norm < 0.1 or reference.clipped > 5, "the clipped side of the loss was not tried"
    assert set(METRICS) < set(figures) and figures["epochs"] == 3 and learner.version == 4


def test_the_learning_rate_decays_to_the_last_update_and_follows_the_divergence(eager):
    env = FakeVectorEnv(2, spec=RobotSpec("fake", 5, 2, 1.0))
    decayed = replace(SMALL, total_steps=64, desired_kl=0.0)
    _, figures = train(env, make(decayed, env), updates=4)
    assert [f["learning_rate"] / decayed.learning_rate for f in figures] == pytest.approx([1.0, 0.75, 0.5, 0.25])
    steady = replace(SMALL, learning_rate=0.05, learning_rate_end=1.0, desired_kl=0.01)
    _, figures = train(env, make(steady, env), updates=12)
    for before, after in zip(figures[:-1], figures[1:], strict=True):
        ratio = after["learning_rate"] / before["learning_rate"]
        kl = before["approximate_kl"]
        assert ratio == pytest.approx(1 / 1.5 if kl > 0.02 else 1.5 if kl < 0.005 else 1.0) or \
            after["learning_rate"] == pytest.approx(0.05)
    rates = [f["learning_rate"] for f in figures]
    assert figures[0]["approximate_kl"] > 0.1 and min(rates) < 0.02
    assert any(b > a for a, b in zip(rates[:-1], rates[1:], strict=True)), "the rate never rose again"


# -- what it must be able to learn -------------------------------------------------------------------------------------

def test_the_identity_is_learned():
    env = IdentityEnv(num_envs=8, size=2)
    learner = make(PPOConfig(rollout_length=32, minibatch_size=64, learning_rate=3e-3, total_steps=8000, discount=0.9,
                             initial_log_std=-1.0, actor_hidden=(32,), critic_hidden=(32,)), env)
    train(env, learner, updates=8000 // 256)
    observation = np.random.default_rng(1).uniform(-0.8, 0.8, (1000, 2)).astype(np.float32)
    action = np.tanh(learner.model.mean(observation))
    assert 1.0 - np.square(action - observation).mean() > 0.99
    assert learner.env_steps <= 8000


class LimitIsAnEnd(EndlessRewardEnv):
    """The same, but it calls its time limit a true end, as a learner would that takes the two for one."""

    def _ends(self):
        terminated, truncated = super()._ends()
        return truncated, terminated


@pytest.mark.parametrize(("env", "expected"), [
    (EndlessRewardEnv(4, 10), 10.0),
    # All steps look alike, so their mean is learned: of (1 - 0.9^k) / (1 - 0.9), k = 1…10.
    (LimitIsAnEnd(4, 10), np.mean((1 - 0.9 ** np.arange(1, 11)) / 0.1))])
def test_the_value_of_endless_reward_is_one_over_one_minus_gamma(env, expected):
    config = PPOConfig(rollout_length=20, epochs=20, minibatch_size=40, learning_rate=1e-2, total_steps=4000,
                       discount=0.9, gae_lambda=1.0, max_gradient_norm=10.0, actor_hidden=(4,), critic_hidden=(8,))
    learner = make(config, env)
    train(env, learner, updates=50)
    observation = env.reset().observation
    value = learner.model.value(learner.model.normalise(observation))
    np.testing.assert_allclose(value, expected, rtol=0.03)
    assert abs(expected - 10.0) < 0.1 or expected < 7


# -- repetition --------------------------------------------------------------------------------------------------------

SMALL = PPOConfig(rollout_length=8, epochs=2, minibatch_size=8, total_steps=1000, actor_hidden=(8,),
                  critic_hidden=(8,))


def test_the_seed_decides_everything(eager):
    def trained(seed):
        env = FakeVectorEnv(2, spec=RobotSpec("fake", 5, 2, 1.0))
        learner = make(SMALL, env, seed)
        train(env, learner, updates=2)
        return learner.save()

    first, again, other = trained(1), trained(1), trained(2)
    assert all(np.array_equal(first[name], again[name]) for name in first)
    for name in ("variable_0", "variable_2", "variable_4", "variable_5", "noise", "rng"):
        assert not np.array_equal(first[name], other[name]), name


def test_a_restored_run_equals_an_unbroken_one_bit_for_bit():
    config = replace(SMALL, rollout_length=64, minibatch_size=32, total_steps=3000)

    def begin():
        env = TimeStepEnv(VectorAnt(2, seed=5, num_threads=1))
        return env, make(config, env, seed=7)

    env, unbroken = begin()
    last, figures = train(env, unbroken, updates=12)
    env.close()
    env, learner = begin()
    broken_off, _ = train(env, learner, updates=5)
    saved = {name: array.copy() for name, array in learner.save().items()}
    saved_env = {name: np.array(array) for name, array in env.save().items()}
    train(env, learner, updates=1, start=broken_off)  # nothing later may reach what was saved
    env.close()
    env, learner = begin()
    learner.restore(saved)
    found, later = train(env, learner, updates=7, start=env.restore(saved_env))
    env.close()
    assert later == figures[5:]
    expected, result = unbroken.save(), learner.save()
    assert all(np.array_equal(expected[name], result[name]) for name in expected)
    assert learner.env_steps == 12 * 128 and learner.version == 13
    for name in ("observation", "episode_id", "step"):
        assert np.array_equal(getattr(last, name), getattr(found, name)), name


@pytest.mark.parametrize("change", [{"actor_hidden": (9,)}, {"critic_hidden": (8, 8)}, {"actor_hidden": ()}])
def test_the_state_of_other_networks_is_refused_and_changes_nothing(change):
    learner, other = PPO(SMALL, 2, 5, 2, seed=0), PPO(replace(SMALL, **change), 2, 5, 2, seed=1)
    before = other.save()
    with pytest.raises(ValueError, match="of other networks than these settings give"):
        other.restore(learner.save())
    assert all(np.array_equal(before[name], array) for name, array in other.save().items())


def test_saving_within_a_rollout_is_refused():
    learner = PPO(SMALL, 2, 5, 2, seed=0)
    learner.observe(transition_of(learner))
    with pytest.raises(RuntimeError, match="1 ticks is under way"):
        learner.save()


# -- settings ----------------------------------------------------------------------------------------------------------

CHANGED = dict(rollout_length=16, epochs=3, minibatch_size=4, desired_kl=1e-9, learning_rate=1e-2, learning_rate_end=0.5,
               total_steps=500, discount=0.5, gae_lambda=0.1, clip_ratio=1e-3, value_coefficient=2.0,
               entropy_coefficient=0.5, max_gradient_norm=1e-4, target_kl=1e-9, initial_log_std=-2.0,
               observation_clip=0.1, actor_hidden=(6, 6), critic_hidden=(6,))


@functools.cache
def outcome(config):
    env = FakeVectorEnv(2, spec=RobotSpec("fake", 5, 2, 1.0))
    learner = make(config, env)
    train(env, learner, updates=2)
    return {name: array.tobytes() for name, array in weights(learner).items()}


@pytest.mark.parametrize("name", [field.name for field in fields(PPOConfig)])
def test_every_setting_changes_what_is_learned(name, eager):
    assert CHANGED[name] != getattr(SMALL, name)
    assert outcome(replace(SMALL, **{name: CHANGED[name]})) != outcome(SMALL)


def test_settings_unchanged_change_nothing(eager):
    assert outcome(SMALL) == outcome.__wrapped__(replace(SMALL))


def test_a_rollout_that_does_not_divide_into_minibatches_is_refused():
    with pytest.raises(ValueError, match="= 16 must be a multiple of minibatch_size = 7"):
        PPO(replace(SMALL, minibatch_size=7), 2, 5, 2, seed=0)


# -- numbers that are none ---------------------------------------------------------------------------------------------

def transition_of(learner, **changes):
    n, size = learner.num_envs, learner.observation_size
    observation = np.ones((n, size), np.float32)
    no = np.zeros(n, bool)
    batch = Transition(observation, np.zeros((n, learner.action_size), np.float32), np.ones(n, np.float32), no, no,
                       observation.copy())
    return replace(batch, **changes)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["observation", "next_observation", "action", "reward"])
def test_what_is_not_a_number_is_refused_before_it_is_learned_from(name, value):
    learner = PPO(SMALL, 2, 5, 2, seed=0)
    learner.observe(transition_of(learner))
    array = getattr(transition_of(learner), name).copy()
    array[-1] = value
    with pytest.raises(FloatingPointError, match=f"^{name} became {value} at 2 environment steps"):
        learner.observe(transition_of(learner, **{name: array}))
    assert learner.buffer.size == 1 and learner.env_steps == 2


def test_a_loss_that_is_not_a_number_ends_the_training(eager):
    learner = PPO(SMALL, 2, 5, 2, seed=0)
    learner.model.critic.trainable_variables[0].assign(np.full((5, 8), np.nan, np.float32))
    for _ in range(SMALL.rollout_length):
        learner.observe(transition_of(learner))
    with pytest.raises(FloatingPointError, match="policy_loss became nan at 16 environment steps; the last checkpoint"):
        learner.update()
    assert learner.version == 1


def test_an_action_at_the_edge_can_be_learned_from(eager):
    learner = PPO(SMALL, 2, 5, 2, seed=0)
    for _ in range(SMALL.rollout_length):
        learner.observe(transition_of(learner, action=np.ones((2, 2), np.float32)))
    assert np.isfinite(list(learner.update().values())).all()


# -- acting ------------------------------------------------------------------------------------------------------------

def test_the_actor_explores_around_its_mean_and_reports_the_density():
    learner = PPO(replace(SMALL, initial_log_std=-1.0), 2, 5, 2, seed=0)
    observation = np.random.default_rng(0).normal(size=(4000, 5)).astype(np.float32)
    action, extras, state = learner.act(observation, Previous.none(4000, 2), learner.initial_state(4000),
                                        np.zeros(4000, bool))
    assert state == () and action.shape == (4000, 2) and extras["log_prob"].shape == (4000,)
    noise = np.arctanh(action) - learner.model.mean(observation)
    np.testing.assert_allclose(noise.std(axis=0), np.exp(-1.0), rtol=0.05)
    again, _, _ = learner.act(observation, Previous.none(4000, 2), (), np.zeros(4000, bool))
    assert not np.array_equal(action, again)
