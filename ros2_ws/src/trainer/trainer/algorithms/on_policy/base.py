"""What on-policy learners share: the rollout as their networks take it, and how they learn from one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import keras
import numpy as np
import tensorflow as tf

from ant_rl_core.step import Previous, Transition
from trainer import guard
from trainer.algorithms.on_policy.actor_critic import ActorCritic, GaussianActorCritic, OnPolicyConfig
from trainer.buffers.rollout import RolloutBuffer, generalized_advantages


class Rollout(Protocol):
    """A full rollout as networks take it; T ticks of n rows."""

    def data(self) -> tuple[tf.Tensor, ...]:
        """What `ActorCritic.evaluate` takes."""

    def samples(self, array: np.ndarray) -> tf.Tensor:
        """What was found for each transition, [T, n], in the order in which `evaluate` gives it."""

    def old_log_prob(self, model: Any) -> tf.Tensor:
        """Log-densities of what was chosen, under the policy before it learns from this."""

    def advantages(self, model: Any) -> tuple[np.ndarray, np.ndarray]:
        """Advantages and returns, each [T, n] in units of reward, with the critic as it is now."""


@dataclass(frozen=True)
class RolloutBatch:
    """A rollout as networks without a memory take it: tick by tick, m = T * n transitions.

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
    def from_buffer(cls, buffer: RolloutBuffer, model: ActorCritic) -> RolloutBatch:
        """Prepare a full rollout."""
        cut = buffer.cuts()
        return cls(buffer, model.normalize(buffer.observation.reshape(-1, model.observation_size)),
                   model.head.samples(buffer.action.reshape(-1, model.action_size)), cut,
                   model.normalize(buffer.next_observation[cut]))

    def data(self) -> tuple[tf.Tensor, ...]:
        """See `Rollout`."""
        return tf.constant(self.observation), tf.constant(self.squashed)

    def samples(self, array: np.ndarray) -> tf.Tensor:
        """See `Rollout`."""
        return tf.constant(array.reshape(-1), tf.float32)

    def old_log_prob(self, model: ActorCritic) -> tf.Tensor:
        """See `Rollout`."""
        return model.evaluate(*self.data())[0]

    def advantages(self, model: GaussianActorCritic) -> tuple[np.ndarray, np.ndarray]:
        """See `Rollout`."""
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
        self.model = self._make_model(observation_size, action_size, seeds)
        self.optimizer.build(self.model.variables)
        self.buffer = self._make_buffer()
        self.env_steps = 0
        self.version = 1

    def initial_state(self, num_envs: int) -> tuple[np.ndarray, ...]:
        """Zeros for each state of the actor; () where it has no memory."""
        return ()

    def act(self, observation: np.ndarray, previous: Previous, state: Any,
            reset_mask: np.ndarray) -> tuple[np.ndarray, Mapping[str, np.ndarray], Any]:
        """Sample actions from the live policy; see `Actor`."""
        return self.model.act(observation, previous, state, reset_mask)

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
        metrics, advantage, returns = self._learn(self._rollout(), left)
        guard.check(metrics, self.model.variables, self.env_steps)
        metrics.update(self.model.head.metrics(),
                       explained_variance=float(1.0 - advantage.var() / max(returns.var(), 1e-12)))
        self.model.learned_from(self.buffer.observation)
        self.buffer.clear()
        self.version += 1
        return metrics

    def policy(self, provenance: Mapping[str, Any] | None = None) -> bytes:
        """The current policy as the bytes of a bundle; `provenance` is added to configuration and steps."""
        return self.model.graph.bundle(
            algorithm=self.name, robot=self.robot, version=self.version,
            provenance={"config": asdict(self.config), "env_steps": self.env_steps, **(provenance or {})},
            **self._memory())

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

    def _learn(self, rollout: Rollout, rate_left: float) -> tuple[dict[str, float], np.ndarray, np.ndarray]:
        """Make the gradient steps of a rollout.

        Args:
            rollout: the rollout.
            rate_left: share of the learning rate that is left.

        Returns:
            Metrics by name, and the advantages and returns [T, n] of the last pass in units of reward.
        """
        raise NotImplementedError

    # -- of methods whose actor has a memory -------------------------------------------------------------------------

    def _make_model(self, observation_size: int, action_size: int,
                    seeds: Sequence[np.random.SeedSequence]) -> ActorCritic:
        return GaussianActorCritic(self.config, observation_size, action_size, seeds)

    def _make_buffer(self) -> RolloutBuffer:
        return RolloutBuffer(self.config.rollout_length, self.num_envs, self.model.observation_size,
                             self.model.action_size)

    def _rollout(self) -> Rollout:
        return RolloutBatch.from_buffer(self.buffer, self.model)

    def _memory(self) -> dict[str, Any]:
        """What bundles say of the actor's memory; see `PolicyGraph.bundle`."""
        return {}

    # -- for each method ---------------------------------------------------------------------------------------------

    def _loss(self, policy_loss: tf.Tensor, value: tf.Tensor, entropy: tf.Tensor,
              target: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The loss of actor and critic together, and of it that of the values.

        Args:
            policy_loss: scalar.
            value, entropy: as of `ActorCritic.evaluate`.
            target: what the critic is to give, of the shape of `value`.
        """
        value_loss = tf.reduce_mean(tf.square(value - target))
        loss = policy_loss + self.config.value_coefficient * value_loss - self.config.entropy_coefficient * entropy
        return loss, value_loss

    def _descend(self, tape: tf.GradientTape, loss: tf.Tensor) -> tf.Tensor:
        """Make a gradient step, inside a compiled function; returns the gradients' norm before it was shortened."""
        gradients = tape.gradient(loss, [v.value for v in self.model.variables])
        gradients, norm = tf.clip_by_global_norm(gradients, self.config.max_gradient_norm)
        self.optimizer.apply(gradients, self.model.variables)
        self.model.head.bound()
        return norm


def normalized(advantage: tf.Tensor) -> tf.Tensor:
    """Advantages moved and scaled to mean 0 and standard deviation 1."""
    return (advantage - tf.reduce_mean(advantage)) / (tf.math.reduce_std(advantage) + 1e-8)
