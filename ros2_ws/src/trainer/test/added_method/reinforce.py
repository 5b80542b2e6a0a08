"""REINFORCE with a learned baseline (Williams, 1992, doi:10.1007/BF00992696)."""

from __future__ import annotations

from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from ant_rl_core.settings import changed, setting
from trainer.algorithms.on_policy.actor_critic import OnPolicyConfig
from trainer.algorithms.on_policy.base import OnPolicyLearner, Rollout

METRICS = ("policy_loss", "value_loss", "entropy", "gradient_norm")


@dataclass(frozen=True)
class ReinforceConfig(OnPolicyConfig):
    """Settings of REINFORCE."""

    gae_lambda: float = changed(1.0)
    momentum: float = setting(0.9, "beta_1 of Adam", minimum=0, below=1)


class Reinforce(OnPolicyLearner):
    """Learner for `num_envs` robots; see `ReinforceConfig`.

    The actor climbs the log-probability of its actions, weighted by how far the return of each was above the baseline.

    Differs from the paper in: rollouts of a fixed length, where a value stands for what comes after the last tick or a
    time limit; a Gaussian that is squashed by tanh; Adam.
    """

    name = "reinforce"

    def __init__(self, config: ReinforceConfig, num_envs: int, observation_size: int, action_size: int, seed: int,
                 robot: str = "Ant-v5") -> None:
        super().__init__(config, num_envs, observation_size, action_size, np.random.SeedSequence(seed).spawn(3), robot,
                         keras.optimizers.Adam(config.learning_rate, config.momentum))
        self._step = tf.function(self._gradient_step, jit_compile=True, autograph=False)

    def _learn(self, rollout: Rollout, rate_left: float) -> tuple[dict[str, float], np.ndarray, np.ndarray]:
        model = self.model
        advantage, returns = rollout.advantages(model)
        model.return_statistics.update(returns.reshape(-1))
        self.optimizer.learning_rate.assign(self.config.learning_rate * rate_left)
        scaled = (rollout.samples(array / model.return_scale()) for array in (advantage, returns))
        losses = self._step(*rollout.data(), *scaled).numpy()
        return dict(zip(METRICS, map(float, losses), strict=True)), advantage, returns

    def _gradient_step(self, observation: tf.Tensor, squashed: tf.Tensor, advantage: tf.Tensor,
                       target: tf.Tensor) -> tf.Tensor:
        """One gradient step on the rows of a rollout; returns `METRICS`."""
        with tf.GradientTape() as tape:
            log_prob, value, entropy = self.model.evaluate(observation, squashed)
            policy_loss = -tf.reduce_mean(log_prob * advantage)
            loss, value_loss = self._loss(policy_loss, value, entropy, target)
        return tf.stack([policy_loss, value_loss, entropy, self._descend(tape, loss)])
