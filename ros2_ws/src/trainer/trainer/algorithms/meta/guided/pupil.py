"""A recurrent actor that learns to do what an expert does who is told the task."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from ant_rl_core.bundle import INPUTS
from ant_rl_core.step import Previous, Transition
from trainer.algorithms.meta.guided.experts import Expert
from trainer.export.policy_graph import deterministic_graph
from trainer.networks.recurrent import State
from trainer.networks.recurrent_actor import NumpyRecurrentActor, RecurrentActor
from trainer.networks.statistics import Normalizer

Arrays = tuple[np.ndarray, ...]


class Pupil:
    """An actor that is taught the expert's actions; see `guided_rl2.Student`.

    Args:
        actor: what is taught.
        expert: who is imitated.
        normalizer: of the observations; fixed after the first round.

    Attributes:
        variables: what is learned.
        graph: for bundles.
    """

    def __init__(self, actor: RecurrentActor, expert: Expert, normalizer: Normalizer) -> None:
        self._actor, self._expert, self._normalizer = actor, expert, normalizer
        self.expert: Expert | None = expert
        self.variables = actor.variables
        self.graph = deterministic_graph(actor.network, normalizer)
        self.renew()

    def initial_state(self, num_envs: int) -> Arrays:
        """Zeros."""
        return self._actor.initial_state(num_envs)

    def act(self, observation: np.ndarray, previous: Previous, state: Arrays) -> tuple[np.ndarray, Arrays]:
        """Actions float32 [n, action_size] and the state after."""
        output, state = self._acting(self._inputs(observation, previous), state)
        return np.tanh(output), state

    def renew(self) -> None:
        """From now on act by what was learned."""
        self._acting = NumpyRecurrentActor(self._actor)

    def lesson(self, batch: Transition, previous: Previous) -> dict[str, np.ndarray]:
        """What of a tick is learned from."""
        return {**self._inputs(batch.observation, previous), "observation": batch.observation,
                "label": self._expert.label(batch)}

    def begin(self, lessons: dict[str, np.ndarray]) -> None:
        """Scale observations by the first lessons, each array [T, n, ...]."""
        self._normalizer.update(lessons["observation"].reshape(-1, lessons["observation"].shape[-1]))

    def varied(self, lessons: dict[str, np.ndarray], order: np.random.Generator) -> dict[str, np.ndarray]:
        """See `guided_rl2.Student`."""
        return lessons

    def loss(self, lessons: dict[str, tf.Tensor], state: State) -> tf.Tensor:
        """Mean square of the differences in action; of lessons as of `Estimator.loss`."""
        mean, std = (tf.constant(each, tf.float32) for each in (
            self._normalizer.mean, np.sqrt(self._normalizer.variance)))
        clip = self._normalizer.clip
        observation = tf.clip_by_value((lessons["observation"] - mean) / std, -clip, clip)
        output, _, _ = self._actor.sequence({**lessons, "observation": observation}, lessons["first"], state)
        return tf.reduce_mean(tf.square(tf.tanh(output) - lessons["label"]))

    def save(self) -> dict[str, np.ndarray]:
        """What a checkpoint must hold beside `variables`."""
        return self._normalizer.save("observation_")

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Continue from what `save` gave, with `variables` as they were."""
        self._normalizer.restore(state, "observation_")
        self.renew()

    def _inputs(self, observation: np.ndarray, previous: Previous) -> dict[str, np.ndarray]:
        values = (self._normalizer(observation), previous.action, previous.reward[:, None],
                  previous.done[:, None].astype(np.float32))
        return dict(zip(INPUTS, values, strict=True))
