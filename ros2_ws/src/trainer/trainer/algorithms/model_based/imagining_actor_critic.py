"""Actor and critic of an agent that imagines, and the rollout that keeps what it imagined."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ant_rl_core.step import Previous, Transition
from trainer.algorithms.model_based.imagination import STEP_SIZE, Imagination, Shape, steps_of
from trainer.algorithms.on_policy.actor_critic import GaussianActorCritic, OnPolicyConfig
from trainer.buffers.rollout import RolloutBuffer
from trainer.networks.encoder import Encoder
from trainer.networks.mlp import first_seed
from trainer.networks.statistics import Normalizer


class ImaginingActorCritic(GaussianActorCritic):
    """A Gaussian actor and a critic whose rows are normalized observations, and behind them what was imagined.

    Each has a path without imagination, of dense layers, and a joint layer that also takes the codes of the imagined
    rollouts and their first actions; the encoder is the same for both. The joint layers' weights for what was imagined
    are zero at first: while nothing is imagined, all of it being zeros, these weights and the encoder get no gradient,
    so that the agent is exactly its other path, and it goes on from there once it imagines.

    Args:
        config, observation_size, action_size, seeds: as of the base class.
        shape: of what is imagined; None where nothing ever is.
        imagination: makes, of the normalizer of the observations, what imagines; for `shape`.
        joint_size: of the joint layers.
        code_size: of the encoder.
        scale: what the sizes of the hidden layers are multiplied by.

    Attributes:
        imagination: what imagines; None where nothing ever is.
        imagines: whether it does so by now.
    """

    def __init__(self, config: OnPolicyConfig, observation_size: int, action_size: int,
                 seeds: Sequence[np.random.SeedSequence], shape: Shape | None,
                 imagination: Callable[[Normalizer], Imagination], joint_size: int, code_size: int,
                 scale: float = 1.0) -> None:
        self._shape, self._joint_size, self._code_size, self._scale = shape, joint_size, code_size, scale
        self._make_imagination = imagination
        self.imagination: Imagination | None = None
        self.imagines = False
        self.imagined_size = shape.size if shape else 0
        super().__init__(config, observation_size, action_size, seeds)

    # -- acting ------------------------------------------------------------------------------------------------------

    def rows(self, observation: np.ndarray, imagined: np.ndarray) -> np.ndarray:
        """What actor and critic take, float32 [m, observation_size + imagined_size].

        Args:
            observation: as it comes, [m, observation_size].
            imagined: [m, imagined_size].
        """
        return np.concatenate([self.normalize(observation), imagined], axis=1)

    def imagine(self, observation: np.ndarray) -> np.ndarray:
        """What is imagined from observations as they come, float32 [n, imagined_size]; zeros before it imagines."""
        if self.imagination is None or not self.imagines:
            return np.zeros((len(observation), self.imagined_size), np.float32)
        return self.imagination.of(observation)

    def act(self, observation: np.ndarray, previous: Previous, state: Any,
            reset_mask: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray], Any]:
        """See the base class; `imagined` goes with the actions, for the rollout."""
        imagined = self.imagine(observation)
        action, log_prob = self.head.draw(self.mean_of(self.rows(observation, imagined)), self.noise)
        return action, {"log_prob": log_prob, "imagined": imagined}, state

    def mean_of(self, rows: np.ndarray) -> np.ndarray:
        """The Gaussian's mean before the squashing, float32 [m, action_size], of `rows`."""
        return self._means(tf.constant(rows)).numpy()

    def renew(self) -> None:
        """From now on draw as wide, and imagine with observations scaled, as was learned."""
        self.head.renew()
        if self.imagination:
            self.imagination.renew()

    # -- networks ----------------------------------------------------------------------------------------------------

    def _make_networks(self, seeds: Sequence[np.random.SeedSequence]) -> tuple[keras.Model, keras.Model]:
        (actor_seed, critic_seed), config = seeds, self.config
        (encoder_seed,) = actor_seed.spawn(1)
        self.imagination = self._make_imagination(self.normalize) if self._shape else None
        encoder = Encoder(self._code_size, encoder_seed) if self._shape else None
        actor = self._network("actor", config.actor_hidden, self.action_size, 0.01, first_seed(actor_seed), encoder)
        critic = self._network("critic", config.critic_hidden, 1, 1.0, first_seed(critic_seed), encoder)
        self._means = tf.function(actor, jit_compile=True, autograph=False)
        return actor, critic

    def _network(self, name: str, hidden: Sequence[int], outputs: int, gain: float, seed: int,
                 encoder: Encoder | None) -> keras.Model:
        seeds = iter(np.random.SeedSequence(seed).generate_state(len(hidden) + 2))

        def layer(size: int, gain: float, label: str, **options: Any) -> keras.layers.Dense:
            start = keras.initializers.Orthogonal(gain, seed=int(next(seeds)))
            return keras.layers.Dense(size, kernel_initializer=start, name=f"{name}_{label}", **options)

        rows = keras.Input((self.observation_size + self.imagined_size,), dtype="float32")
        x = rows[:, :self.observation_size] if self._shape else rows
        for i, size in enumerate(hidden):
            x = layer(math.ceil(size * self._scale), math.sqrt(2.0), f"hidden_{i}", activation="tanh")(x)
        joint_size = math.ceil(self._joint_size * self._scale)
        x = layer(joint_size, math.sqrt(2.0), "joint")(x)
        if self._shape and encoder:
            steps, first = steps_of(rows[:, self.observation_size:], self._shape)
            codes = keras.ops.split(encoder(steps), self._shape.branches, axis=0)
            imagined = keras.layers.Dense(joint_size, use_bias=False, kernel_initializer="zeros",
                                          name=f"{name}_imagined")
            x = x + imagined(keras.ops.concatenate([*codes, *first], axis=-1))
        x = keras.ops.tanh(x)
        return keras.Model(rows, layer(outputs, gain, "output")(x), name=name)

    def _network_of_observations(self) -> keras.Model:
        if self.imagination is None:
            return self.actor
        observation = keras.Input((self.observation_size,), dtype="float32")
        rows = keras.ops.concatenate([observation, self.imagination.network(observation)], axis=-1)
        # A short name: every number of the exported file bears it.
        return keras.Model(observation, self.actor(rows), name="a")

    def _variables_of_critic(self) -> list[keras.Variable]:
        shared = {id(variable) for variable in self.actor.trainable_variables}
        return [variable for variable in self.critic.trainable_variables if id(variable) not in shared]


def trained_numbers(hidden: Sequence[Sequence[int]], outputs: Sequence[int], observation_size: int, joint_size: int,
                    code_size: int = 0, shape: Shape | None = None, scale: float = 1.0) -> int:
    """How many weights and biases actor and critic have together; `hidden` and `outputs` are of both."""
    count = 4 * code_size * (STEP_SIZE + 1 + code_size) if shape else 0
    for layers, last in zip(hidden, outputs, strict=True):
        sizes = [observation_size, *(math.ceil(size * scale) for size in (*layers, joint_size)), last]
        count += sum((before + 1) * after for before, after in zip(sizes, sizes[1:], strict=False))  # and the next
        if shape:
            count += shape.branches * (code_size + 8) * joint_size
    return count


class ImaginedBuffer(RolloutBuffer):
    """A rollout that also keeps what was imagined when it was acted.

    Args:
        length, num_envs, observation_size, action_size: as of the base class.
        imagined_size: numbers of what is imagined.

    Attributes:
        imagined: float32 [length, num_envs, imagined_size].
    """

    def __init__(self, length: int, num_envs: int, observation_size: int, action_size: int, imagined_size: int) -> None:
        super().__init__(length, num_envs, observation_size, action_size)
        self.imagined = np.zeros((length, num_envs, imagined_size), np.float32)

    def add(self, batch: Transition) -> None:
        """See the base class; `batch.extras` has `imagined`."""
        super().add(batch)
        self.imagined[self.size - 1] = batch.extras["imagined"]

    def _arrays(self) -> dict[str, np.ndarray]:
        return {**super()._arrays(), "imagined": self.imagined}
