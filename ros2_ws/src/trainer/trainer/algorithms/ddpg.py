"""Deep deterministic policy gradient (Lillicrap et al., arXiv:1509.02971)."""

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

METRICS = ("critic_loss", "q_value", "actor_loss")
# Hidden layers of each network that are normalised before their activation; see `mlp`.
NETWORKS = {"default": (), "report": (0,)}


@dataclass(frozen=True)
class DDPGConfig(OffPolicyConfig):
    """Settings of DDPG.

    Attributes:
        network: default, or report, which normalises the sums of the first hidden layer in actor and critic, so that
            hidden layers of 256 and 256 become 256-LayerNorm-256.
        actor_learning_rate, critic_learning_rate: step sizes of Adam.
        target_share: how far the target networks follow the learned ones at each update.
        exploration_std: standard deviation of the noise on the actions that collect data, at the start.
        exploration_std_end: the same at the end of its decay, and from there on.
        exploration_steps: environment steps over which it decays, in a straight line.
        actor_hidden, critic_hidden: sizes of the hidden layers.
        precision: of the matrix products in learning, float32 or bfloat16.
    """

    network: str = "default"
    actor_learning_rate: float = 3e-4
    critic_learning_rate: float = 3e-4
    target_share: float = 0.005
    exploration_std: float = 0.2
    exploration_std_end: float = 0.05
    exploration_steps: int = 200_000
    actor_hidden: tuple[int, ...] = (256, 256)
    critic_hidden: tuple[int, ...] = (256, 256)
    precision: str = "float32"

    def __post_init__(self) -> None:
        super().__post_init__()
        normalised = len(NETWORKS.get(self.network, ()))
        guard.check_config(
            self, (self.network in NETWORKS, f"network must be {' or '.join(NETWORKS)}"),
            (0 < self.actor_learning_rate < np.inf, "actor_learning_rate must be positive"),
            (0 < self.critic_learning_rate < np.inf, "critic_learning_rate must be positive"),
            (0 < self.target_share <= 1, "target_share must be above 0 and at most 1"),
            (0 <= self.exploration_std < np.inf, "exploration_std must be at least 0"),
            (0 <= self.exploration_std_end < np.inf, "exploration_std_end must be at least 0"),
            (self.exploration_steps >= 1, "exploration_steps must be at least 1"),
            (min(self.actor_hidden, default=1) >= 1, "actor_hidden must hold sizes of at least 1"),
            (min(self.critic_hidden, default=1) >= 1, "critic_hidden must hold sizes of at least 1"),
            (len(self.actor_hidden) >= normalised, "actor_hidden must hold a size to normalise with network report"),
            (len(self.critic_hidden) >= normalised, "critic_hidden must hold a size to normalise with network report"),
            (self.precision in PRECISIONS, f"precision must be {' or '.join(PRECISIONS)}"))


class DDPG:
    """Learner for `num_envs` robots; see `DDPGConfig`.

    The critic learns from its own target's value of the target actor's action; the actor climbs the critic.

    Differs from the paper in: Gaussian noise with a decaying standard deviation instead of an Ornstein-Uhlenbeck
    process; targets that follow five times as fast; networks of 256 and 256 units that take the action in the first
    layer, without weight decay, and layer instead of batch normalisation (with network report) or none; other step
    sizes and batches; the first actions are random for 10,000 steps; optional n-step returns, prioritised replay and
    normalised observations.
    """

    name = "ddpg"
    on_policy = False

    def __init__(self, config: DDPGConfig, num_envs: int, observation_size: int, action_size: int, seed: int,
                 robot: str = "Ant-v5") -> None:
        self.config, self.num_envs, self.robot = config, num_envs, robot
        self.observation_size, self.action_size = observation_size, action_size
        *network_seeds, replay_seed, noise_seed = np.random.SeedSequence(seed).spawn(4)
        actor_seed, critic_seed = (int(s.generate_state(1)[0]) for s in network_seeds)
        self.noise = np.random.default_rng(noise_seed)
        self.experience = Experience(config, num_envs, observation_size, action_size, replay_seed)
        self.version = 1

        def actor(name: str) -> keras.Model:
            return mlp(observation_size, config.actor_hidden, action_size, activation="relu", seed=actor_seed,
                       layer_norm=NETWORKS[config.network], precision=config.precision, name=name)

        def critic(name: str) -> keras.Model:
            return mlp(observation_size + action_size, config.critic_hidden, 1, activation="relu", seed=critic_seed,
                       layer_norm=NETWORKS[config.network], precision=config.precision, name=name)

        self.actor, self.target_actor = actor("actor"), actor("target_actor")
        self.critic, self.target_critic = critic("critic"), critic("target_critic")
        self._actor_variables = self.actor.trainable_variables
        self._critic_variables = self.critic.trainable_variables
        self._target_variables = [*self.target_actor.trainable_variables, *self.target_critic.trainable_variables]
        self.actor_optimizer = keras.optimizers.Adam(config.actor_learning_rate)
        self.critic_optimizer = keras.optimizers.Adam(config.critic_learning_rate)
        self.actor_optimizer.build(self._actor_variables)
        self.critic_optimizer.build(self._critic_variables)
        self._graph = export.deterministic_graph(self.actor, self.experience.statistics, config.observation_clip)
        compiled = config.precision == "float32"
        self._learn = tf.function(self._step, jit_compile=compiled, autograph=False)
        rows = [tf.TensorSpec((None, observation_size), tf.float32)]
        self._action = tf.function(lambda x: tf.tanh(self.actor(x)), input_signature=rows, autograph=False)
        self._value = tf.function(lambda x: self._worth(self.actor, self.critic, x), input_signature=rows,
                                  autograph=False)

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
        """float32 [n]: what the critic gives for the policy's action."""
        return self._value(self.experience.normalise(observation)).numpy()

    def _exploration(self) -> Exploration:
        if self.experience.warming_up:
            return Exploration("uniform")
        start, end = self.config.exploration_std, self.config.exploration_std_end
        left = max(0.0, 1.0 - self.env_steps / self.config.exploration_steps)
        return Exploration("gaussian", end + (start - end) * left)

    # -- learning ----------------------------------------------------------------------------------------------------

    def observe(self, batch: Transition) -> None:
        """Take one tick; FloatingPointError where it holds NaN or infinity."""
        self.experience.observe(batch)

    def ready(self) -> bool:
        """Whether gradient steps are owed."""
        return self.experience.owed() > 0

    def update(self) -> dict[str, float]:
        """Make the gradient steps owed for one tick; returns the means of `METRICS` by name."""
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
        return [*self._actor_variables, *self._critic_variables, *self._target_variables,
                *self.actor_optimizer.variables, *self.critic_optimizer.variables]

    def _gradient_step(self) -> dict[str, float]:
        batch = self.experience.draw()
        figures, error = self._learn(batch.observation, batch.action, batch.reward, batch.discount,
                                     batch.next_observation, batch.weight)
        if self.config.prioritized:
            self.experience.replay.update_priorities(batch.index, error.numpy() + 1e-6)
        return dict(zip(METRICS, figures.numpy().tolist(), strict=True))

    def _step(self, observation: tf.Tensor, action: tf.Tensor, reward: tf.Tensor, discount: tf.Tensor,
              next_observation: tf.Tensor, weight: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """One gradient step of the critic, then of the actor, after which the targets follow.

        Takes arrays as of `ReplayBatch`; returns `METRICS` and the error of each row [m].
        """
        target = reward + discount * self._worth(self.target_actor, self.target_critic, next_observation)
        taken = tf.concat([observation, action], axis=1)
        with tf.GradientTape() as tape:
            values = self.critic(taken)[:, 0]
            critic_loss = tf.reduce_mean(weight * tf.square(values - target))
        gradients = tape.gradient(critic_loss, [v.value for v in self._critic_variables])
        self.critic_optimizer.apply(gradients, self._critic_variables)
        with tf.GradientTape() as tape:
            actor_loss = -tf.reduce_mean(self._worth(self.actor, self.critic, observation))
        gradients = tape.gradient(actor_loss, [v.value for v in self._actor_variables])
        self.actor_optimizer.apply(gradients, self._actor_variables)
        weights.follow(self._target_variables, [*self._actor_variables, *self._critic_variables],
                       self.config.target_share)
        return tf.stack([critic_loss, tf.reduce_mean(values), actor_loss]), tf.abs(values - target)

    @staticmethod
    def _worth(actor: keras.Model, critic: keras.Model, observation: tf.Tensor) -> tf.Tensor:
        """What the critic gives for the actor's action, float32 [m]."""
        return critic(tf.concat([observation, tf.tanh(actor(observation))], axis=1))[:, 0]
