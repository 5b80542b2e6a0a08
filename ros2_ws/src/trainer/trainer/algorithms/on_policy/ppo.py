"""Proximal policy optimization with a clipped ratio (Schulman et al., arXiv:1707.06347)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ant_rl_core.settings import setting
from trainer import checkpoint
from trainer.algorithms.on_policy.actor_critic import OnPolicyConfig
from trainer.algorithms.on_policy.base import OnPolicyLearner, Rollout, normalized

METRICS = ("policy_loss", "value_loss", "entropy", "approximate_kl", "clip_share", "gradient_norm")

# The adaptive learning rate, as in rsl_rl: divided or multiplied by the factor when the divergence leaves the band
# around the desired one, and never below this share of the rate at the start.
_KL_BAND = 2.0
_RATE_FACTOR = 1.5
_LEAST_RATE = 1e-2


@dataclass(frozen=True)
class ClippedConfig(OnPolicyConfig):
    """Settings of methods that climb the clipped ratio."""

    epochs: int = setting(10, "passes over each rollout", minimum=1)
    clip_ratio: float = setting(0.2, "how far the probability ratio may leave 1", above=0, finite=False)
    desired_kl: float = setting(0.03, "how far an update is to move the policy at the start (KL divergence, in nats); "
                                "it decays as the learning rate does. The rate falls by a third after an update that "
                                "went more than twice as far, and rises by half, at most to its decay, after one that "
                                "went less than half as far; 0 keeps to the decay", minimum=0)
    target_kl: float = setting(0.0, "an update stops after the epoch in which the policy moved further than this; 0 "
                               "never stops", minimum=0, finite=False)


class ClippedLearner(OnPolicyLearner):
    """The updates of PPO, whatever the networks are; see `PPO`.

    Args:
        config, num_envs, observation_size, action_size, robot: as of the base class.
        seed: of all.
        num_samples, minibatch: how many samples a rollout has, and how many of them make up a gradient step; samples
            are what `axis` of `Rollout.data` counts.
    """

    config: ClippedConfig
    axis = 0

    def __init__(self, config: ClippedConfig, num_envs: int, observation_size: int, action_size: int, seed: int,
                 robot: str, num_samples: int, minibatch: int) -> None:
        *seeds, shuffle_seed = np.random.SeedSequence(seed).spawn(4)
        super().__init__(config, num_envs, observation_size, action_size, seeds, robot, self._make_optimizer(config))
        self._num_samples, self._minibatch_samples = num_samples, minibatch
        self.rng = np.random.default_rng(shuffle_seed)
        self._adaptive_rate = config.learning_rate
        self._epoch = tf.function(self._run_epoch, jit_compile=True)

    def _make_optimizer(self, config: Any) -> keras.optimizers.Optimizer:
        return keras.optimizers.Adam(config.learning_rate, epsilon=1e-5)

    def save(self) -> dict[str, np.ndarray]:
        """Everything an unbroken continuation needs."""
        return {**super().save(), "rng": checkpoint.pack_generator(self.rng),
                "adaptive_rate": np.asarray(self._adaptive_rate)}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Continue from what `save` returned; ValueError if it was of networks or a rollout of other sizes."""
        super().restore(state)
        checkpoint.unpack_generator(self.rng, state["rng"])
        self._adaptive_rate = float(state["adaptive_rate"])

    def _learn(self, rollout: Rollout, rate_left: float) -> tuple[dict[str, float], np.ndarray, np.ndarray]:
        config, model, data = self.config, self.model, rollout.data()
        old_log_prob = rollout.old_log_prob(model)
        rate = config.learning_rate * rate_left
        if config.desired_kl:
            rate = min(rate, self._adaptive_rate)
        self.optimizer.learning_rate.assign(rate)
        for epoch in range(1, config.epochs + 1):
            advantage, returns = rollout.advantages(model)
            if epoch == 1:
                model.return_statistics.update(returns.reshape(-1))
            order = self.rng.permutation(self._num_samples).reshape(-1, self._minibatch_samples)
            losses = self._epoch((*data, old_log_prob, rollout.samples(advantage),
                                  rollout.samples(returns / model.return_scale())),
                                 tf.constant(order, tf.int32)).numpy()
            kl = losses[METRICS.index("approximate_kl")]
            if config.target_kl and kl > config.target_kl:
                break
        self._adaptive_rate = self._adapted(rate, kl, config.desired_kl * rate_left)
        metrics = dict(zip(METRICS, map(float, losses), strict=True))
        return {**metrics, "learning_rate": rate, "epochs": epoch}, advantage, returns

    def _adapted(self, rate: float, kl: float, desired_kl: float) -> float:
        """The rate that keeps the next update's divergence near the desired one, after one of `kl` at this rate."""
        if kl > desired_kl * _KL_BAND:
            rate /= _RATE_FACTOR
        elif kl < desired_kl / _KL_BAND:
            rate *= _RATE_FACTOR
        most = self.config.learning_rate
        return min(max(rate, most * _LEAST_RATE), most)

    def _minibatch(self, data: tuple[tf.Tensor, ...]) -> tf.Tensor:
        """One gradient step on samples of the rollout; returns `METRICS`."""
        *seen, old_log_prob, advantage, target = data
        advantage, low, high = normalized(advantage), 1.0 - self.config.clip_ratio, 1.0 + self.config.clip_ratio
        with tf.GradientTape() as tape:
            log_prob, value, entropy = self.model.evaluate(*seen)
            log_ratio = log_prob - old_log_prob
            ratio = tf.exp(log_ratio)
            clipped = tf.clip_by_value(ratio, low, high)
            policy_loss = -tf.reduce_mean(tf.minimum(ratio * advantage, clipped * advantage))
            loss, value_loss = self._loss(policy_loss, value, entropy, target)
        norm = self._descend(tape, loss)
        kl = tf.reduce_mean(ratio - 1.0 - log_ratio)  # the k3 estimate of KL(old, new), never negative
        outside = tf.reduce_mean(tf.cast(tf.abs(ratio - 1.0) > self.config.clip_ratio, tf.float32))
        return tf.stack([policy_loss, value_loss, entropy, kl, outside, norm])

    def _run_epoch(self, data: tuple[tf.Tensor, ...], order: tf.Tensor) -> tf.Tensor:
        """One pass over the rollout in the order int32 [steps, samples]; mean of `METRICS`.

        `data` is that of the rollout, then old log-densities, advantages and the critic's targets.
        """
        total = tf.zeros(len(METRICS))
        for i in tf.range(tf.shape(order)[0]):
            total += self._minibatch(tuple(tf.gather(array, order[i], axis=self.axis) for array in data))
        return total / tf.cast(tf.shape(order)[0], tf.float32)


@dataclass(frozen=True)
class PPOConfig(ClippedConfig):
    """Settings of PPO."""

    minibatch_size: int = setting(128, "transitions per gradient step", minimum=2)


class PPO(ClippedLearner):
    """Learner for `num_envs` robots; see `PPOConfig`.

    Observations are normalized by running statistics that stay fixed during a rollout; value targets are divided by
    the running standard deviation of the returns, and advantages are normalized per minibatch and recomputed with
    the newest critic before each epoch.

    Differs from the paper in: tanh-squashed actions of bounded-below width (the squashing cancels in the ratio, which
    is taken between Gaussian densities); normalization of observations, returns and advantages; gradient-norm clipping;
    a learning rate that decays and adapts to the KL divergence (as in rsl_rl, Schwarke et al., arXiv:2509.10771, but
    per update); recomputed advantages; separate networks for actor and critic; time limits bootstrap from the final
    observation.
    """

    name = "ppo"
    config: PPOConfig

    def __init__(self, config: PPOConfig, num_envs: int, observation_size: int, action_size: int, seed: int,
                 robot: str = "Ant-v5") -> None:
        rows = config.rollout_length * num_envs
        if rows % config.minibatch_size:
            raise ValueError(f"rollout_length * num_envs = {rows} must be a multiple of minibatch_size = "
                             f"{config.minibatch_size}")
        super().__init__(config, num_envs, observation_size, action_size, seed, robot, rows, config.minibatch_size)
