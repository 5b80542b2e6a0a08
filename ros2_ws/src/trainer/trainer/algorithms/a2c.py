"""Synchronous advantage actor-critic (Mnih et al., arXiv:1602.01783) with generalised advantages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ant_rl_core.step import Previous, Transition
from trainer import guard
from trainer.algorithms.on_policy import ActorCritic, Lesson, OnPolicyConfig
from trainer.buffers.rollout import RolloutBuffer

METRICS = ("policy_loss", "value_loss", "entropy", "gradient_norm")


@dataclass(frozen=True)
class A2CConfig(OnPolicyConfig):
    """Settings of A2C.

    Attributes:
        rms_decay: share of the running mean of squared gradients that RMSprop keeps at each step.
        rms_epsilon: what RMSprop adds to that mean before it takes the root.
    """

    total_steps: int = 3_000_000
    rollout_length: int = 5
    learning_rate: float = 7e-4
    value_coefficient: float = 0.5
    rms_decay: float = 0.99
    rms_epsilon: float = 1e-5

    def __post_init__(self) -> None:
        super().__post_init__()
        guard.check_config(
            self, (0 <= self.rms_decay < 1, "rms_decay must be from 0 to below 1"),
            (0 < self.rms_epsilon < np.inf, "rms_epsilon must be positive"))


class A2C:
    """Learner for `num_envs` robots; see `A2CConfig`.

    Every rollout, of a few ticks of all robots, gives one gradient step: the actor climbs the log-probability of its
    actions, weighted by their advantages, and the critic approaches the returns.

    Differs from the paper in: all robots step together and one learner takes one step from all of them, instead of
    asynchronous workers; generalised advantages (Schulman et al., arXiv:1506.02438) instead of n-step ones, normalised
    over the rollout; separate networks for actor and critic; tanh-squashed actions of the same, bounded-below width
    everywhere;
    normalisation of observations and returns; time limits bootstrap from the final observation.
    """

    name = "a2c"
    on_policy = True

    def __init__(self, config: A2CConfig, num_envs: int, observation_size: int, action_size: int, seed: int,
                 robot: str = "Ant-v5") -> None:
        if config.rollout_length * num_envs < 2:
            raise ValueError("rollout_length * num_envs must be at least 2 to normalise advantages, found 1")
        self.config, self.num_envs, self.robot = config, num_envs, robot
        self.model = ActorCritic(config, observation_size, action_size, np.random.SeedSequence(seed).spawn(3))
        self.optimizer = keras.optimizers.RMSprop(config.learning_rate, config.rms_decay, epsilon=config.rms_epsilon)
        self.optimizer.build(self.model.variables)
        self.buffer = RolloutBuffer(config.rollout_length, num_envs, observation_size, action_size)
        self.env_steps = 0
        self.version = 1
        self._learn = tf.function(self._step, jit_compile=True, autograph=False)

    # -- acting ------------------------------------------------------------------------------------------------------

    def initial_state(self, num_envs: int) -> tuple[()]:
        """Nothing: the actor is feed-forward."""
        return ()

    def act(self, observation: np.ndarray, previous: Previous, state: Any,
            reset_mask: np.ndarray) -> tuple[np.ndarray, Mapping[str, np.ndarray], Any]:
        """Sample actions from the live policy; see `Actor`."""
        return *self.model.act(observation), state

    # -- learning ----------------------------------------------------------------------------------------------------

    def observe(self, batch: Transition) -> None:
        """Take one tick of the rollout; FloatingPointError where it holds NaN or infinity."""
        guard.check_transition(batch, self.env_steps)
        self.buffer.add(batch)
        self.env_steps += self.num_envs

    def ready(self) -> bool:
        """Whether a whole rollout is there."""
        return self.buffer.full

    def update(self) -> dict[str, float]:
        """Make one gradient step from the rollout and empty it; returns losses and other figures by name."""
        config, model = self.config, self.model
        lesson = Lesson.of(self.buffer, model)
        advantage, returns = lesson.advantages(model)
        model.return_statistics.update(returns.reshape(-1))
        rate = config.learning_rate * config.rate_left(self.env_steps - self.buffer.transitions)
        self.optimizer.learning_rate.assign(rate)
        data = (lesson.observation, lesson.squashed, advantage.reshape(-1), returns.reshape(-1) / model.return_scale())
        losses = self._learn(*(tf.constant(array, tf.float32) for array in data)).numpy()
        figures = dict(zip(METRICS, map(float, losses), strict=True))
        guard.check(figures, model.variables, self.env_steps)
        figures.update(learning_rate=rate, std=model.std(),
                       explained_variance=float(1.0 - advantage.var() / max(returns.var(), 1e-12)))
        model.learned_from(self.buffer.observation)
        self.buffer.clear()
        self.version += 1
        return figures

    def policy(self, provenance: Mapping[str, Any] | None = None) -> bytes:
        """The current policy as the bytes of a bundle; `provenance` is added to configuration and steps."""
        return self.model.graph.bundle(
            algorithm=self.name, robot=self.robot, version=self.version,
            provenance={"config": asdict(self.config), "env_steps": self.env_steps, **(provenance or {})})

    def save(self) -> dict[str, np.ndarray]:
        """Everything an unbroken continuation needs."""
        return {**self.model.save(self.optimizer), **self.buffer.save(), "env_steps": np.asarray(self.env_steps),
                "version": np.asarray(self.version)}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Continue from what `save` returned; ValueError if it was of networks or a rollout of other sizes."""
        self.model.restore(state, self.optimizer)
        self.buffer.restore(state)
        self.env_steps, self.version = int(state["env_steps"]), int(state["version"])

    def _step(self, observation: tf.Tensor, squashed: tf.Tensor, advantage: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
        """One gradient step on the rows of a rollout; returns `METRICS`."""
        config, model = self.config, self.model
        advantage = (advantage - tf.reduce_mean(advantage)) / (tf.math.reduce_std(advantage) + 1e-8)
        with tf.GradientTape() as tape:
            policy_loss = -tf.reduce_mean(model.log_prob(observation, squashed) * advantage)
            value_loss = tf.reduce_mean(tf.square(model.critic(observation)[:, 0] - target))
            entropy = model.entropy()
            loss = policy_loss + config.value_coefficient * value_loss - config.entropy_coefficient * entropy
        gradients = tape.gradient(loss, [v.value for v in model.variables])
        gradients, norm = tf.clip_by_global_norm(gradients, config.max_gradient_norm)
        self.optimizer.apply(gradients, model.variables)
        model.bound_std()
        return tf.stack([policy_loss, value_loss, entropy, norm])
