"""A2C against mathematics: a float64 reference of whole updates."""

import gymnasium
import numpy as np
import on_policy_by_hand as by_hand
import pytest

from ant_rl_core.step import TimeStepEnv
from trainer import loop
from trainer.algorithms.on_policy.a2c import A2C, METRICS, A2CConfig


class Reference(by_hand.Reference):
    """A2C in numpy float64, with RMSprop from its definition; no code shared."""

    def __init__(self, config, variables):
        super().__init__(config, variables)
        self.square = np.zeros_like(self.theta)

    def update(self, observation, action, reward, terminated, cut, next_observation):
        c, rows = self.config, reward.size
        x, x_next, u = self.inputs(observation, action, next_observation)
        rate = c.learning_rate * self.rate_left(rows)
        advantage, returns = self.advantages(x, x_next, reward, terminated, cut)
        self.returns += list(returns.ravel())
        target, weight = returns.ravel() / self.scale(), by_hand.standard(advantage.ravel())
        gradient = self.gradient(lambda theta: self.loss(
            np.mean(weight * self.log_prob(theta, x, u)), theta, x, target))
        self.square = c.rms_decay * self.square + (1 - c.rms_decay) * gradient**2
        self.move(rate * gradient / np.sqrt(self.square + c.rms_epsilon))
        return rate


@pytest.mark.parametrize(("change", "compiled"), [
    ({}, True), (dict(max_gradient_norm=100.0, min_std=0.6, entropy_coefficient=-1.0), False),
    (dict(rms_decay=0.5, rms_epsilon=0.1), False)])
def test_updates_equal_those_computed_by_hand_in_float64(change, compiled, request):
    if not compiled:
        request.getfixturevalue("eager")
    config = A2CConfig(**{**dict(
        rollout_length=8, learning_rate=0.02, learning_rate_end=0.2, total_steps=200, discount=0.9, gae_lambda=0.8,
        value_coefficient=0.7, entropy_coefficient=0.05, max_gradient_norm=0.5, observation_clip=1.5, rms_decay=0.9,
        actor_hidden=(3,), critic_hidden=(3,)), **change})
    learner, rng = A2C(config, 2, 2, 1, seed=4), np.random.default_rng(8)
    by_hand.disturb(learner, rng)
    if config.min_std > 0.5:
        learner.model.log_std.assign([np.log(config.min_std) + 0.01])
    reference = Reference(config, [v.numpy() for v in learner.model.variables])
    for _ in range(6):
        rollout = by_hand.observe_rollout(learner, rng)
        metrics = learner.update()
        rate = reference.update(*rollout)
        np.testing.assert_allclose(by_hand.flat(learner), reference.theta, atol=1e-4)
        assert metrics["learning_rate"] == pytest.approx(rate)
    assert config.min_std < 0.5 or metrics["std"] == pytest.approx(0.6), "the bound of the width was not tried"
    assert set(METRICS) < set(metrics) and learner.version == 7 and learner.env_steps == 96


def test_a_single_transition_per_update_is_refused():
    with pytest.raises(ValueError, match="at least 2 to normalize advantages"):
        A2C(A2CConfig(rollout_length=1), 1, 5, 2, seed=0)


# -- another task ------------------------------------------------------------------------------------------------------

def balancing(num_envs):
    env = gymnasium.make_vec("InvertedPendulum-v5", num_envs, vectorization_mode="sync", vector_kwargs={
        "autoreset_mode": gymnasium.vector.AutoresetMode.SAME_STEP})
    return TimeStepEnv(gymnasium.wrappers.vector.RescaleAction(env, -1.0, 1.0))


def balanced(learner, episodes=20, most=200):
    """Mean number of steps until the pole falls, of at most so many."""
    env, alive, steps = balancing(episodes), np.ones(episodes, bool), 0
    time_step = env.reset(seed=1000)
    for _ in range(most):
        steps += alive.sum()
        time_step = env.step(np.tanh(learner.model.mean(time_step.observation)))
        alive &= ~time_step.done
    env.close()
    return steps / episodes


def test_a_pole_is_balanced():
    env = balancing(8)
    config = A2CConfig(total_steps=20_000, rollout_length=8, learning_rate=3e-3, actor_hidden=(32,),
                       critic_hidden=(32,))
    learner = A2C(config, 8, env.observation_size, env.action_size, seed=1)
    before = balanced(learner)
    loop.run(env, learner, learner, env.reset(seed=1), lambda _: False,
             lambda _: learner.env_steps >= config.total_steps)
    env.close()
    assert before < 50 and balanced(learner) > 150
