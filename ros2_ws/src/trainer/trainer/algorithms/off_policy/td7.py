"""TD7: TD3 on learned embeddings of states and actions (Fujimoto et al., For SALE, arXiv:2306.02451)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ant_rl_core import bundle as policy_bundle
from ant_rl_core.exploration import Exploration
from ant_rl_core.settings import changed, setting
from ant_rl_core.shipped import resolve_policy
from policy_node.keras_actor import load_model
from trainer.algorithms.off_policy.base import OffPolicyLearner, trained_by_adam, variables_of
from trainer.algorithms.off_policy.experience import OffPolicyConfig
from trainer.algorithms.off_policy.inputs import as_tensors
from trainer.algorithms.off_policy.noise import NoiseConfig
from trainer.export import policy_graph
from trainer.networks import sale, weights

METRICS = ("encoder_loss", "critic_loss", "q_value")
_HUBER_BOUND = 1.0  # where errors begin to count linearly, which is also the least priority


@dataclass(frozen=True)
class TD7Config(NoiseConfig, OffPolicyConfig):
    """Settings of TD7."""

    learning_starts: int = changed(25_000)
    prioritized: bool = changed(True)
    priority_exponent: float = changed(0.4)
    importance_exponent: float = changed(0.0)
    importance_exponent_end: float = changed(0.0)
    encoder_learning_rate: float = setting(3e-4, "step size of Adam for the encoders", above=0)
    actor_learning_rate: float = setting(3e-4, "step size of Adam for the actor", above=0)
    critic_learning_rate: float = setting(3e-4, "step size of Adam for the critics", above=0)
    target_interval: int = setting(250, "gradient steps between the copies of the learned networks into the fixed and "
                                   "the target ones", minimum=1)
    actor_interval: int = setting(2, "critic updates per actor update", minimum=1)
    width: int = setting(256, "size of every hidden layer and of the embeddings", minimum=1)
    initial_policy: str = setting("", "policy to go on from, a bundle of this method and width or the name of a "
                                  "shipped one. It acts, with noise, instead of random actions, and its encoder of "
                                  "observations stays as it is; empty for none", path=True)
    actor_starts: int = setting(0, "gradient steps before the actor learns: until then critics learn what a given "
                                "policy is worth", minimum=0)

    def rules(self) -> Iterator[tuple[bool, str]]:
        yield from super().rules()
        yield (not (self.initial_policy and self.normalize_observations),
               "normalize_observations must be false with initial_policy")


class TD7(OffPolicyLearner):
    """Learner for `num_envs` robots; see `TD7Config`.

    An encoder learns to predict the embedding of the next state from those of state and action. Actor and critics
    take the embeddings of a fixed copy of it as further inputs; the copies are renewed together, seldom. Draws are
    prioritized with the loss that belongs to that (LAP), and targets are clipped to the range of values seen.

    With `initial_policy` it goes on from a policy whose critics are lost: they are learned anew from what that does,
    while the actor waits (`actor_starts`).

    Differs from the paper in: no checkpoints, the present policy is the one that acts and is handed over (as the
    authors' code does with that option off); optional n-step returns and normalized observations.
    """

    name = "td7"
    config: TD7Config

    def __init__(self, config: TD7Config, num_envs: int, observation_size: int, action_size: int, seed: int,
                 robot: str = "Ant-v5") -> None:
        super().__init__(config, num_envs, observation_size, action_size, seed, robot, network_streams=1)
        self._network_seeds = [int(seed) for seed in self._network_streams[0].generate_state(5)]
        # Each is a pair: what states and what states with actions are encoded by.
        self.encoder, self.fixed_encoder, self.target_encoder = (
            self._encoder(name) for name in ("encoder", "fixed_encoder", "target_encoder"))
        self.actor, self.target_actor = self._actor("actor"), self._actor("target_actor")
        self.critics, self.target_critics = self._critics("critic"), self._critics("target_critic")
        encoder = self.encoder[1:] if config.initial_policy else self.encoder
        self._parts = [variables_of(networks) for networks in (encoder, self.critics, [self.actor])]
        self.optimizers = list(map(trained_by_adam, self._parts, (
            config.encoder_learning_rate, config.critic_learning_rate, config.actor_learning_rate)))
        # Range of all targets so far, and what it was at the last copy, to which the new ones are clipped.
        self._range, self._bounds = np.array([np.inf, -np.inf]), np.zeros(2, np.float32)
        observation = keras.Input((observation_size,), dtype="float32")
        network = keras.Model(observation, self.actor([observation, self.fixed_encoder[0](observation)]))
        self._graph = policy_graph.deterministic_graph(network, self.experience.normalizer)
        if config.initial_policy:
            self._begin_from(config.initial_policy, network)
        # One call each: in a graph that is not compiled as a whole, an optimizer's many small operations cost most.
        self._apply = [tf.function(lambda *gradients, i=i: self.optimizers[i].apply(gradients, self._parts[i]),
                                   jit_compile=True, autograph=False) for i in range(len(self.optimizers))]
        self._learn_critics, self._learn_actor = self._compiled(self._critic_step), self._compiled(self._actor_step)
        self._outputs = self._by_row(lambda x: {"action": self._act(x)})
        self._value = self._by_row(self._state_value)

    def _exploration(self) -> Exploration:
        if self.experience.warming_up and not self.config.initial_policy:
            return Exploration("uniform")
        return Exploration("gaussian", self.config.exploration_std)

    def save(self) -> dict[str, np.ndarray]:
        """Everything an unbroken continuation needs."""
        return {**super().save(), "range": self._range.copy(), "bounds": self._bounds.copy()}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Continue from what `save` returned; ValueError if it was of networks or a buffer of other sizes."""
        super().restore(state)
        self._range, self._bounds = state["range"].copy(), state["bounds"].copy()
        if self.config.initial_policy:  # the encoder of observations is not learned: its copy is what was saved
            weights.copy(self.fixed_encoder[0], self.encoder[0])

    def _learned(self) -> list[keras.Variable]:
        return [v for variables in self._parts for v in variables]

    def _state(self) -> list[keras.Variable]:
        return [*self._learned(), *variables_of([*self.fixed_encoder, *self.target_encoder, self.target_actor,
                                                 *self.target_critics]),
                *(v for optimizer in self.optimizers for v in weights.of_optimizer(optimizer))]

    def _gradient_step(self) -> dict[str, float]:
        config, batch = self.config, self.experience.draw()
        noise = config.target_noise(batch.action, self.rng)
        observation, action, following = as_tensors(batch)
        metrics, error, span, embedding = self._learn_critics(
            observation, action, batch.reward, batch.discount, following, batch.weight, noise, self._bounds)
        low, high = span.numpy()
        self._range[:] = min(self._range[0], low), max(self._range[1], high)
        self.experience.prioritize(batch, np.maximum(error.numpy(), _HUBER_BOUND))
        found = dict(zip(METRICS, metrics.numpy().tolist(), strict=True))
        if self.experience.updates > config.actor_starts and self.experience.updates % config.actor_interval == 0:
            found["actor_loss"] = float(self._learn_actor(observation, embedding))
        if self.experience.updates % config.target_interval == 0:
            self._renew_targets()
        return found

    def _critic_step(self, observation: tf.Tensor, action: tf.Tensor, reward: tf.Tensor, discount: tf.Tensor,
                     next_observation: tf.Tensor, weight: tf.Tensor, noise: tf.Tensor, bounds: tf.Tensor,
                     ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
        """One gradient step of encoder and critics.

        Returns `METRICS`, the larger error of each row [m], the least and greatest target [2], and the fixed
        embedding of the observations [m, width].
        """
        with tf.GradientTape() as tape:
            encoder_loss = sale.prediction_loss(self.encoder, observation, action, next_observation)
        self._descend(0, tape, encoder_loss)

        encode_state, encode_action = self.target_encoder
        embedding = encode_state(next_observation)
        next_action = tf.clip_by_value(tf.tanh(self.target_actor([next_observation, embedding])) + noise, -1.0, 1.0)
        following = [next_observation, next_action, encode_action([embedding, next_action]), embedding]
        value = tf.minimum(*(critic(following)[:, 0] for critic in self.target_critics))
        target = reward + discount * tf.clip_by_value(value, bounds[0], bounds[1])

        encode_state, encode_action = self.fixed_encoder
        embedding = encode_state(observation)
        taken = [observation, action, encode_action([embedding, action]), embedding]
        with tf.GradientTape() as tape:
            values = [critic(taken)[:, 0] for critic in self.critics]
            errors = [tf.abs(value - target) for value in values]
            loss = tf.add_n([tf.reduce_mean(weight * _huber(error)) for error in errors])
        self._descend(1, tape, loss)
        metrics = tf.stack([encoder_loss, loss, tf.reduce_mean(values[0])])
        span = tf.stack([tf.reduce_min(target), tf.reduce_max(target)])
        return metrics, tf.maximum(*errors), span, embedding

    def _actor_step(self, observation: tf.Tensor, embedding: tf.Tensor) -> tf.Tensor:
        """One gradient step of the actor; returns its loss."""
        with tf.GradientTape() as tape:
            action = tf.tanh(self.actor([observation, embedding]))
            inputs = [observation, action, self.fixed_encoder[1]([embedding, action]), embedding]
            loss = -tf.add_n([tf.reduce_mean(critic(inputs)) for critic in self.critics]) / len(self.critics)
        self._descend(2, tape, loss)
        return loss

    def _descend(self, part: int, tape: tf.GradientTape, loss: tf.Tensor) -> None:
        gradients = tape.gradient(loss, [v.value for v in self._parts[part]])
        self._apply[part](*gradients)

    def _begin_from(self, policy: str, network: keras.Model) -> None:
        """Give actor and encoders of observations the weights of a policy; ValueError where it has others."""
        bundle = policy_bundle.read(resolve_policy(policy))
        bundle.check_robot(self.robot, self.observation_size, self.action_size)
        given = load_model(bundle.member("actor.keras")).get_weights()
        if [value.shape for value in given] != [variable.shape for variable in network.weights]:
            raise ValueError(f"initial_policy must be one of td7 with width {self.config.width} and observations as "
                             f"they come, found {policy}, of {bundle.manifest.algorithm} with other layers")
        network.set_weights(given)
        weights.copy(self.actor, self.target_actor)
        for encoder in (self.encoder, self.target_encoder):
            weights.copy(self.fixed_encoder[0], encoder[0])

    def _renew_targets(self) -> None:
        pairs = [(self.actor, self.target_actor), *zip(self.critics, self.target_critics, strict=True),
                 *zip(self.fixed_encoder, self.target_encoder, strict=True),
                 *zip(self.encoder, self.fixed_encoder, strict=True)]
        for source, target in pairs:
            weights.copy(source, target)
        if self.config.prioritized:
            self.experience.replay.reset_max_priority()
        self._bounds = self._range.astype(np.float32)

    def _act(self, observation: tf.Tensor) -> tf.Tensor:
        return tf.tanh(self.actor([observation, self.fixed_encoder[0](observation)]))

    def _state_value(self, observation: tf.Tensor) -> tf.Tensor:
        action, embedding = self._act(observation), self.fixed_encoder[0](observation)
        inputs = [observation, action, self.fixed_encoder[1]([embedding, action]), embedding]
        return tf.minimum(*(critic(inputs)[:, 0] for critic in self.critics))

    # -- networks ----------------------------------------------------------------------------------------------------

    def _encoder(self, name: str) -> sale.Encoder:
        return sale.encoder(self.observation_size, self.action_size, self.config.width, self._network_seeds[:2], name,
                            self.config.precision)

    def _actor(self, name: str) -> keras.Model:
        width = self.config.width
        return sale.actor(self.observation_size, width, (width, width), self.action_size,
                          **self._options(2, name))

    def _critics(self, name: str) -> list[keras.Model]:
        width = self.config.width
        return [sale.critic(self.observation_size, self.action_size, width, (width, width),
                            **self._options(3 + i, f"{name}_{i}")) for i in range(2)]

    def _options(self, seed: int, name: str) -> dict[str, Any]:
        return {"seed": self._network_seeds[seed], "name": name, "precision": self.config.precision}


def _huber(error: tf.Tensor) -> tf.Tensor:
    """Of absolute errors: squares within the bound; beyond it the authors' bound * error, without an offset."""
    return tf.where(error < _HUBER_BOUND, 0.5 * tf.square(error), _HUBER_BOUND * error)
