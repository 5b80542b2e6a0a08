"""Deep deterministic policy gradient (Lillicrap et al., arXiv:1509.02971)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from ant_rl_core.exploration import Exploration
from ant_rl_core.settings import changed, setting
from trainer.algorithms.off_policy.base import (
    OffPolicyActorCriticConfig,
    OffPolicyLearner,
    trained_by_adam,
    variables_of,
)
from trainer.algorithms.off_policy.inputs import as_tensors, networks_for
from trainer.export import policy_graph
from trainer.networks import weights
from trainer.networks.mlp import first_seed

METRICS = ("critic_loss", "q_value", "actor_loss")
# Hidden layers of actor and critic whose sums are normalized before their activation, see `mlp`.
NETWORKS: dict[str, dict[str, bool | tuple[int, ...]]] = {
    "default": {"actor": (), "critic": True}, "report": {"actor": (0,), "critic": (0,)},
    "plain": {"actor": (), "critic": ()}}


@dataclass(frozen=True)
class DDPGConfig(OffPolicyActorCriticConfig):
    """Settings of DDPG."""

    n_step: int = changed(5)
    max_torque: float = setting(0.2, "the largest torque that the actor gives, as a share of what the joints can",
                                above=0, maximum=1)
    network: str = setting("default", "default, which normalizes the sums of every hidden layer of the critic; report, "
                           "which normalizes those of the first one of actor and critic, so that hidden layers of 256 "
                           "and 256 become 256-LayerNorm-256; or plain, which normalizes nothing",
                           choices=tuple(NETWORKS))
    exploration_std: float = setting(0.2, "standard deviation of the noise on the actions that collect data, at the "
                                     "start", minimum=0)
    exploration_std_end: float = setting(0.05, "the same at the end of its decay, and from there on", minimum=0)
    exploration_steps: int = setting(200_000, "environment steps over which it decays, in a straight line", minimum=1)

    def rules(self) -> Iterator[tuple[bool, str]]:
        yield from super().rules()
        report, plain = self.network == "report", self.network == "plain"
        yield len(self.actor_hidden) >= report, "actor_hidden must hold a size to normalize with network report"
        yield len(self.critic_hidden) >= report, "critic_hidden must hold a size to normalize with network report"
        yield not self.embedding_size or plain, "embedding_size must be 0 unless network is plain"


class DDPG(OffPolicyLearner):
    """Learner for `num_envs` robots; see `DDPGConfig`.

    The critic learns from its own target's value of the target actor's action; the actor climbs the critic.

    Differs from the paper in: Gaussian noise with a decaying standard deviation instead of an Ornstein-Uhlenbeck
    process; targets that follow five times as fast; networks of 256 and 256 units that take the action in the first
    layer, without weight decay, and layer instead of batch normalization; other step sizes and batches; returns of five
    steps and torques of at most a fifth, with which the robot can hardly fall; the first actions are random for 10,000
    steps; optional prioritized replay and normalized observations.
    """

    name = "ddpg"
    config: DDPGConfig

    def __init__(self, config: DDPGConfig, num_envs: int, observation_size: int, action_size: int, seed: int,
                 robot: str = "Ant-v5") -> None:
        super().__init__(config, num_envs, observation_size, action_size, seed, robot,
                         network_streams=2 + bool(config.embedding_size))
        actor_stream, critic_stream = self._network_streams[:2]

        normalized = NETWORKS[config.network]
        self.networks = networks_for(config, observation_size, action_size, self._network_streams[2:],
                                     actor={"layer_norm": normalized["actor"]},
                                     critic={"layer_norm": normalized["critic"]})
        self.actor, self.target_actor = (self.networks.actor(action_size, first_seed(actor_stream), name)
                                         for name in ("actor", "target_actor"))
        self.critic, self.target_critic = (self.networks.critic(first_seed(critic_stream), name)
                                           for name in ("critic", "target_critic"))
        self._actor_variables = self.actor.trainable_variables
        self._critic_variables = self.critic.trainable_variables
        self._target_variables = variables_of([self.target_actor, self.target_critic])
        self.actor_optimizer = trained_by_adam(self._actor_variables, config.actor_learning_rate)
        self.critic_optimizer = trained_by_adam(self._critic_variables, config.critic_learning_rate)
        self._graph = policy_graph.deterministic_graph(self.networks.from_observations(self.actor),
                                                       self.experience.normalizer, config.max_torque)
        self._learn = self._compiled(self._step)
        self._outputs = self._by_row(lambda x: {"action": self._action(self.actor, self.networks.features(x))})
        self._value = self._by_row(lambda x: self._worth(self.actor, self.critic, self.networks.features(x)))

    def _exploration(self) -> Exploration:
        if self.experience.warming_up:
            return Exploration("uniform", limit=self.config.max_torque)
        start, end = self.config.exploration_std, self.config.exploration_std_end
        left = max(0.0, 1.0 - self.env_steps / self.config.exploration_steps)
        return Exploration("gaussian", end + (start - end) * left, limit=self.config.max_torque)

    def _learned(self) -> list[keras.Variable]:
        return [*self.networks.learned(), *self._critic_variables, *self._actor_variables]

    def _state(self) -> list[keras.Variable]:
        return [*self._actor_variables, *self._critic_variables, *self._target_variables, *self.networks.state(),
                *weights.of_optimizer(self.actor_optimizer), *weights.of_optimizer(self.critic_optimizer)]

    def _gradient_step(self) -> dict[str, float]:
        batch = self.experience.draw()
        observation, action, following = as_tensors(batch)
        metrics, error = self._learn(observation, action, batch.reward, batch.discount, following, batch.weight)
        self.experience.prioritize(batch, error.numpy() + 1e-6)
        return dict(zip(METRICS + self.networks.metrics, metrics.numpy().tolist(), strict=True))

    def _step(self, observation: tf.Tensor, action: tf.Tensor, reward: tf.Tensor, discount: tf.Tensor,
              next_observation: tf.Tensor, weight: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """One gradient step of inputs and critic, then of the actor, after which the targets follow.

        Takes arrays as of `ReplayBatch`; returns `METRICS` with those of the inputs, and the error of each row [m].
        """
        found, state = self.networks.learn(observation, action, next_observation), self.networks.features(observation)
        next_state = self.networks.features(next_observation)
        target = reward + discount * self._worth(self.target_actor, self.target_critic, next_state)
        taken = self.networks.with_action(state, action)
        with tf.GradientTape() as tape:
            values = self.critic(taken)[:, 0]
            critic_loss = tf.reduce_mean(weight * tf.square(values - target))
        gradients = tape.gradient(critic_loss, [v.value for v in self._critic_variables])
        self.critic_optimizer.apply(gradients, self._critic_variables)
        with tf.GradientTape() as tape:
            actor_loss = -tf.reduce_mean(self._worth(self.actor, self.critic, state))
        gradients = tape.gradient(actor_loss, [v.value for v in self._actor_variables])
        self.actor_optimizer.apply(gradients, self._actor_variables)
        weights.follow(self._target_variables, [*self._actor_variables, *self._critic_variables],
                       self.config.target_share)
        return tf.stack([critic_loss, tf.reduce_mean(values), actor_loss, *found]), tf.abs(values - target)

    def _worth(self, actor: keras.Model, critic: keras.Model, state: Any) -> tf.Tensor:
        """What the critic gives for the actor's action, float32 [m]; `state` as of `PlainNetworks.features`."""
        return critic(self.networks.with_action(state, self._action(actor, state)))[:, 0]

    def _action(self, actor: keras.Model, state: Any) -> tf.Tensor:
        """What the actor does, float32 [m, action_size]; `state` as of `PlainNetworks.features`."""
        return self.config.max_torque * tf.tanh(actor(state))
