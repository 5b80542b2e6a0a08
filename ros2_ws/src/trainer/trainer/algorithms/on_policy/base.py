"""What on-policy learners share: actor and critic with their statistics, and what a rollout teaches."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ant_rl_core import exploration
from ant_rl_core.settings import Settings, setting
from ant_rl_core.step import Previous, Transition
from trainer import checkpoint, guard
from trainer.buffers.rollout import RolloutBuffer, generalized_advantages
from trainer.export import policy_graph
from trainer.networks import weights
from trainer.networks.mlp import NumpyMLP, first_seed, mlp
from trainer.networks.statistics import Normalizer, RunningStatistics

_LARGEST_SAMPLE = np.arctanh(exploration.ACTION_LIMIT)


@dataclass(frozen=True)
class OnPolicyConfig(Settings):
    """Settings that all on-policy methods have."""

    total_steps: int = setting(10_000_000, "environment steps to learn from", minimum=1)
    rollout_length: int = setting(128, "ticks per update; times the number of robots, the transitions per update",
                                  minimum=1)
    learning_rate: float = setting(3e-4, "step size of the optimizer at the start", above=0)
    learning_rate_end: float = setting(0.0, "share of `learning_rate` that is left at `total_steps`; linear in between",
                                       minimum=0, maximum=1)
    discount: float = setting(0.99, "gamma", minimum=0, maximum=1)
    gae_lambda: float = setting(0.95, "lambda of the advantage estimates", minimum=0, maximum=1)
    value_coefficient: float = setting(0.25, "weight of the value loss", minimum=0)
    entropy_coefficient: float = setting(0.0, "weight of the Gaussian's entropy")
    max_gradient_norm: float = setting(0.5, "gradients of actor and critic together are scaled down to this norm",
                                       above=0)
    initial_log_std: float = setting(-0.5, "logarithm of the exploration's standard deviation before squashing, at the "
                                     "start")
    min_std: float = setting(0.2, "least standard deviation of the exploration before squashing: what was learned "
                             "under noise walks more surely without it", above=0)
    observation_clip: float = setting(10.0, "normalized observations are clipped to this many standard deviations",
                                      above=0, finite=False)
    actor_hidden: tuple[int, ...] = setting((64, 64), "sizes of the actor's hidden layers", minimum=1)
    critic_hidden: tuple[int, ...] = setting((64, 64), "sizes of the critic's hidden layers", minimum=1)

    def rules(self) -> Iterator[tuple[bool, str]]:
        yield (self.min_std <= math.exp(self.initial_log_std),
               "min_std must be positive and at most the exponential of initial_log_std")

    def rate_left(self, env_steps: int) -> float:
        """Share of the learning rate that is left for the update whose rollout begins after `env_steps`."""
        left = max(0.0, 1.0 - env_steps / self.total_steps)
        return self.learning_rate_end + (1.0 - self.learning_rate_end) * left


class GaussianActorCritic:
    """A tanh-squashed Gaussian actor of the same width everywhere, a critic, and running statistics.

    Observations are normalized by running statistics that stay fixed during a rollout; the critic gives values divided
    by the running standard deviation of the returns. Actions are drawn by a frozen copy of the actor in numpy until
    `renew`.

    Args:
        config: see `OnPolicyConfig`.
        observation_size, action_size: sizes of the robot.
        seeds: of the actor, of the critic and of the exploration.

    Attributes:
        actor: from normalized observations to the Gaussian's mean.
        critic: from normalized observations to the scaled value.
        log_std: [action_size].
        normalize: from observations as they come to float32 [m, observation_size], as the networks take them.
        variables: all that gradients change, of actor, log_std and critic in this order.
    """

    def __init__(self, config: OnPolicyConfig, observation_size: int, action_size: int,
                 seeds: Sequence[np.random.SeedSequence]) -> None:
        actor_seed, critic_seed, noise_seed = seeds
        self.config, self.observation_size, self.action_size = config, observation_size, action_size
        self.noise = np.random.default_rng(noise_seed)
        self.actor = mlp(observation_size, config.actor_hidden, action_size, output_gain=0.01,
                         seed=first_seed(actor_seed), name="actor")
        self.critic = mlp(observation_size, config.critic_hidden, 1, output_gain=1.0,
                          seed=first_seed(critic_seed), name="critic")
        self.log_std = keras.Variable(np.full(action_size, config.initial_log_std, np.float32), name="log_std")
        self.variables = [*self.actor.trainable_variables, self.log_std, *self.critic.trainable_variables]
        self.normalize = Normalizer(observation_size, config.observation_clip)
        self.return_statistics = RunningStatistics(())
        self.graph = policy_graph.stochastic_graph(self.actor, self.log_std, self.normalize)
        rows = [tf.TensorSpec((None, observation_size), tf.float32)]
        self._values = tf.function(lambda x: self.critic(x)[:, 0], input_signature=rows, autograph=False)
        self.renew()

    # -- acting ------------------------------------------------------------------------------------------------------

    def act(self, observation: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Exploring actions float32 [n, action_size] for observations as they come, and their `log_prob` [n]."""
        action, log_prob = exploration.sample(self.mean(observation), self._acting_log_std, self.noise)
        return action, {"log_prob": log_prob}

    def mean(self, observation: np.ndarray) -> np.ndarray:
        """The Gaussian's mean, float32 [n, action_size], by the copy that acts."""
        return self._acting(self.normalize(observation))

    def renew(self) -> None:
        """From now on act by what was learned."""
        self._acting = NumpyMLP(self.actor)
        self._acting_log_std = self.log_std.numpy()

    # -- learning ----------------------------------------------------------------------------------------------------

    def log_prob(self, observation: tf.Tensor, squashed: tf.Tensor) -> tf.Tensor:
        """Log-densities [m] of Gaussian samples [m, action_size], before the squashing, whose share cancels in ratios.

        Both are as in `RolloutBatch`; differentiable with respect to actor and log_std.
        """
        log_std = tf.convert_to_tensor(self.log_std)
        # Beyond the largest sample that an action can tell of, means are all the same: pulling them would never end.
        mean = tf.clip_by_value(self.actor(observation), -_LARGEST_SAMPLE, _LARGEST_SAMPLE)
        scaled = (squashed - mean) * tf.exp(-log_std)
        constant = 0.5 * math.log(2.0 * math.pi) * self.action_size
        return -tf.reduce_sum(0.5 * tf.square(scaled) + log_std, axis=1) - constant

    def entropy(self) -> tf.Tensor:
        """Entropy of the Gaussian before the squashing, in nats."""
        return tf.reduce_sum(self.log_std) + 0.5 * math.log(2.0 * math.pi * math.e) * self.action_size

    def bound_std(self) -> None:
        """Keep the Gaussian as wide as `min_std` after a gradient step, inside a compiled function."""
        self.log_std.assign(tf.maximum(self.log_std, math.log(self.config.min_std)))

    def std(self) -> float:
        """Mean standard deviation of the Gaussian, over the actions."""
        return float(np.exp(self.log_std.numpy()).mean())

    def value(self, observation: np.ndarray) -> np.ndarray:
        """Values float32 [m], in units of reward, of normalized observations."""
        return self._values(tf.constant(observation)).numpy() * self.return_scale()

    def return_scale(self) -> float:
        """What the critic's values are in units of."""
        return float(np.sqrt(self.return_statistics.variance + 1e-8))

    def learned_from(self, observation: np.ndarray) -> None:
        """Count a rollout's observations [T, n, observation_size] into the statistics, and act by what was learned."""
        self.normalize.update(observation.reshape(-1, self.observation_size))
        self.renew()

    # -- keeping -----------------------------------------------------------------------------------------------------

    def weights(self, optimizer: keras.optimizers.Optimizer) -> dict[str, np.ndarray]:
        """`variables` and those of their optimizer as named arrays."""
        return weights.pack("variable_", [*self.variables, *weights.of_optimizer(optimizer)])

    def save(self, optimizer: keras.optimizers.Optimizer) -> dict[str, np.ndarray]:
        """State, and that of the optimizer of `variables`, as named arrays."""
        return {**self.weights(optimizer), **self.normalize.save("observation_"),
                **self.return_statistics.save("return_"), "noise": checkpoint.pack_generator(self.noise)}

    def restore(self, state: Mapping[str, np.ndarray], optimizer: keras.optimizers.Optimizer) -> None:
        """Continue from what `save` gave; ValueError, and nothing changed, if it was of networks of other sizes."""
        weights.unpack("variable_", [*self.variables, *weights.of_optimizer(optimizer)], state)
        self.normalize.restore(state, "observation_")
        self.return_statistics.restore(state, "return_")
        checkpoint.unpack_generator(self.noise, state["noise"])
        self.renew()


@dataclass(frozen=True)
class RolloutBatch:
    """A rollout as the networks take it; T ticks of n rows, m = T * n.

    Attributes:
        buffer: the rollout.
        observation: normalized, float32 [m, observation_size], tick by tick.
        squashed: the Gaussian samples that were squashed into the actions, float32 [m, action_size].
        cut: see `RolloutBuffer.cuts`, bool [T, n].
        successors: normalized observations after the cut ticks, float32 [cut.sum(), observation_size].
    """

    buffer: RolloutBuffer
    observation: np.ndarray
    squashed: np.ndarray
    cut: np.ndarray
    successors: np.ndarray

    @classmethod
    def from_buffer(cls, buffer: RolloutBuffer, model: GaussianActorCritic) -> RolloutBatch:
        """Prepare a full rollout."""
        cut = buffer.cuts()
        # An action at the very edge, which only another policy than ours can have chosen, has no finite sample.
        action = np.clip(buffer.action, -exploration.ACTION_LIMIT, exploration.ACTION_LIMIT)
        return cls(buffer, model.normalize(buffer.observation.reshape(-1, model.observation_size)),
                   np.arctanh(action.reshape(-1, model.action_size)), cut,
                   model.normalize(buffer.next_observation[cut]))

    def advantages(self, model: GaussianActorCritic) -> tuple[np.ndarray, np.ndarray]:
        """Advantages and returns, each [T, n] in units of reward, with the critic as it is now."""
        buffer, rows = self.buffer, len(self.observation)
        values = model.value(np.concatenate([self.observation, self.successors]))
        value = values[:rows].reshape(buffer.reward.shape)
        next_value = np.roll(value, -1, axis=0)
        next_value[self.cut] = values[rows:]
        advantage = generalized_advantages(buffer.reward, value, next_value, buffer.terminated, self.cut,
                                           model.config.discount, model.config.gae_lambda)
        return advantage, advantage + value


class OnPolicyLearner:
    """Learner from rollouts, see `contracts.Learner`; a method adds `_learn` and its gradient steps.

    Args:
        config: settings of the method.
        num_envs, observation_size, action_size: sizes.
        seeds: see `GaussianActorCritic`.
        robot: name of the robot, for the bundle.
        optimizer: of all that gradients change.
    """

    name: str
    on_policy = True

    def __init__(self, config: OnPolicyConfig, num_envs: int, observation_size: int, action_size: int,
                 seeds: Sequence[np.random.SeedSequence], robot: str, optimizer: keras.optimizers.Optimizer) -> None:
        self.config, self.num_envs, self.robot, self.optimizer = config, num_envs, robot, optimizer
        self.model = GaussianActorCritic(config, observation_size, action_size, seeds)
        self.optimizer.build(self.model.variables)
        self.buffer = RolloutBuffer(config.rollout_length, num_envs, observation_size, action_size)
        self.env_steps = 0
        self.version = 1

    def initial_state(self, num_envs: int) -> tuple[()]:
        """Nothing: the actor is feed-forward."""
        return ()

    def act(self, observation: np.ndarray, previous: Previous, state: Any,
            reset_mask: np.ndarray) -> tuple[np.ndarray, Mapping[str, np.ndarray], Any]:
        """Sample actions from the live policy; see `Actor`."""
        return *self.model.act(observation), state

    def observe(self, batch: Transition) -> None:
        """Take one tick of the rollout; FloatingPointError where it holds NaN or infinity."""
        guard.check_transition(batch, self.env_steps)
        self.buffer.add(batch)
        self.env_steps += self.num_envs

    def ready(self) -> bool:
        """Whether a whole rollout is there."""
        return self.buffer.full

    def update(self) -> dict[str, float]:
        """Learn from the rollout and empty it; returns the losses and other metrics by name."""
        left = self.config.rate_left(self.env_steps - self.buffer.transitions)
        metrics, advantage, returns = self._learn(RolloutBatch.from_buffer(self.buffer, self.model), left)
        guard.check(metrics, self.model.variables, self.env_steps)
        metrics.update(std=self.model.std(),
                       explained_variance=float(1.0 - advantage.var() / max(returns.var(), 1e-12)))
        self.model.learned_from(self.buffer.observation)
        self.buffer.clear()
        self.version += 1
        return metrics

    def policy(self, provenance: Mapping[str, Any] | None = None) -> bytes:
        """The current policy as the bytes of a bundle; `provenance` is added to configuration and steps."""
        return self.model.graph.bundle(
            algorithm=self.name, robot=self.robot, version=self.version,
            provenance={"config": asdict(self.config), "env_steps": self.env_steps, **(provenance or {})})

    def renumber(self, version: int) -> None:
        """Let the present policy have this version; those to come go on from it."""
        self.version = version

    def weights(self) -> dict[str, np.ndarray]:
        """The variables of networks and optimizer as named arrays."""
        return self.model.weights(self.optimizer)

    def save(self) -> dict[str, np.ndarray]:
        """Everything an unbroken continuation needs."""
        return {**self.model.save(self.optimizer), **self.buffer.save(), "env_steps": np.asarray(self.env_steps),
                "version": np.asarray(self.version)}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Continue from what `save` returned; ValueError if it was of networks or a rollout of other sizes."""
        self.model.restore(state, self.optimizer)
        self.buffer.restore(state)
        self.env_steps, self.version = int(state["env_steps"]), int(state["version"])

    # -- of each method ----------------------------------------------------------------------------------------------

    def _learn(self, rollout: RolloutBatch, rate_left: float) -> tuple[dict[str, float], np.ndarray, np.ndarray]:
        """Make the gradient steps of a rollout.

        Args:
            rollout: the rollout.
            rate_left: share of the learning rate that is left.

        Returns:
            Metrics by name, and the advantages and returns [T, n] of the last pass in units of reward.
        """
        raise NotImplementedError

    # -- for each method ---------------------------------------------------------------------------------------------

    def _loss(self, policy_loss: tf.Tensor, observation: tf.Tensor,
              target: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """The loss of actor and critic together, and of it that of the values and the entropy [nats].

        Args:
            policy_loss: scalar.
            observation: normalized [m, observation_size].
            target: what the critic is to give [m].
        """
        value_loss = tf.reduce_mean(tf.square(self.model.critic(observation)[:, 0] - target))
        entropy = self.model.entropy()
        loss = policy_loss + self.config.value_coefficient * value_loss - self.config.entropy_coefficient * entropy
        return loss, value_loss, entropy

    def _descend(self, tape: tf.GradientTape, loss: tf.Tensor) -> tf.Tensor:
        """Make a gradient step, inside a compiled function; returns the gradients' norm before it was shortened."""
        gradients = tape.gradient(loss, [v.value for v in self.model.variables])
        gradients, norm = tf.clip_by_global_norm(gradients, self.config.max_gradient_norm)
        self.optimizer.apply(gradients, self.model.variables)
        self.model.bound_std()
        return norm


def normalized(advantage: tf.Tensor) -> tf.Tensor:
    """Advantages [m] moved and scaled to mean 0 and standard deviation 1."""
    return (advantage - tf.reduce_mean(advantage)) / (tf.math.reduce_std(advantage) + 1e-8)
