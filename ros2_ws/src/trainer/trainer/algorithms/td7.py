"""TD7: TD3 on learned embeddings of states and actions (Fujimoto et al., For SALE, arXiv:2306.02451)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ant_rl_core.exploration import Exploration, explore
from ant_rl_core.step import Previous, Transition
from trainer import checkpoint, export, guard
from trainer.experience import Experience, OffPolicyConfig, mean_figures
from trainer.networks import sale, weights
from trainer.networks.mlp import PRECISIONS

METRICS = ("encoder_loss", "critic_loss", "q_value")
_HUBER_BOUND = 1.0  # where errors begin to count linearly, which is also the least priority


@dataclass(frozen=True)
class TD7Config(OffPolicyConfig):
    """Settings of TD7.

    Attributes:
        encoder_learning_rate, actor_learning_rate, critic_learning_rate: step sizes of Adam.
        target_interval: gradient steps between the copies of the learned networks into the fixed and the target ones.
        actor_interval: critic updates per actor update.
        exploration_std: standard deviation of the noise on the actions that collect data.
        target_noise_std: standard deviation of the noise on the target's action.
        target_noise_clip: that noise is clipped to this magnitude.
        width: size of every hidden layer and of the embeddings.
        precision: of the matrix products in learning, float32 or bfloat16.
    """

    learning_starts: int = 25_000
    prioritized: bool = True
    priority_exponent: float = 0.4
    importance_exponent: float = 0.0
    importance_exponent_end: float = 0.0
    encoder_learning_rate: float = 3e-4
    actor_learning_rate: float = 3e-4
    critic_learning_rate: float = 3e-4
    target_interval: int = 250
    actor_interval: int = 2
    exploration_std: float = 0.1
    target_noise_std: float = 0.2
    target_noise_clip: float = 0.5
    width: int = 256
    precision: str = "float32"

    def __post_init__(self) -> None:
        super().__post_init__()
        guard.check_config(
            self, (0 < self.encoder_learning_rate < np.inf, "encoder_learning_rate must be positive"),
            (0 < self.actor_learning_rate < np.inf, "actor_learning_rate must be positive"),
            (0 < self.critic_learning_rate < np.inf, "critic_learning_rate must be positive"),
            (self.target_interval >= 1, "target_interval must be at least 1"),
            (self.actor_interval >= 1, "actor_interval must be at least 1"),
            (self.exploration_std >= 0, "exploration_std must be at least 0"),
            (self.target_noise_std >= 0, "target_noise_std must be at least 0"),
            (self.target_noise_clip >= 0, "target_noise_clip must be at least 0"),
            (self.width >= 1, "width must be at least 1"),
            (self.precision in PRECISIONS, f"precision must be {' or '.join(PRECISIONS)}"))


class TD7:
    """Learner for `num_envs` robots; see `TD7Config`.

    An encoder learns to predict the embedding of the next state from those of state and action. Actor and critics
    take the embeddings of a fixed copy of it as further inputs; the copies are renewed together, seldom. Draws are
    prioritised with the loss that belongs to that (LAP), and targets are clipped to the range of values seen.

    Differs from the paper in: no checkpoints, the present policy is the one that acts and is handed over (as the
    authors' code does with that option off); optional n-step returns and normalised observations.
    """

    name = "td7"
    on_policy = False

    def __init__(self, config: TD7Config, num_envs: int, observation_size: int, action_size: int, seed: int,
                 robot: str = "Ant-v5") -> None:
        self.config, self.num_envs, self.robot = config, num_envs, robot
        self.observation_size, self.action_size = observation_size, action_size
        network_seed, replay_seed, noise_seed = np.random.SeedSequence(seed).spawn(3)
        self._network_seeds = [int(seed) for seed in network_seed.generate_state(5)]
        self.noise = np.random.default_rng(noise_seed)
        self.experience = Experience(config, num_envs, observation_size, action_size, replay_seed)
        self.version = 1
        # Each is a pair: what states and what states with actions are encoded by.
        self.encoder, self.fixed_encoder, self.target_encoder = (
            self._encoder(name) for name in ("encoder", "fixed_encoder", "target_encoder"))
        self.actor, self.target_actor = self._actor("actor"), self._actor("target_actor")
        self.critics, self.target_critics = self._critics("critic"), self._critics("target_critic")
        self.optimizers = [keras.optimizers.Adam(rate) for rate in (
            config.encoder_learning_rate, config.critic_learning_rate, config.actor_learning_rate)]
        self._learned = [_variables(self.encoder), _variables(self.critics), _variables([self.actor])]
        for optimizer, variables in zip(self.optimizers, self._learned, strict=True):
            optimizer.build(variables)
        # Range of all targets so far, and what it was at the last copy, to which the new ones are clipped.
        self._range, self._bounds = np.array([np.inf, -np.inf]), np.zeros(2, np.float32)
        observation = keras.Input((observation_size,), dtype="float32")
        network = keras.Model(observation, self.actor([observation, self.fixed_encoder[0](observation)]))
        self._graph = export.deterministic_graph(network, self.experience.statistics, config.observation_clip)
        # One call each: in a graph that is not compiled as a whole, an optimizer's many small operations cost most.
        self._apply = [tf.function(lambda *gradients, i=i: self.optimizers[i].apply(gradients, self._learned[i]),
                                   jit_compile=True, autograph=False) for i in range(len(self.optimizers))]
        compiled = config.precision == "float32"
        self._learn_critics = tf.function(self._critic_step, jit_compile=compiled, autograph=False)
        self._learn_actor = tf.function(self._actor_step, jit_compile=compiled, autograph=False)
        rows = [tf.TensorSpec((None, observation_size), tf.float32)]
        self._action = tf.function(self._act, input_signature=rows, autograph=False)
        self._value = tf.function(self._state_value, input_signature=rows, autograph=False)

    @property
    def env_steps(self) -> int:
        """Transitions observed."""
        return self.experience.env_steps

    # -- acting ------------------------------------------------------------------------------------------------------

    def initial_state(self, num_envs: int) -> tuple[()]:
        """Nothing: the actor is feed-forward."""
        return ()

    def act(self, observation: np.ndarray, previous: Previous, state: Any,
            reset_mask: np.ndarray) -> tuple[np.ndarray, Mapping[str, np.ndarray], Any]:
        """Exploring actions of the live policy; see `Actor`."""
        outputs = {"action": self._action(tf.constant(self.experience.normalise(observation))).numpy()}
        action, extras = explore(self._exploration(), outputs, self.noise)
        return action, extras, state

    def value(self, observation: np.ndarray) -> np.ndarray:
        """float32 [n]: what the critics give for the policy's action, the smaller of both."""
        return self._value(tf.constant(self.experience.normalise(observation))).numpy()

    def _exploration(self) -> Exploration:
        if self.experience.warming_up:
            return Exploration("uniform")
        return Exploration("gaussian", self.config.exploration_std)

    # -- learning ----------------------------------------------------------------------------------------------------

    def observe(self, batch: Transition) -> None:
        """Take one tick; FloatingPointError where it holds NaN or infinity."""
        self.experience.observe(batch)

    def ready(self) -> bool:
        """Whether gradient steps are owed."""
        return self.experience.owed() > 0

    def update(self) -> dict[str, float]:
        """Make the gradient steps owed for one tick; returns the means of their figures by name."""
        figures = mean_figures([self._gradient_step() for _ in range(self.experience.owed())])
        guard.check(figures, [v for variables in self._learned for v in variables], self.env_steps)
        self.version += 1
        return figures

    def policy(self, provenance: Mapping[str, Any] | None = None) -> bytes:
        """The current policy as the bytes of a bundle; `provenance` is added to configuration and steps."""
        return self._graph.bundle(algorithm=self.name, robot=self.robot, version=self.version,
                                  exploration=self._exploration(),
                                  provenance={"config": asdict(self.config), "env_steps": self.env_steps,
                                              **(provenance or {})})

    def save(self) -> dict[str, np.ndarray]:
        """Everything an unbroken continuation needs."""
        return {**weights.pack("variable_", self._state()), **self.experience.save(), "range": self._range.copy(),
                "bounds": self._bounds.copy(), "noise": checkpoint.pack_generator(self.noise),
                "version": np.asarray(self.version)}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Continue from what `save` returned; ValueError if it was of networks or a buffer of other sizes."""
        weights.unpack("variable_", self._state(), state)
        self.experience.restore(state)
        self._range, self._bounds = state["range"].copy(), state["bounds"].copy()
        checkpoint.unpack_generator(self.noise, state["noise"])
        self.version = int(state["version"])

    def _state(self) -> list[keras.Variable]:
        return [*(v for variables in self._learned for v in variables),
                *_variables([*self.fixed_encoder, *self.target_encoder, self.target_actor, *self.target_critics]),
                *(v for optimizer in self.optimizers for v in optimizer.variables)]

    def _gradient_step(self) -> dict[str, float]:
        config, batch, replay = self.config, self.experience.draw(), self.experience.replay
        noise = self.noise.standard_normal(batch.action.shape, np.float32) * config.target_noise_std
        noise = np.clip(noise, -config.target_noise_clip, config.target_noise_clip)
        # Keras takes lists of inputs only where all are tensors.
        observation, action, following, noise = map(tf.constant, (
            batch.observation, batch.action, batch.next_observation, noise))
        figures, error, span, embedding = self._learn_critics(
            observation, action, batch.reward, batch.discount, following, batch.weight, noise, self._bounds)
        low, high = span.numpy()
        self._range[:] = min(self._range[0], low), max(self._range[1], high)
        if config.prioritized:
            replay.update_priorities(batch.index, np.maximum(error.numpy(), _HUBER_BOUND))
        found = dict(zip(METRICS, figures.numpy().tolist(), strict=True))
        if self.experience.updates % config.actor_interval == 0:
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
        encode_state, encode_action = self.encoder
        predicted = tf.stop_gradient(encode_state(next_observation))
        with tf.GradientTape() as tape:
            encoder_loss = tf.reduce_mean(tf.square(encode_action([encode_state(observation), action]) - predicted))
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
        figures = tf.stack([encoder_loss, loss, tf.reduce_mean(values[0])])
        span = tf.stack([tf.reduce_min(target), tf.reduce_max(target)])
        return figures, tf.maximum(*errors), span, embedding

    def _actor_step(self, observation: tf.Tensor, embedding: tf.Tensor) -> tf.Tensor:
        """One gradient step of the actor; returns its loss."""
        with tf.GradientTape() as tape:
            action = tf.tanh(self.actor([observation, embedding]))
            inputs = [observation, action, self.fixed_encoder[1]([embedding, action]), embedding]
            loss = -tf.add_n([tf.reduce_mean(critic(inputs)) for critic in self.critics]) / len(self.critics)
        self._descend(2, tape, loss)
        return loss

    def _descend(self, part: int, tape: tf.GradientTape, loss: tf.Tensor) -> None:
        gradients = tape.gradient(loss, [v.value for v in self._learned[part]])
        self._apply[part](*gradients)

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

    def _encoder(self, name: str) -> tuple[keras.Model, keras.Model]:
        options = [self._options(i, f"{name}_{part}") for i, part in enumerate(("state", "action"))]
        return (sale.state_encoder(self.observation_size, self.config.width, **options[0]),
                sale.action_encoder(self.action_size, self.config.width, **options[1]))

    def _actor(self, name: str) -> keras.Model:
        return sale.actor(self.observation_size, self.action_size, self.config.width,
                          **self._options(2, name))

    def _critics(self, name: str) -> list[keras.Model]:
        return [sale.critic(self.observation_size, self.action_size, self.config.width,
                            **self._options(3 + i, f"{name}_{i}")) for i in range(2)]

    def _options(self, seed: int, name: str) -> dict[str, Any]:
        return {"seed": self._network_seeds[seed], "name": name, "precision": self.config.precision}


def _variables(networks: Sequence[keras.Model]) -> list[keras.Variable]:
    return [v for network in networks for v in network.trainable_variables]


def _huber(error: tf.Tensor) -> tf.Tensor:
    """Of absolute errors: squares within the bound; beyond it the authors' bound * error, without an offset."""
    return tf.where(error < _HUBER_BOUND, 0.5 * tf.square(error), _HUBER_BOUND * error)
