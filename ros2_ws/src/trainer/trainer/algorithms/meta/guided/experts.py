"""Experts that are told the task: what they would do is what a student learns."""

from __future__ import annotations

from typing import Protocol

import keras
import numpy as np
import tensorflow as tf

from ant_rl_core.step import Transition
from trainer.algorithms.meta.guided.contract import Guide
from trainer.algorithms.meta.guided.heading import Delay


class Expert(Protocol):
    """What is right to do, by one who knows what the student does not."""

    def label(self, batch: Transition) -> np.ndarray:
        """What was right to do with the observations of a tick, float32 [n, action_size]."""

    def act(self, observation: np.ndarray, task: np.ndarray) -> np.ndarray | None:
        """What is right to do now; None where what it knows is told only afterwards."""


class GuidedExpert:
    """A policy that was not made for the task, told by its guide what to see and what to send.

    Args:
        policy: from observations to actions.
        guide: for the tasks.
    """

    def __init__(self, policy: keras.Model, guide: Guide) -> None:
        self._guide = guide
        def act(observation: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
            belief = guide.certain(labels)
            return guide.command(policy(guide.view(observation, belief)), belief)
        self._run = tf.function(act, jit_compile=True, autograph=False)

    def label(self, batch: Transition) -> np.ndarray:
        """See `Expert`."""
        assert batch.task is not None
        return self.act(batch.observation, batch.task)

    def act(self, observation: np.ndarray, task: np.ndarray) -> np.ndarray:
        """See `Expert`."""
        return self._run(tf.constant(observation), tf.constant(self._guide.labels(task))).numpy()


class ForesightedExpert:
    """A policy that sees what will be when its action arrives, and so need not know that it comes late.

    Args:
        policy: from observations to actions.
    """

    def __init__(self, policy: keras.Model) -> None:
        self._run = tf.function(policy, jit_compile=True, autograph=False)

    def label(self, batch: Transition) -> np.ndarray:
        """See `Expert`."""
        return self._run(tf.constant(batch.extras["observation_ahead"], tf.float32)).numpy()

    def act(self, observation: np.ndarray, task: np.ndarray) -> None:
        """What will be is told with the transition only."""


def expert_for(policy: keras.Model, guide: Guide) -> Expert:
    """The expert that a policy becomes by its guide, where guiding takes no more than an observation."""
    return ForesightedExpert(policy) if isinstance(guide, Delay) else GuidedExpert(policy, guide)
