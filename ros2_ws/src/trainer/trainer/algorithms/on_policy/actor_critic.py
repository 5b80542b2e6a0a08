"""Actors and critics of on-policy learners, with their statistics, and the settings that all these have."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ant_rl_core.settings import Settings, setting
from ant_rl_core.step import Previous
from trainer import checkpoint
from trainer.algorithms.on_policy.heads import GaussianHead, Head
from trainer.export.policy_graph import PolicyGraph
from trainer.networks import weights
from trainer.networks.mlp import NumpyMLP, first_seed, mlp
from trainer.networks.statistics import Normalizer, RunningStatistics


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


class ActorCritic:
    """What actors and critics of on-policy learners have in common: a head, running statistics, and how they are kept.

    Observations are normalized by running statistics that stay fixed during a rollout; the critic gives values divided
    by the running standard deviation of the returns. Actions are drawn by a frozen copy of the actor in numpy until
    `renew`, which a kind adds.

    Args:
        config: see `OnPolicyConfig`.
        observation_size, action_size: sizes of the robot.
        noise_seed: of the exploration.
        head: makes actions of what the actor's network gives.

    Attributes:
        normalize: from observations as they come to float32 [m, observation_size], as the networks take them.
        variables: all that gradients change, of actor, head and critic in this order.
        graph: the policy as it is exported.
    """

    variables: list[keras.Variable]
    graph: PolicyGraph

    def __init__(self, config: OnPolicyConfig, observation_size: int, action_size: int,
                 noise_seed: np.random.SeedSequence, head: Head) -> None:
        self.config, self.observation_size, self.action_size = config, observation_size, action_size
        self.noise, self.head = np.random.default_rng(noise_seed), head
        self.normalize = Normalizer(observation_size, config.observation_clip)
        self.return_statistics = RunningStatistics(())

    # -- of each kind ------------------------------------------------------------------------------------------------

    def act(self, observation: np.ndarray, previous: Previous, state: Any,
            reset_mask: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray], Any]:
        """Exploring actions for observations as they come, their `log_prob` [n], and states; see `Actor`."""
        raise NotImplementedError

    def evaluate(self, *data: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Of what `Rollout.data` gives: log-densities, scaled values, and the mean entropy [nats].

        Differentiable with respect to `variables`.
        """
        raise NotImplementedError

    def renew(self) -> None:
        """From now on act by what was learned."""
        self.head.renew()

    # -- for each kind -----------------------------------------------------------------------------------------------

    def return_scale(self) -> float:
        """What the critic's values are in units of."""
        return float(np.sqrt(self.return_statistics.variance + 1e-8))

    def learned_from(self, observation: np.ndarray) -> None:
        """Count a rollout's observations [T, n, observation_size] into the statistics, and act by what was learned."""
        self.normalize.update(observation.reshape(-1, self.observation_size))
        self.renew()

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


class GaussianActorCritic(ActorCritic):
    """A tanh-squashed Gaussian actor of the same width everywhere, and a critic, both without a memory.

    Args:
        config, observation_size, action_size: as of the base class.
        seeds: of the actor, of the critic and of the exploration.

    Attributes:
        actor: from normalized observations to the Gaussian's mean.
        critic: from normalized observations to the scaled value.
        log_std: [action_size].
    """

    def __init__(self, config: OnPolicyConfig, observation_size: int, action_size: int,
                 seeds: Sequence[np.random.SeedSequence]) -> None:
        *network_seeds, noise_seed = seeds
        head = GaussianHead(action_size, config.initial_log_std, config.min_std)
        super().__init__(config, observation_size, action_size, noise_seed, head)
        self.log_std = head.log_std
        self.actor, self.critic = self._make_networks(network_seeds)
        self.variables = [*self.actor.trainable_variables, *head.variables, *self._variables_of_critic()]
        self.graph = head.graph(self._network_of_observations(), self.normalize)
        rows = [tf.TensorSpec((None, self.actor.input_shape[1]), tf.float32)]
        self._values = tf.function(lambda x: self.critic(x)[:, 0], input_signature=rows, autograph=False)
        self.renew()

    # -- of kinds whose networks see more than the observation -------------------------------------------------------

    def _make_networks(self, seeds: Sequence[np.random.SeedSequence]) -> tuple[keras.Model, keras.Model]:
        """Actor and critic, both from the same rows."""
        (actor_seed, critic_seed), config = seeds, self.config
        return (mlp(self.observation_size, config.actor_hidden, self.action_size, output_gain=0.01,
                    seed=first_seed(actor_seed), name="actor"),
                mlp(self.observation_size, config.critic_hidden, 1, output_gain=1.0, seed=first_seed(critic_seed),
                    name="critic"))

    def _variables_of_critic(self) -> list[keras.Variable]:
        """Those that the actor does not have."""
        return self.critic.trainable_variables

    def _network_of_observations(self) -> keras.Model:
        """The actor, from normalized observations alone."""
        return self.actor

    # -- acting ------------------------------------------------------------------------------------------------------

    def act(self, observation: np.ndarray, previous: Previous, state: Any,
            reset_mask: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray], Any]:
        """See the base class; what happened before does not count."""
        action, log_prob = self.head.draw(self.mean(observation), self.noise)
        return action, {"log_prob": log_prob}, state

    def mean(self, observation: np.ndarray) -> np.ndarray:
        """The Gaussian's mean, float32 [n, action_size], by the copy that acts."""
        return self._acting(self.normalize(observation))

    def renew(self) -> None:
        """From now on act by what was learned."""
        super().renew()
        self._acting = NumpyMLP(self.actor.layers[1:])

    # -- learning ----------------------------------------------------------------------------------------------------

    def log_prob(self, observation: tf.Tensor, squashed: tf.Tensor) -> tf.Tensor:
        """Log-densities [m] of Gaussian samples [m, action_size], before the squashing, whose share cancels in ratios.

        Both are as in `RolloutBatch`; differentiable with respect to actor and log_std.
        """
        return self.head.log_prob(self.actor(observation), squashed)

    def evaluate(self, *data: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """See the base class; densities and values are [m]."""
        observation, squashed = data
        output = self.actor(observation)
        return self.head.log_prob(output, squashed), self.critic(observation)[:, 0], self.head.entropy(output)

    def value(self, observation: np.ndarray) -> np.ndarray:
        """Values float32 [m], in units of reward, of normalized observations."""
        return self._values(tf.constant(observation)).numpy() * self.return_scale()
