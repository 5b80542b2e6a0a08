"""What actors and critics take: observations and actions, or learned embeddings beside them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from trainer.algorithms.off_policy.base import OffPolicyActorCriticConfig, trained_by_adam, variables_of
from trainer.buffers.replay import ReplayBatch
from trainer.networks import sale, weights
from trainer.networks.mlp import mlp


class PlainNetworks:
    """Networks that take observations and actions as they are.

    Args:
        config: settings of the method.
        observation_size, action_size: sizes.
        actor_options, critic_options: what else the hidden layers have, see `mlp`.

    Attributes:
        metrics: names of the metrics that `learn` returns.
    """

    metrics: tuple[str, ...] = ()

    def __init__(self, config: OffPolicyActorCriticConfig, observation_size: int, action_size: int,
                 actor_options: Mapping[str, Any], critic_options: Mapping[str, Any]) -> None:
        self._config, self._observation_size, self._action_size = config, observation_size, action_size
        self._options = {"actor": actor_options, "critic": critic_options}

    def actor(self, output_size: int, seed: int, name: str) -> keras.Model:
        """From `features` an observation to float32 [n, output_size]."""
        return self._mlp("actor", self._observation_size, self._config.actor_hidden, output_size, seed, name)

    def critic(self, seed: int, name: str) -> keras.Model:
        """From `with_action` to values float32 [n, 1]."""
        size = self._observation_size + self._action_size
        return self._mlp("critic", size, self._config.critic_hidden, 1, seed, name)

    def _mlp(self, kind: str, input_size: int, hidden: tuple[int, ...], output_size: int, seed: int,
             name: str) -> keras.Model:
        return mlp(input_size, hidden, output_size, seed=seed, name=name, precision=self._config.precision,
                   **{"activation": "relu", **self._options[kind]})

    def features(self, observation: Any) -> Any:
        """What the actor takes for observations [n, observation_size]."""
        return observation

    def from_observations(self, actor: keras.Model) -> keras.Model:
        """The actor as a model of observations."""
        return actor

    def with_action(self, state: Any, action: tf.Tensor) -> Any:
        """What a critic takes for what `features` gave and actions [n, action_size]."""
        return tf.concat([state, action], axis=1)

    # -- what is learned ---------------------------------------------------------------------------------------------

    def learn(self, observation: tf.Tensor, action: tf.Tensor, next_observation: tf.Tensor) -> list[tf.Tensor]:
        """One gradient step, after which what the networks take follows; returns its `metrics`."""
        return []

    def learned(self) -> list[keras.Variable]:
        """The variables that gradients move."""
        return []

    def state(self) -> list[keras.Variable]:
        """All variables, of networks and optimizer."""
        return []


class EmbeddedNetworks(PlainNetworks):
    """Networks that also take learned embeddings (Fujimoto et al., For SALE, arXiv:2306.02451).

    An encoder learns to predict the embedding of the next observation from those of observation and action. Actors
    and critics take the embeddings of an average of it that follows slowly.

    Differs from the paper in: the average, where the paper has two copies that are renewed every 250 updates, one for
    what is learned and one for its targets.

    Args:
        config, observation_size, action_size: as of the base class.
        stream: seeds the encoder's weights.
        momentum: beta_1 of Adam for the encoder.
    """

    metrics = ("encoder_loss",)

    def __init__(self, config: OffPolicyActorCriticConfig, observation_size: int, action_size: int,
                 stream: np.random.SeedSequence, momentum: float) -> None:
        super().__init__(config, observation_size, action_size, {}, {})
        seeds = [int(seed) for seed in stream.generate_state(2)]
        self.encoder, self.average = (
            sale.encoder(observation_size, action_size, config.embedding_size, seeds, name, config.precision)
            for name in ("encoder", "average_encoder"))
        self._optimizer = trained_by_adam(self.learned(), config.critic_learning_rate, momentum)

    def actor(self, output_size: int, seed: int, name: str) -> keras.Model:
        """See the base class."""
        config = self._config
        return sale.actor(self._observation_size, config.embedding_size, config.actor_hidden, output_size, seed=seed,
                          name=name, precision=config.precision)

    def critic(self, seed: int, name: str) -> keras.Model:
        """See the base class."""
        config = self._config
        return sale.critic(self._observation_size, self._action_size, config.embedding_size, config.critic_hidden,
                           seed=seed, name=name, precision=config.precision)

    def features(self, observation: Any) -> Any:
        """See the base class."""
        return [observation, self.average[0](observation)]

    def from_observations(self, actor: keras.Model) -> keras.Model:
        """See the base class."""
        observation = keras.Input((self._observation_size,), dtype="float32")
        return keras.Model(observation, actor(self.features(observation)))

    def with_action(self, state: Any, action: tf.Tensor) -> Any:
        """See the base class."""
        observation, embedding = state
        return [observation, action, self.average[1]([embedding, action]), embedding]

    def learn(self, observation: tf.Tensor, action: tf.Tensor, next_observation: tf.Tensor) -> list[tf.Tensor]:
        """See the base class."""
        with tf.GradientTape() as tape:
            loss = sale.prediction_loss(self.encoder, observation, action, next_observation)
        gradients = tape.gradient(loss, [v.value for v in self.learned()])
        self._optimizer.apply(gradients, self.learned())
        weights.follow(variables_of(self.average), self.learned(), self._config.target_share)
        return [loss]

    def learned(self) -> list[keras.Variable]:
        """See the base class."""
        return variables_of(self.encoder)

    def state(self) -> list[keras.Variable]:
        """See the base class."""
        return [*self.learned(), *variables_of(self.average), *weights.of_optimizer(self._optimizer)]


def networks_for(config: OffPolicyActorCriticConfig, observation_size: int, action_size: int,
                 streams: list[np.random.SeedSequence], *, momentum: float = 0.9,
                 actor: Mapping[str, Any] | None = None, critic: Mapping[str, Any] | None = None) -> PlainNetworks:
    """What the networks of these settings take.

    Args:
        config: settings of the method.
        observation_size, action_size: sizes.
        streams: one random stream where what they take is learned.
        momentum: beta_1 of Adam for what is learned.
        actor, critic: what else the hidden layers have where it is not, see `mlp`.
    """
    if config.embedding_size:
        (stream,) = streams
        return EmbeddedNetworks(config, observation_size, action_size, stream, momentum)
    return PlainNetworks(config, observation_size, action_size, actor or {}, critic or {})


def as_tensors(batch: ReplayBatch) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Observations, actions and next observations; Keras takes lists of inputs only where all are tensors."""
    return tf.constant(batch.observation), tf.constant(batch.action), tf.constant(batch.next_observation)
