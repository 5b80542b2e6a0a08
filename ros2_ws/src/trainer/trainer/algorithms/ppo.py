"""Proximal policy optimisation with a clipped ratio (Schulman et al., arXiv:1707.06347)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ant_rl_core import exploration
from ant_rl_core.step import Previous, Transition
from trainer import checkpoint, export
from trainer.buffers.rollout import RolloutBuffer, generalized_advantages
from trainer.networks.mlp import NumpyMLP, mlp
from trainer.statistics import RunningStatistics

METRICS = ("policy_loss", "value_loss", "entropy", "approximate_kl", "clip_share", "gradient_norm")


@dataclass(frozen=True)
class PPOConfig:
    """Settings of PPO.

    Attributes:
        rollout_length: ticks per update; times the number of robots, the transitions per update.
        epochs: passes over each rollout.
        minibatch_size: transitions per gradient step.
        learning_rate: step size of Adam at the start.
        learning_rate_end: share of `learning_rate` that is left at `total_steps`; linear in between.
        total_steps: environment steps over which the learning rate decays.
        discount: gamma.
        gae_lambda: lambda of the advantage estimates.
        clip_ratio: how far the probability ratio may leave 1.
        value_coefficient: weight of the value loss.
        entropy_coefficient: weight of the Gaussian's entropy.
        max_gradient_norm: gradients of actor and critic together are scaled down to this norm.
        target_kl: an update stops after the epoch in which the policy moved further than this; 0 never stops.
        initial_log_std: logarithm of the exploration's standard deviation before squashing, at the start.
        observation_clip: normalised observations are clipped to this many standard deviations.
        actor_hidden, critic_hidden: sizes of the hidden layers.
    """

    rollout_length: int = 128
    epochs: int = 10
    minibatch_size: int = 128
    learning_rate: float = 3e-4
    learning_rate_end: float = 0.0
    total_steps: int = 10_000_000
    discount: float = 0.99
    gae_lambda: float = 0.95
    clip_ratio: float = 0.2
    value_coefficient: float = 0.25
    entropy_coefficient: float = 0.0
    max_gradient_norm: float = 0.5
    target_kl: float = 0.0
    initial_log_std: float = -0.5
    observation_clip: float = 10.0
    actor_hidden: tuple[int, ...] = (64, 64)
    critic_hidden: tuple[int, ...] = (64, 64)

    def __post_init__(self) -> None:
        for holds, rule in (
                (self.rollout_length >= 1, "rollout_length must be at least 1"),
                (self.epochs >= 1, "epochs must be at least 1"),
                (self.minibatch_size >= 2, "minibatch_size must be at least 2 to normalise advantages"),
                (0 < self.learning_rate < np.inf, "learning_rate must be positive"),
                (0 <= self.learning_rate_end <= 1, "learning_rate_end must be from 0 to 1"),
                (self.total_steps >= 1, "total_steps must be at least 1"),
                (0 <= self.discount <= 1, "discount must be from 0 to 1"),
                (0 <= self.gae_lambda <= 1, "gae_lambda must be from 0 to 1"),
                (self.clip_ratio > 0, "clip_ratio must be positive"),
                (0 <= self.value_coefficient < np.inf, "value_coefficient must be at least 0"),
                (abs(self.entropy_coefficient) < np.inf, "entropy_coefficient must be a finite number"),
                (0 < self.max_gradient_norm < np.inf, "max_gradient_norm must be positive"),
                (self.target_kl >= 0, "target_kl must be at least 0"),
                (abs(self.initial_log_std) < np.inf, "initial_log_std must be a finite number"),
                (self.observation_clip > 0, "observation_clip must be positive"),
                (min(self.actor_hidden, default=1) >= 1, "actor_hidden must hold sizes of at least 1"),
                (min(self.critic_hidden, default=1) >= 1, "critic_hidden must hold sizes of at least 1")):
            if not holds:
                raise ValueError(f"{rule}, found {getattr(self, rule.split()[0])}")


class PPO:
    """Learner for `num_envs` robots; see `PPOConfig`.

    Observations are normalised by running statistics that stay fixed during a rollout; value targets are divided by
    the running standard deviation of the returns, and advantages are normalised per minibatch and recomputed with
    the newest critic before each epoch.

    Differs from the paper in: tanh-squashed actions (the squashing cancels in the ratio, which is taken between
    Gaussian densities); normalisation of observations, returns and advantages; gradient-norm clipping; learning-rate
    decay; recomputed advantages; separate networks for actor and critic; time limits bootstrap from the final
    observation.
    """

    name = "ppo"

    def __init__(self, config: PPOConfig, num_envs: int, observation_size: int, action_size: int, seed: int,
                 robot: str = "Ant-v5") -> None:
        if config.rollout_length * num_envs % config.minibatch_size:
            raise ValueError(f"rollout_length * num_envs = {config.rollout_length * num_envs} must be a multiple of "
                             f"minibatch_size = {config.minibatch_size}")
        self.config, self.num_envs, self.robot = config, num_envs, robot
        self.observation_size, self.action_size = observation_size, action_size
        actor_seed, critic_seed, noise_seed, shuffle_seed = np.random.SeedSequence(seed).spawn(4)
        self.rng = np.random.default_rng(shuffle_seed)
        self.noise = np.random.default_rng(noise_seed)
        self.actor_network = mlp(observation_size, config.actor_hidden, action_size, output_gain=0.01,
                                 seed=int(actor_seed.generate_state(1)[0]), name="actor")
        self.critic_network = mlp(observation_size, config.critic_hidden, 1, output_gain=1.0,
                                  seed=int(critic_seed.generate_state(1)[0]), name="critic")
        self.log_std = keras.Variable(np.full(action_size, config.initial_log_std, np.float32), name="log_std")
        self.optimizer = keras.optimizers.Adam(config.learning_rate, epsilon=1e-5)
        self._variables = [*self.actor_network.trainable_variables, self.log_std,
                           *self.critic_network.trainable_variables]
        self.optimizer.build(self._variables)
        self.buffer = RolloutBuffer(config.rollout_length, num_envs, observation_size, action_size)
        self.observation_statistics = RunningStatistics((observation_size,))
        self.return_statistics = RunningStatistics(())
        self.env_steps = 0
        self.version = 1
        rows = [tf.TensorSpec((None, observation_size), tf.float32)]
        self._mean = tf.function(self.actor_network, input_signature=rows, autograph=False)
        self._value = tf.function(lambda x: self.critic_network(x)[:, 0], input_signature=rows, autograph=False)
        self._epoch = tf.function(self._run_epoch, jit_compile=True)
        self._renew_actor()
        self._log_norm = np.float32(0.5 * np.log(2.0 * np.pi) * action_size)

    # -- acting ------------------------------------------------------------------------------------------------------

    def initial_state(self, num_envs: int) -> tuple[()]:
        """Nothing: the actor is feed-forward."""
        return ()

    def act(self, observation: np.ndarray, previous: Previous, state: Any,
            reset_mask: np.ndarray) -> tuple[np.ndarray, Mapping[str, np.ndarray], Any]:
        """Sample actions from the live policy; see `Actor`."""
        mean = self._acting(self._normalise(observation))
        action, log_prob = exploration.sample(mean, self._acting_log_std, self.noise)
        return action, {"log_prob": log_prob}, state

    # -- learning ----------------------------------------------------------------------------------------------------

    def observe(self, batch: Transition) -> None:
        """Take one tick of the rollout; FloatingPointError where it holds NaN or infinity."""
        for name in ("observation", "action", "reward", "next_observation"):
            array = getattr(batch, name)
            if not np.isfinite(array).all():
                value = array[~np.isfinite(array)][0]
                raise FloatingPointError(f"{name} became {value} at {self.env_steps} environment steps; the last "
                                         "checkpoint is the last good one")
        self.buffer.add(batch)
        self.env_steps += self.num_envs

    def ready(self) -> bool:
        """Whether a whole rollout is there."""
        return self.buffer.full

    def update(self) -> dict[str, float]:
        """Learn from the rollout and empty it; returns the losses of the last epoch and other figures by name."""
        config, buffer = self.config, self.buffer
        observation = self._normalise(buffer.observation.reshape(-1, self.observation_size))
        cut = buffer.cuts()
        successors = self._normalise(buffer.next_observation[cut])
        # An action at the very edge, which only another policy than ours can have chosen, has no finite sample.
        action = np.clip(buffer.action, -exploration.ACTION_LIMIT, exploration.ACTION_LIMIT)
        squashed = np.arctanh(action.reshape(-1, self.action_size))
        mean = self._mean(tf.constant(observation)).numpy()
        old_log_prob = _log_density(squashed, mean, self.log_std.numpy())
        data = [tf.constant(array) for array in (observation, squashed, old_log_prob)]
        learning_rate = config.learning_rate * self._rate_left()
        self.optimizer.learning_rate.assign(learning_rate)
        for epoch in range(1, config.epochs + 1):
            advantage, returns = self._advantages(observation, successors, cut)
            if epoch == 1:
                self.return_statistics.update(returns.reshape(-1))
            target = returns.reshape(-1) / self._return_scale()
            order = self.rng.permutation(len(observation)).reshape(-1, config.minibatch_size)
            losses = self._epoch(*data, tf.constant(advantage.reshape(-1), tf.float32),
                                 tf.constant(target, tf.float32), tf.constant(order, tf.int32)).numpy()
            if config.target_kl and losses[METRICS.index("approximate_kl")] > config.target_kl:
                break
        figures = dict(zip(METRICS, map(float, losses), strict=True))
        bad = [name for name, value in figures.items() if not np.isfinite(value)]
        if bad:
            raise FloatingPointError(f"{bad[0]} became {figures[bad[0]]} at {self.env_steps} environment steps; "
                                     "the last checkpoint is the last good one")
        figures.update(learning_rate=learning_rate, epochs=epoch, std=float(np.exp(self.log_std.numpy()).mean()),
                       explained_variance=float(1.0 - advantage.var() / max(returns.var(), 1e-12)))
        self.observation_statistics.update(buffer.observation.reshape(-1, self.observation_size))
        buffer.clear()
        self._renew_actor()
        self.version += 1
        return figures

    def policy(self, provenance: Mapping[str, Any] | None = None) -> bytes:
        """The current policy as the bytes of a bundle; `provenance` is added to configuration and steps."""
        statistics = self.observation_statistics
        graph = export.stochastic_graph(self.actor_network, self.log_std.numpy(), statistics.mean,
                                        self._observation_std, self.config.observation_clip)
        return export.bundle(graph, algorithm=self.name, robot=self.robot, version=self.version,
                             observation_mean=statistics.mean, observation_variance=statistics.variance,
                             provenance={"config": asdict(self.config), "env_steps": self.env_steps,
                                         **(provenance or {})})

    def save(self) -> dict[str, np.ndarray]:
        """Everything an unbroken continuation needs; call between updates, when the rollout is empty."""
        if self.buffer.size:
            raise RuntimeError(f"a rollout of {self.buffer.size} ticks is under way: save between updates")
        return {
            **{f"variable_{i}": v.numpy() for i, v in enumerate(self._variables)},
            **{f"optimizer_{i}": v.numpy() for i, v in enumerate(self.optimizer.variables)},
            **self.observation_statistics.save("observation_"), **self.return_statistics.save("return_"),
            "rng": checkpoint.pack_generator(self.rng), "noise": checkpoint.pack_generator(self.noise),
            "env_steps": np.asarray(self.env_steps), "version": np.asarray(self.version),
        }

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Continue from what `save` returned; ValueError if it was of networks of other sizes."""
        targets = {f"{prefix}{i}": variable
                   for prefix, variables in (("variable_", self._variables), ("optimizer_", self.optimizer.variables))
                   for i, variable in enumerate(variables)}
        saved = {name: state[name].shape for name in state if name.startswith(("variable_", "optimizer_"))}
        if saved != {name: tuple(variable.shape) for name, variable in targets.items()}:
            raise ValueError("the checkpoint is of other networks than these settings give: set actor_hidden and "
                             "critic_hidden to what it was made with")
        for name, variable in targets.items():
            variable.assign(state[name])
        self.observation_statistics.restore(state, "observation_")
        self.return_statistics.restore(state, "return_")
        checkpoint.unpack_generator(self.rng, state["rng"])
        checkpoint.unpack_generator(self.noise, state["noise"])
        self.env_steps, self.version = int(state["env_steps"]), int(state["version"])
        self.buffer.clear()
        self._renew_actor()

    def _renew_actor(self) -> None:
        self._acting = NumpyMLP(self.actor_network)
        self._acting_log_std = self.log_std.numpy()
        self._observation_mean = self.observation_statistics.mean.astype(np.float32)
        self._observation_std = np.sqrt(self.observation_statistics.variance + 1e-8).astype(np.float32)

    def _normalise(self, observation: np.ndarray) -> np.ndarray:
        clip = self.config.observation_clip
        return np.clip((observation - self._observation_mean) / self._observation_std, -clip, clip)

    def _return_scale(self) -> float:
        return float(np.sqrt(self.return_statistics.variance + 1e-8))

    def _rate_left(self) -> float:
        end = self.config.learning_rate_end
        return end + (1.0 - end) * max(0.0, 1.0 - self.env_steps / self.config.total_steps)

    def _advantages(self, observation: np.ndarray, successors: np.ndarray,
                    cut: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Advantages and returns [T, n] with the critic as it is now; see `RolloutBuffer.cuts`."""
        buffer = self.buffer
        values = self._value(tf.constant(np.concatenate([observation, successors]))).numpy() * self._return_scale()
        value = values[:len(observation)].reshape(buffer.reward.shape)
        next_value = np.roll(value, -1, axis=0)
        next_value[cut] = values[len(observation):]
        advantage = generalized_advantages(buffer.reward, value, next_value, buffer.terminated, cut,
                                           self.config.discount, self.config.gae_lambda)
        return advantage, advantage + value

    def _minibatch(self, observation: tf.Tensor, squashed: tf.Tensor, old_log_prob: tf.Tensor, advantage: tf.Tensor,
                   target: tf.Tensor) -> tf.Tensor:
        """One gradient step on rows of the rollout; returns `METRICS`."""
        config = self.config
        advantage = (advantage - tf.reduce_mean(advantage)) / (tf.math.reduce_std(advantage) + 1e-8)
        with tf.GradientTape() as tape:
            mean = self.actor_network(observation)
            scaled = (squashed - mean) * tf.exp(-self.log_std)
            log_prob = -tf.reduce_sum(0.5 * tf.square(scaled) + self.log_std, axis=1) - self._log_norm
            log_ratio = log_prob - old_log_prob
            ratio = tf.exp(log_ratio)
            clipped = tf.clip_by_value(ratio, 1.0 - config.clip_ratio, 1.0 + config.clip_ratio)
            policy_loss = -tf.reduce_mean(tf.minimum(ratio * advantage, clipped * advantage))
            value_loss = tf.reduce_mean(tf.square(self.critic_network(observation)[:, 0] - target))
            entropy = tf.reduce_sum(self.log_std) + self._log_norm + 0.5 * self.action_size
            loss = policy_loss + config.value_coefficient * value_loss - config.entropy_coefficient * entropy
        gradients = tape.gradient(loss, [v.value for v in self._variables])
        gradients, norm = tf.clip_by_global_norm(gradients, config.max_gradient_norm)
        self.optimizer.apply(gradients, self._variables)
        kl = tf.reduce_mean(ratio - 1.0 - log_ratio)  # the k3 estimate of KL(old, new), never negative
        outside = tf.reduce_mean(tf.cast(tf.abs(ratio - 1.0) > config.clip_ratio, tf.float32))
        return tf.stack([policy_loss, value_loss, entropy, kl, outside, norm])

    def _run_epoch(self, observation: tf.Tensor, squashed: tf.Tensor, old_log_prob: tf.Tensor, advantage: tf.Tensor,
                   target: tf.Tensor, order: tf.Tensor) -> tf.Tensor:
        """One pass over the rollout in the order int32 [minibatches, minibatch_size]; mean of `METRICS`."""
        data = (observation, squashed, old_log_prob, advantage, target)
        total = tf.zeros(len(METRICS))
        for i in tf.range(tf.shape(order)[0]):
            total += self._minibatch(*(tf.gather(array, order[i]) for array in data))
        return total / tf.cast(tf.shape(order)[0], tf.float32)


def _log_density(squashed: np.ndarray, mean: np.ndarray, log_std: np.ndarray) -> np.ndarray:
    """Log-density float32 [m] of Gaussian samples [m, action_size], before the squashing."""
    scaled = (squashed - mean) * np.exp(-log_std)
    constant = np.float32(0.5 * np.log(2.0 * np.pi)) * len(log_std)
    return -np.sum(0.5 * np.square(scaled) + log_std, axis=1) - constant
