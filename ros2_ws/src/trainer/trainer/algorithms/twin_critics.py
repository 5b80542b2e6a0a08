"""What methods with two critics share: their settings, their networks, and what those take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from trainer import guard
from trainer.algorithms.off_policy import ActorCriticConfig, trained_by_adam, variables_of
from trainer.buffers.replay import ReplayBatch
from trainer.networks import sale, weights
from trainer.networks.mlp import first_seed, mlp


@dataclass(frozen=True)
class TwinCriticConfig(ActorCriticConfig):
    """Settings of methods with two critics.

    Attributes:
        critic_layer_norm: normalise the sums of the critics' hidden layers.
        critic_batch_renorm: normalise the inputs of the critics' layers over batches in which present and next actions
            stand side by side, and do without target critics, as CrossQ.
        embedding_size: entries of the learned embeddings of observations and actions (SALE) that actor and critics
            take as further inputs; 0 for none.
        actor_interval: critic updates per update of the actor and what goes with it.
        momentum: beta_1 of Adam for actor and critics.
    """

    critic_layer_norm: bool = False
    critic_batch_renorm: bool = False
    embedding_size: int = 0
    actor_interval: int = 1
    momentum: float = 0.9

    def __post_init__(self) -> None:
        super().__post_init__()
        normalised = self.critic_layer_norm or self.critic_batch_renorm
        guard.check_config(
            self, (self.actor_interval >= 1, "actor_interval must be at least 1"),
            (0 <= self.momentum < 1, "momentum must be from 0 to below 1"),
            (self.embedding_size == 0 if normalised else self.embedding_size >= 0,
             "embedding_size must be 0 with critic_layer_norm or critic_batch_renorm" if normalised
             else "embedding_size must be at least 0"),
            (not self.embedding_size or min(len(self.actor_hidden), len(self.critic_hidden)) > 0,
             "embedding_size must be 0 without hidden layers"))


class PlainInputs:
    """Networks that take observations and actions as they are.

    Args:
        config: settings of the method.
        observation_size, action_size: sizes.

    Attributes:
        metrics: names of the figures that `learn` returns.
    """

    metrics: tuple[str, ...] = ()

    def __init__(self, config: TwinCriticConfig, observation_size: int, action_size: int) -> None:
        self._config, self._observation_size, self._action_size = config, observation_size, action_size

    def actor(self, output_size: int, seed: int, name: str) -> keras.Model:
        """From `of` an observation to float32 [n, output_size]."""
        return mlp(self._observation_size, self._config.actor_hidden, output_size, activation="relu", seed=seed,
                   precision=self._config.precision, name=name)

    def critic(self, seed: int, name: str) -> keras.Model:
        """From `with_action` to values float32 [n, 1]."""
        config = self._config
        return mlp(self._observation_size + self._action_size, config.critic_hidden, 1, activation="relu", seed=seed,
                   layer_norm=config.critic_layer_norm, batch_renorm=config.critic_batch_renorm,
                   precision=config.precision, name=name)

    def of(self, observation: Any) -> Any:
        """What the actor takes for observations [n, observation_size]."""
        return observation

    def from_observations(self, actor: keras.Model) -> keras.Model:
        """The actor as a model of observations."""
        return actor

    def with_action(self, state: Any, action: tf.Tensor) -> Any:
        """What a critic takes for what `of` gave and actions [n, action_size]."""
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


class EmbeddedInputs(PlainInputs):
    """Networks that also take learned embeddings (Fujimoto et al., For SALE, arXiv:2306.02451).

    An encoder learns to predict the embedding of the next observation from those of observation and action. Actors
    and critics take the embeddings of an average of it that follows slowly.

    Differs from the paper in: the average, where the paper has two copies that are renewed every 250 updates, one for
    what is learned and one for its targets.

    Args:
        config, observation_size, action_size: as of the base class.
        stream: seeds the encoder's weights.
    """

    metrics = ("encoder_loss",)

    def __init__(self, config: TwinCriticConfig, observation_size: int, action_size: int,
                 stream: np.random.SeedSequence) -> None:
        super().__init__(config, observation_size, action_size)
        seeds = [int(seed) for seed in stream.generate_state(2)]
        self.encoder, self.average = (
            sale.encoder(observation_size, action_size, config.embedding_size, seeds, name, config.precision)
            for name in ("encoder", "average_encoder"))
        self._optimizer = trained_by_adam(self.learned(), config.critic_learning_rate, config.momentum)

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

    def of(self, observation: Any) -> Any:
        """See the base class."""
        return [observation, self.average[0](observation)]

    def from_observations(self, actor: keras.Model) -> keras.Model:
        """See the base class."""
        observation = keras.Input((self._observation_size,), dtype="float32")
        return keras.Model(observation, actor(self.of(observation)))

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


def inputs(config: TwinCriticConfig, observation_size: int, action_size: int,
           streams: list[np.random.SeedSequence]) -> PlainInputs:
    """What the networks of these settings take; `streams` holds one more random stream where that is learned."""
    if config.embedding_size:
        return EmbeddedInputs(config, observation_size, action_size, *streams)
    return PlainInputs(config, observation_size, action_size)


def twin_critics(taken: PlainInputs, config: TwinCriticConfig,
                 streams: list[np.random.SeedSequence]) -> tuple[list[keras.Model], list[keras.Model]]:
    """Two critics, and their targets; with `critic_batch_renorm` there are no targets."""
    critics, targets = ([taken.critic(first_seed(stream), f"{name}_{i}") for i, stream in enumerate(streams)]
                        for name in ("critic", "target_critic"))
    return critics, [] if config.critic_batch_renorm else targets


def as_tensors(batch: ReplayBatch) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Observations, actions and next observations; Keras takes lists of inputs only where all are tensors."""
    return tf.constant(batch.observation), tf.constant(batch.action), tf.constant(batch.next_observation)


def paired_values(critics: list[keras.Model], targets: list[keras.Model], taken: Any,
                  following: Any) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
    """Values [m] of what was done by each critic, and of what comes next by each target.

    Without targets the critics give both, in one pass, so that both are normalised alike (CrossQ: Bhatt et al.,
    arXiv:1902.05605); they learn from what they give, so the caller stops the gradient of the second ones.

    Args:
        critics, targets: of `twin_critics`.
        taken, following: what critics take, see `PlainInputs.with_action`.
    """
    if targets:
        return [critic(taken)[:, 0] for critic in critics], [target(following)[:, 0] for target in targets]
    both = tf.concat([taken, following], axis=0)
    pairs = [tf.split(critic(both, training=True)[:, 0], 2) for critic in critics]
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]
