"""Twin delayed deep deterministic policy gradient (Fujimoto et al., arXiv:1802.09477)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from ant_rl_core.exploration import Exploration
from ant_rl_core.settings import changed, setting
from trainer.algorithms.off_policy.base import OffPolicyLearner, trained_by_adam, variables_of
from trainer.algorithms.off_policy.inputs import as_tensors
from trainer.algorithms.off_policy.noise import NoiseConfig
from trainer.algorithms.off_policy.twin_critics import TwinCriticConfig, paired_values, twin_critics, twin_networks
from trainer.export import policy_graph
from trainer.networks import weights
from trainer.networks.mlp import first_seed

METRICS = ("critic_loss", "q_value")


@dataclass(frozen=True)
class TD3Config(NoiseConfig, TwinCriticConfig):
    """Settings of TD3."""

    actor_hidden: tuple[int, ...] = changed((128, 128))
    critic_hidden: tuple[int, ...] = changed((128, 128))
    embedding_size: int = changed(128)
    max_torque: float = setting(0.5, "the largest torque that the actor gives, as a share of what the joints can",
                                above=0, maximum=1)
    actor_interval: int = changed(2)
    actor_critics: int = setting(2, "how many of the critics the actor climbs, by their mean: 1 as in the paper, or 2",
                                 choices=(1, 2))
    target_noise_std: float = changed(0.1)
    target_noise_clip: float = changed(0.25)


class TD3(OffPolicyLearner):
    """Learner for `num_envs` robots; see `TD3Config`.

    Two critics learn from the smaller of their two targets, whose action carries clipped noise; the actor climbs the
    critics, and the targets follow, at every `actor_interval`-th update. With `critic_batch_renorm` only the actor has
    a target.

    Differs from the paper in: learned embeddings beside observations and actions, and layers of 128 units; an actor
    that climbs the mean of both critics; torques of at most a half, and half as much noise on the target's; one
    learning rate of 3e-4 and batches of 256, as in the authors' later code; the first actions are random for 10,000
    steps; optional n-step returns, prioritized replay, normalized observations and layer norm in the critics. The
    paper's method: embedding_size 0, layers of 256, actor_critics 1, max_torque 1, target_noise_std 0.2,
    target_noise_clip 0.5.
    """

    name = "td3"
    config: TD3Config

    def __init__(self, config: TD3Config, num_envs: int, observation_size: int, action_size: int, seed: int,
                 robot: str = "Ant-v5") -> None:
        super().__init__(config, num_envs, observation_size, action_size, seed, robot,
                         network_streams=3 + bool(config.embedding_size))
        actor_stream, *critic_streams = self._network_streams[:3]

        self.networks = twin_networks(config, observation_size, action_size, self._network_streams[3:])
        self.actor, self.target_actor = (self.networks.actor(action_size, first_seed(actor_stream), name)
                                         for name in ("actor", "target_actor"))
        self.critics, self.target_critics = twin_critics(self.networks, config, critic_streams)
        self._actor_variables = self.actor.trainable_variables
        self._critic_variables = variables_of(self.critics)
        self.actor_optimizer = trained_by_adam(self._actor_variables, config.actor_learning_rate, config.momentum)
        self.critic_optimizer = trained_by_adam(self._critic_variables, config.critic_learning_rate, config.momentum)
        self._graph = policy_graph.deterministic_graph(self.networks.from_observations(self.actor),
                                                       self.experience.normalizer, config.max_torque)
        self._learn_critics, self._learn_actor = self._compiled(self._critic_step), self._compiled(self._actor_step)
        self._outputs = self._by_row(lambda x: {"action": self._action(self.actor, self.networks.features(x))})
        self._value = self._by_row(self._state_value)

    def _state_value(self, observation: tf.Tensor) -> tf.Tensor:
        state = self.networks.features(observation)
        taken = self.networks.with_action(state, self._action(self.actor, state))
        return tf.minimum(*(critic(taken)[:, 0] for critic in self.critics))

    def _exploration(self) -> Exploration:
        if self.experience.warming_up:
            return Exploration("uniform", limit=self.config.max_torque)
        return Exploration("gaussian", self.config.exploration_std, limit=self.config.max_torque)

    def _learned(self) -> list[keras.Variable]:
        return [*self.networks.learned(), *self._critic_variables, *self._actor_variables]

    def _state(self) -> list[keras.Variable]:
        return [*self._actor_variables, *self._critic_variables, *self.target_actor.variables,
                *(v for critic in self.target_critics for v in critic.variables),
                *(v for critic in self.critics for v in critic.non_trainable_variables), *self.networks.state(),
                *weights.of_optimizer(self.actor_optimizer), *weights.of_optimizer(self.critic_optimizer)]

    def _gradient_step(self) -> dict[str, float]:
        config, batch = self.config, self.experience.draw()
        noise = config.target_noise(batch.action, self.rng)
        observation, action, following = as_tensors(batch)
        metrics, error = self._learn_critics(observation, action, batch.reward, batch.discount, following, batch.weight,
                                             noise)
        self.experience.prioritize(batch, error.numpy() + 1e-6)
        found = dict(zip(METRICS + self.networks.metrics, metrics.numpy().tolist(), strict=True))
        if self.experience.updates % config.actor_interval == 0:
            found["actor_loss"] = float(self._learn_actor(observation))
        return found

    def _critic_step(self, observation: tf.Tensor, action: tf.Tensor, reward: tf.Tensor, discount: tf.Tensor,
                     next_observation: tf.Tensor, weight: tf.Tensor, noise: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """One gradient step of both critics and their inputs.

        Returns `METRICS` with those of the inputs, and the larger error of each row [m].
        """
        limit = self.config.max_torque
        found = self.networks.learn(observation, action, next_observation)
        next_state = self.networks.features(next_observation)
        next_action = tf.clip_by_value(self._action(self.target_actor, next_state) + noise, -limit, limit)
        taken = self.networks.with_action(self.networks.features(observation), action)
        following = self.networks.with_action(next_state, next_action)
        with tf.GradientTape() as tape:
            values, next_values = paired_values(self.critics, self.target_critics, taken, following)
            target = tf.stop_gradient(reward + discount * tf.minimum(*next_values))
            errors = [value - target for value in values]
            loss = tf.add_n([tf.reduce_mean(weight * tf.square(error)) for error in errors])
        gradients = tape.gradient(loss, [v.value for v in self._critic_variables])
        self.critic_optimizer.apply(gradients, self._critic_variables)
        return tf.stack([loss, tf.reduce_mean(values[0]), *found]), tf.maximum(*map(tf.abs, errors))

    def _actor_step(self, observation: tf.Tensor) -> tf.Tensor:
        """One gradient step of the actor, after which the targets follow; returns the actor's loss."""
        state = self.networks.features(observation)
        with tf.GradientTape() as tape:
            taken = self.networks.with_action(state, self._action(self.actor, state))
            loss = -tf.reduce_mean([critic(taken) for critic in self.critics[:self.config.actor_critics]])
        gradients = tape.gradient(loss, [v.value for v in self._actor_variables])
        self.actor_optimizer.apply(gradients, self._actor_variables)
        share = self.config.target_share
        weights.follow(self.target_actor.variables, self.actor.variables, share)
        for target, critic in zip(self.target_critics, self.critics, strict=False):  # no targets with batch renorm
            weights.follow(target.variables, critic.variables, share)
        return loss

    def _action(self, actor: keras.Model, state: Any) -> tf.Tensor:
        """What the actor does, float32 [m, action_size]; `state` as of `PlainNetworks.features`."""
        return self.config.max_torque * tf.tanh(actor(state))
