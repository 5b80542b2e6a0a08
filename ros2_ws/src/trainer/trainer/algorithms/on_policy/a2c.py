"""Synchronous advantage actor-critic (Mnih et al., arXiv:1602.01783) with generalized advantages."""

from __future__ import annotations

from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from ant_rl_core.settings import changed, setting
from trainer.algorithms.on_policy.actor_critic import OnPolicyConfig
from trainer.algorithms.on_policy.base import OnPolicyLearner, Rollout, normalized

METRICS = ("policy_loss", "value_loss", "entropy", "gradient_norm")


@dataclass(frozen=True)
class A2CConfig(OnPolicyConfig):
    """Settings of A2C."""

    total_steps: int = changed(3_000_000)
    rollout_length: int = changed(5)
    learning_rate: float = changed(7e-4)
    value_coefficient: float = changed(0.5)
    rms_decay: float = setting(0.99, "share of the running mean of squared gradients that RMSprop keeps at each step",
                               minimum=0, below=1)
    rms_epsilon: float = setting(1e-5, "what RMSprop adds to that mean before it takes the root", above=0)


class A2C(OnPolicyLearner):
    """Learner for `num_envs` robots; see `A2CConfig`.

    Every rollout, of a few ticks of all robots, gives one gradient step: the actor climbs the log-probability of its
    actions, weighted by their advantages, and the critic approaches the returns.

    Differs from the paper in: all robots step together and one learner takes one step from all of them, instead of
    asynchronous workers; generalized advantages (Schulman et al., arXiv:1506.02438) instead of n-step ones, normalized
    over the rollout; separate networks for actor and critic; tanh-squashed actions of the same, bounded-below width
    everywhere; normalization of observations and returns; time limits bootstrap from the final observation.
    """

    name = "a2c"
    config: A2CConfig

    def __init__(self, config: A2CConfig, num_envs: int, observation_size: int, action_size: int, seed: int,
                 robot: str = "Ant-v5") -> None:
        if config.rollout_length * num_envs < 2:
            raise ValueError("rollout_length * num_envs must be at least 2 to normalize advantages, found 1")
        super().__init__(config, num_envs, observation_size, action_size, np.random.SeedSequence(seed).spawn(3), robot,
                         keras.optimizers.RMSprop(config.learning_rate, config.rms_decay, epsilon=config.rms_epsilon))
        self._step = tf.function(self._gradient_step, jit_compile=True, autograph=False)

    def _learn(self, rollout: Rollout, rate_left: float) -> tuple[dict[str, float], np.ndarray, np.ndarray]:
        model, rate = self.model, self.config.learning_rate * rate_left
        advantage, returns = rollout.advantages(model)
        model.return_statistics.update(returns.reshape(-1))
        self.optimizer.learning_rate.assign(rate)
        losses = self._step(*rollout.data(), rollout.samples(advantage),
                            rollout.samples(returns / model.return_scale())).numpy()
        return {**dict(zip(METRICS, map(float, losses), strict=True)), "learning_rate": rate}, advantage, returns

    def _gradient_step(self, observation: tf.Tensor, squashed: tf.Tensor, advantage: tf.Tensor,
                       target: tf.Tensor) -> tf.Tensor:
        """One gradient step on the rows of a rollout; returns `METRICS`."""
        with tf.GradientTape() as tape:
            log_prob, value, entropy = self.model.evaluate(observation, squashed)
            policy_loss = -tf.reduce_mean(log_prob * normalized(advantage))
            loss, value_loss = self._loss(policy_loss, value, entropy, target)
        return tf.stack([policy_loss, value_loss, entropy, self._descend(tape, loss)])
