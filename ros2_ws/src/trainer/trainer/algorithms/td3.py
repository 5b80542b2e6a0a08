"""Twin delayed deep deterministic policy gradient (Fujimoto et al., arXiv:1802.09477)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ant_rl_core.exploration import Exploration, explore
from ant_rl_core.step import Previous, Transition
from trainer import checkpoint, export, guard
from trainer.experience import Experience, OffPolicyConfig, mean_figures
from trainer.networks import weights
from trainer.networks.mlp import PRECISIONS, mlp

METRICS = ("critic_loss", "q_value")


@dataclass(frozen=True)
class TD3Config(OffPolicyConfig):
    """Settings of TD3.

    Attributes:
        actor_learning_rate, critic_learning_rate: step sizes of Adam.
        target_share: how far the target networks follow the learned ones at each actor update.
        actor_interval: critic updates per actor update.
        exploration_std: standard deviation of the noise on the actions that collect data.
        target_noise_std: standard deviation of the noise on the target's action.
        target_noise_clip: that noise is clipped to this magnitude.
        actor_hidden, critic_hidden: sizes of the hidden layers.
        precision: of the matrix products in learning, float32 or bfloat16.
    """

    actor_learning_rate: float = 3e-4
    critic_learning_rate: float = 3e-4
    target_share: float = 0.005
    actor_interval: int = 2
    exploration_std: float = 0.1
    target_noise_std: float = 0.2
    target_noise_clip: float = 0.5
    actor_hidden: tuple[int, ...] = (256, 256)
    critic_hidden: tuple[int, ...] = (256, 256)
    precision: str = "float32"

    def __post_init__(self) -> None:
        super().__post_init__()
        guard.check_config(
            self, (0 < self.actor_learning_rate < np.inf, "actor_learning_rate must be positive"),
            (0 < self.critic_learning_rate < np.inf, "critic_learning_rate must be positive"),
            (0 < self.target_share <= 1, "target_share must be above 0 and at most 1"),
            (self.actor_interval >= 1, "actor_interval must be at least 1"),
            (self.exploration_std >= 0, "exploration_std must be at least 0"),
            (self.target_noise_std >= 0, "target_noise_std must be at least 0"),
            (self.target_noise_clip >= 0, "target_noise_clip must be at least 0"),
            (min(self.actor_hidden, default=1) >= 1, "actor_hidden must hold sizes of at least 1"),
            (min(self.critic_hidden, default=1) >= 1, "critic_hidden must hold sizes of at least 1"),
            (self.precision in PRECISIONS, f"precision must be {' or '.join(PRECISIONS)}"))


class TD3:
    """Learner for `num_envs` robots; see `TD3Config`.

    Two critics learn from the smaller of their two targets, whose action carries clipped noise; the actor climbs the
    first critic, and the targets follow, at every `actor_interval`-th update.

    Differs from the paper in: one learning rate of 3e-4 and batches of 256, as in the authors' later code; the first
    actions are random for 10,000 steps; optional n-step returns, prioritised replay and normalised observations.
    """

    name = "td3"
    on_policy = False

    def __init__(self, config: TD3Config, num_envs: int, observation_size: int, action_size: int, seed: int,
                 robot: str = "Ant-v5") -> None:
        self.config, self.num_envs, self.robot = config, num_envs, robot
        self.observation_size, self.action_size = observation_size, action_size
        *network_seeds, replay_seed, noise_seed = np.random.SeedSequence(seed).spawn(5)
        actor_seed, *critic_seeds = (int(s.generate_state(1)[0]) for s in network_seeds)
        self.noise = np.random.default_rng(noise_seed)
        self.experience = Experience(config, num_envs, observation_size, action_size, replay_seed)
        self.version = 1

        def actor(name: str) -> keras.Model:
            return mlp(observation_size, config.actor_hidden, action_size, activation="relu", seed=actor_seed,
                       precision=config.precision, name=name)

        def critics(name: str) -> list[keras.Model]:
            return [mlp(observation_size + action_size, config.critic_hidden, 1, activation="relu", seed=critic_seed,
                        precision=config.precision, name=f"{name}_{i}") for i, critic_seed in enumerate(critic_seeds)]

        self.actor, self.target_actor = actor("actor"), actor("target_actor")
        self.critics, self.target_critics = critics("critic"), critics("target_critic")
        self._actor_variables = self.actor.trainable_variables
        self._critic_variables = [v for critic in self.critics for v in critic.trainable_variables]
        self.actor_optimizer = keras.optimizers.Adam(config.actor_learning_rate)
        self.critic_optimizer = keras.optimizers.Adam(config.critic_learning_rate)
        self.actor_optimizer.build(self._actor_variables)
        self.critic_optimizer.build(self._critic_variables)
        self._graph = export.deterministic_graph(self.actor, self.experience.statistics, config.observation_clip)
        compiled = config.precision == "float32"
        self._learn_critics = tf.function(self._critic_step, jit_compile=compiled, autograph=False)
        self._learn_actor = tf.function(self._actor_step, jit_compile=compiled, autograph=False)
        rows = [tf.TensorSpec((None, observation_size), tf.float32)]
        self._action = tf.function(lambda x: tf.tanh(self.actor(x)), input_signature=rows, autograph=False)
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
        outputs = {"action": self._action(self.experience.normalise(observation)).numpy()}
        action, extras = explore(self._exploration(), outputs, self.noise)
        return action, extras, state

    def value(self, observation: np.ndarray) -> np.ndarray:
        """float32 [n]: what the critics give for the policy's action, the smaller of both."""
        return self._value(self.experience.normalise(observation)).numpy()

    def _state_value(self, observation: tf.Tensor) -> tf.Tensor:
        taken = tf.concat([observation, tf.tanh(self.actor(observation))], axis=1)
        return tf.minimum(*(critic(taken)[:, 0] for critic in self.critics))

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
        guard.check(figures, [*self._critic_variables, *self._actor_variables], self.env_steps)
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
        return {**weights.pack("variable_", self._state()), **self.experience.save(),
                "noise": checkpoint.pack_generator(self.noise), "version": np.asarray(self.version)}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Continue from what `save` returned; ValueError if it was of networks or a buffer of other sizes."""
        weights.unpack("variable_", self._state(), state)
        self.experience.restore(state)
        checkpoint.unpack_generator(self.noise, state["noise"])
        self.version = int(state["version"])

    def _state(self) -> list[keras.Variable]:
        return [*self._actor_variables, *self._critic_variables, *self.target_actor.variables,
                *(v for critic in self.target_critics for v in critic.variables),
                *self.actor_optimizer.variables, *self.critic_optimizer.variables]

    def _gradient_step(self) -> dict[str, float]:
        config, batch = self.config, self.experience.draw()
        noise = self.noise.standard_normal(batch.action.shape, np.float32) * config.target_noise_std
        noise = np.clip(noise, -config.target_noise_clip, config.target_noise_clip)
        observation = tf.constant(batch.observation)
        figures, error = self._learn_critics(observation, batch.action, batch.reward, batch.discount,
                                             batch.next_observation, batch.weight, noise)
        if config.prioritized:
            self.experience.replay.update_priorities(batch.index, error.numpy() + 1e-6)
        found = dict(zip(METRICS, figures.numpy().tolist(), strict=True))
        if self.experience.updates % config.actor_interval == 0:
            found["actor_loss"] = float(self._learn_actor(observation))
        return found

    def _critic_step(self, observation: tf.Tensor, action: tf.Tensor, reward: tf.Tensor, discount: tf.Tensor,
                     next_observation: tf.Tensor, weight: tf.Tensor, noise: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """One gradient step of both critics; returns `METRICS` and the larger error of each row [m]."""
        next_action = tf.clip_by_value(tf.tanh(self.target_actor(next_observation)) + noise, -1.0, 1.0)
        following = tf.concat([next_observation, next_action], axis=1)
        target = reward + discount * tf.minimum(*(critic(following)[:, 0] for critic in self.target_critics))
        taken = tf.concat([observation, action], axis=1)
        with tf.GradientTape() as tape:
            values = [critic(taken)[:, 0] for critic in self.critics]
            errors = [value - target for value in values]
            loss = tf.add_n([tf.reduce_mean(weight * tf.square(error)) for error in errors])
        gradients = tape.gradient(loss, [v.value for v in self._critic_variables])
        self.critic_optimizer.apply(gradients, self._critic_variables)
        return tf.stack([loss, tf.reduce_mean(values[0])]), tf.maximum(*map(tf.abs, errors))

    def _actor_step(self, observation: tf.Tensor) -> tf.Tensor:
        """One gradient step of the actor, after which the targets follow; returns the actor's loss."""
        with tf.GradientTape() as tape:
            action = tf.tanh(self.actor(observation))
            loss = -tf.reduce_mean(self.critics[0](tf.concat([observation, action], axis=1)))
        gradients = tape.gradient(loss, [v.value for v in self._actor_variables])
        self.actor_optimizer.apply(gradients, self._actor_variables)
        share = self.config.target_share
        weights.follow(self.target_actor.variables, self.actor.variables, share)
        for target, critic in zip(self.target_critics, self.critics, strict=True):
            weights.follow(target.variables, critic.variables, share)
        return loss
