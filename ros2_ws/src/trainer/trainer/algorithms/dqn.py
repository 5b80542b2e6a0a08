"""Decoupled Q-learning (Seyde et al., Solving Continuous Control via Q-learning, arXiv:2210.12566)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ant_rl_core.exploration import Exploration, explore, torque_levels
from ant_rl_core.step import Previous, Transition
from trainer import checkpoint, export, guard
from trainer.experience import Experience, OffPolicyConfig, mean_figures
from trainer.networks import weights
from trainer.networks.mlp import PRECISIONS, mlp

METRICS = ("critic_loss", "q_value", "gradient_norm")


@dataclass(frozen=True)
class DQNConfig(OffPolicyConfig):
    """Settings of decoupled Q-learning.

    Attributes:
        levels: evenly spaced torques from -1 to 1 that each joint chooses from.
        learning_rate: step size of Adam.
        target_share: how far the target networks follow the learned ones at each update.
        epsilon: probability, per joint and step, of a random level.
        huber_threshold: errors beyond it count linearly in the loss, smaller ones by their square.
        max_gradient_norm: longer gradients are shortened to this norm.
        hidden: sizes of the hidden layers.
        layer_norm: normalise the first hidden layer.
        precision: of the matrix products in learning, float32 or bfloat16.
    """

    learning_starts: int = 5_000
    n_step: int = 3
    levels: int = 3
    learning_rate: float = 3e-4
    target_share: float = 0.005
    epsilon: float = 0.1
    huber_threshold: float = 1.0
    max_gradient_norm: float = 40.0
    hidden: tuple[int, ...] = (256, 256)
    layer_norm: bool = True
    precision: str = "float32"

    def __post_init__(self) -> None:
        super().__post_init__()
        guard.check_config(
            self, (self.levels >= 2, "levels must be at least 2"),
            (0 < self.learning_rate < np.inf, "learning_rate must be positive"),
            (0 < self.target_share <= 1, "target_share must be above 0 and at most 1"),
            (0 <= self.epsilon <= 1, "epsilon must be from 0 to 1"),
            (self.huber_threshold > 0, "huber_threshold must be positive"),
            (self.max_gradient_norm > 0, "max_gradient_norm must be positive"),
            (min(self.hidden, default=1) >= 1, "hidden must hold sizes of at least 1"),
            (self.precision in PRECISIONS, f"precision must be {' or '.join(PRECISIONS)}"))


class DQN:
    """Learner for `num_envs` robots; see `DQNConfig`.

    A critic gives a value to every torque level of every joint, and the mean over the joints of the levels taken is
    the value of the action. So the best action is the best level of each joint, found without trying their
    combinations. Two critics learn from one target: the mean of their target networks' values (double Q-learning)
    at the levels that are best for the mean of the learned ones.

    Differs from the paper in: layers of 256 instead of 512, a learning rate of 3e-4 instead of 1e-4, a gradient step
    for every environment step instead of every eighth, targets that follow a little at every update instead of copies
    after every 100, both critics choosing levels together, uniform draws unless `prioritized`, and random levels
    alone in the first `learning_starts` = 5,000 steps.
    """

    name = "dqn"
    on_policy = False

    def __init__(self, config: DQNConfig, num_envs: int, observation_size: int, action_size: int, seed: int,
                 robot: str = "Ant-v5") -> None:
        self.config, self.num_envs, self.robot = config, num_envs, robot
        self.observation_size, self.action_size = observation_size, action_size
        *network_seeds, replay_seed, noise_seed = np.random.SeedSequence(seed).spawn(4)
        self.noise = np.random.default_rng(noise_seed)
        self.experience = Experience(config, num_envs, observation_size, action_size, replay_seed)
        self.version = 1

        def critics(name: str) -> list[keras.Model]:
            return [mlp(observation_size, config.hidden, action_size * config.levels, activation="relu",
                        seed=int(s.generate_state(1)[0]), layer_norm=(0,) if config.layer_norm else (),
                        precision=config.precision, name=f"{name}_{i}") for i, s in enumerate(network_seeds)]

        def mean(models: list[keras.Model]) -> keras.Model:
            inputs = keras.Input((observation_size,), dtype="float32")
            return keras.Model(inputs, keras.layers.average([model(inputs) for model in models]))

        self.critics, target_critics = critics("critic"), critics("target_critic")
        self.mean, self.target_mean = mean(self.critics), mean(target_critics)
        self._variables, self._target_variables = self.mean.trainable_variables, self.target_mean.trainable_variables
        self.optimizer = keras.optimizers.Adam(config.learning_rate)
        self.optimizer.build(self._variables)
        self._learn = tf.function(self._critic_step, jit_compile=config.precision == "float32", autograph=False)
        self._graph = export.greedy_graph(self.mean, config.levels, self.experience.statistics, config.observation_clip)
        rows = [tf.TensorSpec((None, observation_size), tf.float32)]
        self._action = tf.function(self._greedy_action, input_signature=rows, autograph=False)

    @property
    def env_steps(self) -> int:
        """Transitions observed."""
        return self.experience.env_steps

    # -- acting ------------------------------------------------------------------------------------------------------

    def initial_state(self, num_envs: int) -> tuple[()]:
        """Nothing: the critics are feed-forward."""
        return ()

    def act(self, observation: np.ndarray, previous: Previous, state: Any,
            reset_mask: np.ndarray) -> tuple[np.ndarray, Mapping[str, np.ndarray], Any]:
        """Exploring actions of the live policy; see `Actor`."""
        outputs = {"action": self._action(self.experience.normalise(observation)).numpy()}
        action, extras = explore(self._exploration(), outputs, self.noise)
        return action, extras, state

    def value(self, observation: np.ndarray) -> np.ndarray:
        """Value of the best action, float32 [n], for observations as the environment gives them."""
        values = self._values(self.mean, tf.constant(self.experience.normalise(observation)))
        return tf.reduce_mean(tf.reduce_max(values, axis=2), axis=1).numpy()

    def _exploration(self) -> Exploration:
        epsilon = 1.0 if self.experience.warming_up else self.config.epsilon
        return Exploration("epsilon_greedy", epsilon, self.config.levels)

    def _values(self, model: keras.Model, observation: tf.Tensor) -> tf.Tensor:
        """Value of each level of each joint, [m, action_size, levels]."""
        return tf.reshape(model(observation), (-1, self.action_size, self.config.levels))

    def _greedy_action(self, observation: tf.Tensor) -> tf.Tensor:
        best = tf.argmax(self._values(self.mean, observation), axis=2)
        return tf.gather(tf.constant(torque_levels(self.config.levels)), best)

    # -- learning ----------------------------------------------------------------------------------------------------

    def observe(self, batch: Transition) -> None:
        """Take one tick; FloatingPointError where it holds NaN or infinity. Torques count as the nearest level."""
        self.experience.observe(batch)

    def ready(self) -> bool:
        """Whether gradient steps are owed."""
        return self.experience.owed() > 0

    def update(self) -> dict[str, float]:
        """Make the gradient steps owed for one tick; returns the means of their figures by name."""
        figures = mean_figures([self._gradient_step() for _ in range(self.experience.owed())])
        guard.check(figures, self._variables, self.env_steps)
        self.version += 1
        return figures

    def policy(self, provenance: Mapping[str, Any] | None = None) -> bytes:
        """The current policy as the bytes of a bundle; `provenance` is added to configuration and steps."""
        about = {"config": asdict(self.config), "env_steps": self.env_steps, **(provenance or {})}
        return self._graph.bundle(algorithm=self.name, robot=self.robot, version=self.version, provenance=about,
                                  exploration=self._exploration())

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
        return [*self._variables, *self._target_variables, *self.optimizer.variables]

    def _gradient_step(self) -> dict[str, float]:
        batch = self.experience.draw()
        level = np.rint((batch.action + 1.0) * (0.5 * (self.config.levels - 1))).astype(np.int32)
        figures, error = self._learn(batch.observation, level, batch.reward, batch.discount, batch.next_observation,
                                     batch.weight)
        if self.config.prioritized:
            self.experience.replay.update_priorities(batch.index, error.numpy() + 1e-6)
        return dict(zip(METRICS, figures.numpy().tolist(), strict=True))

    def _critic_step(self, observation: tf.Tensor, level: tf.Tensor, reward: tf.Tensor, discount: tf.Tensor,
                     next_observation: tf.Tensor, weight: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """One gradient step of both critics, which the targets follow; returns `METRICS` and mean errors [m]."""
        config = self.config
        best = tf.argmax(self._values(self.mean, next_observation), axis=2)
        following = self._of_action(self._values(self.target_mean, next_observation), best)
        target = reward + discount * following
        with tf.GradientTape() as tape:
            values = [self._of_action(self._values(critic, observation), level) for critic in self.critics]
            errors = [tf.abs(value - target) for value in values]
            loss = tf.add_n([tf.reduce_mean(weight * _huber(error, config.huber_threshold)) for error in errors])
        gradients = tape.gradient(loss, [v.value for v in self._variables])
        gradients, norm = tf.clip_by_global_norm(gradients, config.max_gradient_norm)
        self.optimizer.apply(gradients, self._variables)
        weights.follow(self._target_variables, self._variables, config.target_share)
        return tf.stack([loss, tf.reduce_mean(values[0]), norm]), tf.add_n(errors) / len(errors)

    def _of_action(self, values: tf.Tensor, level: tf.Tensor) -> tf.Tensor:
        """Value of an action [m]: the mean over the joints of the values of their levels."""
        taken = tf.one_hot(level, self.config.levels)
        return tf.reduce_sum(values * taken, axis=(1, 2)) / self.action_size


def _huber(error: tf.Tensor, threshold: float) -> tf.Tensor:
    """Half the square of an error >= 0, continued as a straight line from the threshold on."""
    inside = tf.minimum(error, threshold)
    return inside * (error - 0.5 * inside)
