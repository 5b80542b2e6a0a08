"""Soft actor-critic with a learned temperature (Haarnoja et al., arXiv:1812.05905)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ant_rl_core.exploration import Exploration
from ant_rl_core.settings import changed, setting
from trainer.algorithms.off_policy.base import OffPolicyLearner, trained_by_adam, variables_of
from trainer.algorithms.off_policy.inputs import PlainNetworks, as_tensors
from trainer.algorithms.off_policy.twin_critics import TwinCriticConfig, paired_values, twin_critics, twin_networks
from trainer.export import policy_graph
from trainer.networks import weights
from trainer.networks.mlp import first_seed

CRITIC_METRICS = ("critic_loss", "q_value")
ACTOR_METRICS = ("actor_loss", "entropy", "temperature")
LOG_STD_RANGE = (-20.0, 2.0)


@dataclass(frozen=True)
class SACConfig(TwinCriticConfig):
    """Settings of SAC; with embedding_size 0 and actor_interval 1 it is the method of the paper."""

    embedding_size: int = changed(128)
    actor_interval: int = changed(2)
    temperature_learning_rate: float = setting(3e-4, "step size of Adam for the temperature's logarithm", minimum=0)
    initial_temperature: float = setting(1.0, "what a nat of entropy is worth in reward at the start", above=0)
    target_entropy: float = setting(-1.0, "entropy of the actions that the temperature is steered to, per joint",
                                    unit="nats")


class SAC(OffPolicyLearner):
    """Learner for `num_envs` robots; see `SACConfig`.

    The actor gives a Gaussian for each observation, which tanh squashes into actions. Two critics learn the reward to
    come and the entropy to come, times the temperature, from the smaller of their two targets; the actor climbs the
    smaller of the two critics and its own entropy; the temperature rises while the entropy is below its target.

    Actor and critics also take learned embeddings (`embedding_size`, see `EmbeddedNetworks`), with which it needs a few
    times fewer steps than without. With `critic_batch_renorm` instead it is CrossQ, and differs from that paper in:
    layers of 256 instead of 2048, an actor without normalization.

    Differs from the paper in: the embeddings, an actor that learns from every second batch; the temperature's logarithm
    is what is learned, as in the authors' code; its bounds of the logarithm of the standard deviation, [-20, 2]; the
    first actions are random for 10,000 steps; optional n-step returns (without the entropy on the way), prioritized
    replay, normalized observations and layer norm in the critics.
    """

    name = "sac"
    config: SACConfig

    def __init__(self, config: SACConfig, num_envs: int, observation_size: int, action_size: int, seed: int,
                 robot: str = "Ant-v5") -> None:
        super().__init__(config, num_envs, observation_size, action_size, seed, robot,
                         network_streams=3 + bool(config.embedding_size))
        actor_stream, *critic_streams = self._network_streams[:3]

        self.networks = self._make_networks()
        self.actor = self.networks.actor(2 * action_size, first_seed(actor_stream), "actor")
        self.critics, self.target_critics = twin_critics(self.networks, config, critic_streams)
        self.log_temperature = keras.Variable(np.log(config.initial_temperature), dtype="float32",
                                              name="log_temperature")
        self._actor_variables = self.actor.trainable_variables
        self._critic_variables, self._target_variables = variables_of(self.critics), variables_of(self.target_critics)
        self.actor_optimizer = trained_by_adam(self._actor_variables, config.actor_learning_rate, config.momentum)
        self.critic_optimizer = trained_by_adam(self._critic_variables, config.critic_learning_rate, config.momentum)
        self.temperature_optimizer = trained_by_adam([self.log_temperature], config.temperature_learning_rate)
        self._graph = policy_graph.gaussian_graph(self.networks.from_observations(self.actor), LOG_STD_RANGE,
                                            self.experience.normalizer)
        self._learn_critics, self._learn_actor = self._compiled(self._critic_step), self._compiled(self._actor_step)
        self._outputs = self._by_row(lambda x: self._gaussian(self.networks.features(x)))
        self._value = self._by_row(self._state_value)

    def _make_networks(self) -> PlainNetworks:
        return twin_networks(self.config, self.observation_size, self.action_size, self._network_streams[3:])

    def _state_value(self, observation: tf.Tensor) -> tf.Tensor:
        state = self.networks.features(observation)
        return self._smaller(state, self._gaussian(state)["action"])

    def _exploration(self) -> Exploration:
        return Exploration("uniform" if self.experience.warming_up else "squashed_gaussian")

    def _learned(self) -> list[keras.Variable]:
        return [*self.networks.learned(), *self._critic_variables, *self._actor_variables, self.log_temperature]

    def _state(self) -> list[keras.Variable]:
        return [*self._actor_variables, *self._critic_variables, *self._target_variables, self.log_temperature,
                *(v for critic in self.critics for v in critic.non_trainable_variables), *self.networks.state(),
                *weights.of_optimizer(self.actor_optimizer), *weights.of_optimizer(self.critic_optimizer),
                *weights.of_optimizer(self.temperature_optimizer)]

    def _gradient_step(self) -> dict[str, float]:
        batch = self.experience.draw()
        noise = self.rng.standard_normal((2, *batch.action.shape), np.float32)
        observation, action, following = as_tensors(batch)
        metrics, error = self._learn_critics(observation, action, batch.reward, batch.discount, following, batch.weight,
                                             noise[0])
        self.experience.prioritize(batch, error.numpy() + 1e-6)
        found = dict(zip(CRITIC_METRICS + self.networks.metrics, metrics.numpy().tolist(), strict=True))
        if self.experience.updates % self.config.actor_interval == 0:
            found |= zip(ACTOR_METRICS, self._learn_actor(observation, noise[1]).numpy().tolist(), strict=True)
        return found

    # -- the compiled part -------------------------------------------------------------------------------------------

    def _critic_step(self, observation: tf.Tensor, action: tf.Tensor, reward: tf.Tensor, discount: tf.Tensor,
                     next_observation: tf.Tensor, weight: tf.Tensor, noise: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """One gradient step of both critics, after which the targets follow.

        Args:
            observation, action, reward, discount, next_observation, weight: as of `ReplayBatch`.
            noise: standard normal [m, action_size], of the next actions.

        Returns:
            `CRITIC_METRICS` with those of the inputs, and the larger error of each row [m].
        """
        found = self.networks.learn(observation, action, next_observation)
        next_state = self.networks.features(next_observation)
        temperature = tf.exp(self.log_temperature.value)
        next_action, next_log_prob = self._sample(next_state, noise)
        taken = self.networks.with_action(self.networks.features(observation), action)
        following = self.networks.with_action(next_state, next_action)
        with tf.GradientTape() as tape:
            values, next_values = paired_values(self.critics, self.target_critics, taken, following)
            target = tf.stop_gradient(reward + discount * (tf.minimum(*next_values) - temperature * next_log_prob))
            errors = [value - target for value in values]
            loss = tf.add_n([tf.reduce_mean(weight * tf.square(error)) for error in errors])
        gradients = tape.gradient(loss, [v.value for v in self._critic_variables])
        self.critic_optimizer.apply(gradients, self._critic_variables)
        if self.target_critics:
            weights.follow(self._target_variables, self._critic_variables, self.config.target_share)
        return tf.stack([loss, tf.reduce_mean(values[0]), *found]), tf.maximum(*map(tf.abs, errors))

    def _actor_step(self, observation: tf.Tensor, noise: tf.Tensor) -> tf.Tensor:
        """One gradient step of actor and temperature with standard normal noise [m, action_size]; `ACTOR_METRICS`."""
        temperature, state = tf.exp(self.log_temperature.value), self.networks.features(observation)
        with tf.GradientTape() as tape:
            action, log_prob = self._sample(state, noise)
            loss = tf.reduce_mean(temperature * log_prob - self._smaller(state, action))
        gradients = tape.gradient(loss, [v.value for v in self._actor_variables])
        self.actor_optimizer.apply(gradients, self._actor_variables)
        return tf.stack([loss, self._steer(log_prob), temperature])

    def _steer(self, log_prob: tf.Tensor) -> tf.Tensor:
        """One gradient step of the temperature for actions of these log-densities [m]; their entropy."""
        entropy = -tf.reduce_mean(log_prob)
        surplus = entropy - self.config.target_entropy * self.action_size
        # The gradient of log(temperature) * surplus, which needs no tape.
        self.temperature_optimizer.apply([surplus], [self.log_temperature])
        return entropy

    def _gaussian(self, state: Any) -> dict[str, tf.Tensor]:
        """mean and log_std of the Gaussian and the deterministic action, each float32 [m, action_size]."""
        mean, log_std = tf.split(self.actor(state), 2, axis=1)
        return {"mean": mean, "log_std": tf.clip_by_value(log_std, *LOG_STD_RANGE), "action": tf.tanh(mean)}

    def _sample(self, state: Any, noise: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Actions [m, action_size] with this standard normal noise, and their log-densities [m]."""
        outputs = self._gaussian(state)
        squashed = outputs["mean"] + tf.exp(outputs["log_std"]) * noise
        gaussian = -0.5 * tf.square(noise) - outputs["log_std"] - 0.5 * np.log(2.0 * np.pi)
        # log(1 - tanh^2), in a form that stays finite.
        log_derivative = 2.0 * (np.log(2.0) - squashed - tf.math.softplus(-2.0 * squashed))
        return tf.tanh(squashed), tf.reduce_sum(gaussian - log_derivative, axis=1)

    def _smaller(self, state: Any, action: tf.Tensor, critics: Sequence[keras.Model] = ()) -> tf.Tensor:
        """The smaller of the values that two critics give, the learned ones or these, float32 [m]."""
        taken = self.networks.with_action(state, action)
        return tf.minimum(*(critic(taken)[:, 0] for critic in critics or self.critics))
