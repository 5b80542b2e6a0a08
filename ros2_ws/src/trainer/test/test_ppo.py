"""PPO against mathematics: a float64 reference of whole updates, and the rate that it learns at."""

import copy
from dataclasses import replace

import numpy as np
import on_policy_by_hand as by_hand
import pytest
from by_hand import Adam

from ant_rl_core.spec import RobotSpec
from ant_rl_core.testing import FakeVectorEnv
from trainer import loop
from trainer.algorithms.on_policy.ppo import METRICS, PPO, PPOConfig

SMALL = PPOConfig(rollout_length=8, epochs=2, minibatch_size=8, total_steps=1000, actor_hidden=(8,),
                  critic_hidden=(8,))


# -- whole updates, computed by hand -----------------------------------------------------------------------------------

class Reference(by_hand.Reference):
    """PPO in numpy float64; no code shared."""

    def __init__(self, config, variables, order_rng):
        super().__init__(config, variables)
        self.rng, self.adam = order_rng, Adam(len(self.theta), config.learning_rate, epsilon=1e-5)
        self.rates, self.next_rate, self.clipped = [], config.learning_rate, 0

    def ppo_loss(self, theta, x, u, old_log_prob, advantage, target):
        bound = self.config.clip_ratio
        ratio = np.exp(self.log_prob(theta, x, u) - old_log_prob)
        clipped = np.minimum(np.maximum(ratio, 1 - bound), 1 + bound)
        return self.loss(np.minimum(ratio * advantage, clipped * advantage).mean(), theta, x, target)

    def update(self, observation, action, reward, terminated, cut, next_observation):
        c, rows = self.config, reward.size
        x, x_next, u = self.inputs(observation, action, next_observation)
        old_log_prob = self.log_prob(self.theta, x, u)
        left = self.rate_left(rows)
        self.adam.rate = min(c.learning_rate * left, self.next_rate) if c.desired_kl else c.learning_rate * left
        for epoch in range(c.epochs):
            advantage, returns = self.advantages(x, x_next, reward, terminated, cut)
            if epoch == 0:
                self.returns += list(returns.ravel())
            target = returns.ravel() / self.scale()
            divergence = []
            for at in self.rng.permutation(rows).reshape(-1, c.minibatch_size):
                ratio = np.exp(self.log_prob(self.theta, x[at], u[at]) - old_log_prob[at])
                divergence.append(np.mean(ratio - 1 - np.log(ratio)))
                self.clipped += np.sum(np.abs(ratio - 1) > c.clip_ratio)
                data = x[at], u[at], old_log_prob[at], by_hand.standard(advantage.ravel()[at]), target[at]
                gradient = self.gradient(lambda theta, data=data: self.ppo_loss(theta, *data))
                self.move(self.theta - self.adam.step(self.theta, gradient))
        self.rates.append(self.adam.rate)
        self.adapt(np.mean(divergence), c.desired_kl * left)

    def adapt(self, divergence, desired):
        factor = 1 / 1.5 if divergence > 2 * desired else 1.5 if divergence < desired / 2 else 1.0
        most = self.config.learning_rate
        self.next_rate = min(max(self.rates[-1] * factor, 0.01 * most), most)


@pytest.mark.parametrize(("change", "compiled"), [
    (dict(desired_kl=0.002), True), (dict(desired_kl=0.0, max_gradient_norm=1e-3), False),
    (dict(desired_kl=0.2, min_std=0.6, entropy_coefficient=-1.0), False)])
def test_updates_equal_those_computed_by_hand_in_float64(change, compiled, request):
    if not compiled:
        request.getfixturevalue("eager")
    config = PPOConfig(**{**dict(
        rollout_length=8, epochs=3, minibatch_size=4, learning_rate=0.02, learning_rate_end=0.2, total_steps=100,
        discount=0.9, gae_lambda=0.8, clip_ratio=0.1, value_coefficient=0.7, entropy_coefficient=0.05,
        max_gradient_norm=0.5, observation_clip=1.5, actor_hidden=(3,), critic_hidden=(3,)), **change})
    learner, rng = PPO(config, 2, 2, 1, seed=4), np.random.default_rng(8)
    by_hand.disturb(learner, rng)
    if config.min_std > 0.5:
        learner.model.log_std.assign([np.log(config.min_std) + 0.01])
    reference = Reference(config, [v.numpy() for v in learner.model.variables], copy.deepcopy(learner.rng))
    for _ in range(3):
        rollout = by_hand.observe_rollout(learner, rng)
        metrics = learner.update()
        reference.update(*rollout)
        np.testing.assert_allclose(by_hand.flat(learner), reference.theta, atol=3e-5)
        assert metrics["learning_rate"] == pytest.approx(reference.rates[-1])
    assert reference.clipped > 5 or config.max_gradient_norm < 0.1, "the clipped side of the loss was not tried"
    assert config.min_std < 0.5 or metrics["std"] == pytest.approx(0.6), "the bound of the width was not tried"
    assert set(METRICS) < set(metrics) and metrics["epochs"] == 3 and learner.version == 4


# -- the learning rate -------------------------------------------------------------------------------------------------

def figures_of(config, updates):
    """Metrics of the first updates, and of one more by another learner that was restored before it."""
    env = FakeVectorEnv(2, spec=RobotSpec("fake", 5, 2, 1.0))
    learner, other, metrics = PPO(config, 2, 5, 2, seed=0), PPO(config, 2, 5, 2, seed=1), []

    def on_update(found):
        metrics.append(found)
        if len(metrics) == updates:
            other.restore(learner.save())
        return len(metrics) > updates

    loop.run(env, learner, learner, env.reset(seed=0), lambda _: False, on_update)
    other.buffer = learner.buffer
    return metrics, other


def test_the_learning_rate_decays_and_is_above_zero_in_the_last_update(eager):
    metrics, _ = figures_of(replace(SMALL, total_steps=64, desired_kl=0.0), updates=3)
    assert [f["learning_rate"] / SMALL.learning_rate for f in metrics] == pytest.approx([1.0, 0.75, 0.5, 0.25])


def test_the_learning_rate_follows_the_divergence_and_is_kept_in_checkpoints(eager):
    config = replace(SMALL, learning_rate=0.05, learning_rate_end=1.0, desired_kl=0.01)
    metrics, restored = figures_of(config, updates=12)
    rates = [f["learning_rate"] for f in metrics]
    for before, rate in zip(metrics[:-1], rates[1:], strict=True):
        kl = before["approximate_kl"]
        factor = 1 / 1.5 if kl > 0.02 else 1.5 if kl < 0.005 else 1.0
        assert rate == pytest.approx(min(before["learning_rate"] * factor, 0.05))
    assert rates[0] == pytest.approx(0.05) and min(rates) < 0.02
    assert any(after > before for before, after in zip(rates[:-1], rates[1:], strict=True)), "it never rose again"
    assert restored._adaptive_rate == rates[-1]


def test_an_update_stops_when_the_policy_moved_further_than_the_target(eager):
    metrics, _ = figures_of(replace(SMALL, epochs=7, target_kl=1e-9), updates=1)
    assert metrics[0]["epochs"] == 1
    metrics, _ = figures_of(replace(SMALL, epochs=7, target_kl=1e9), updates=1)
    assert metrics[0]["epochs"] == 7


def test_a_rollout_that_does_not_divide_into_minibatches_is_refused():
    with pytest.raises(ValueError, match="= 16 must be a multiple of minibatch_size = 7"):
        PPO(replace(SMALL, minibatch_size=7), 2, 5, 2, seed=0)
