"""What on-policy learners share: the rollout as their networks take it, and how they learn from one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ant_rl_core import exploration
from ant_rl_core.step import Previous, Transition
from trainer import guard
from trainer.algorithms.on_policy.actor_critic import GaussianActorCritic, OnPolicyConfig
from trainer.buffers.rollout import RolloutBuffer, generalized_advantages


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
