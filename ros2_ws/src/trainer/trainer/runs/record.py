"""What a training keeps of itself beside its weights: returns, means that wait for their row, and its time."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import numpy as np

from ant_rl_core.step import TimeStep, Transition, unshaped_reward
from trainer.checkpoint import Part
from trainer.runs.curve import Means
from trainer.runs.returns import EpisodeReturns


class Record:
    """Returns, metrics and time of one training, whoever drives it.

    One thread adds; others may read `means` and `seconds` meanwhile.

    Args:
        num_envs: robots that are learned from.
        clock: seconds.

    Attributes:
        means: mean return and mean length of the last episodes, NaN before the first end of one.
    """

    def __init__(self, num_envs: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._returns, self._metrics = EpisodeReturns(num_envs), Means()
        self.means = self._returns.means()
        self._clock, self._begin = clock, clock()

    @property
    def seconds(self) -> float:
        """Time of the training, that before a resumption included and what was left out not."""
        return self._clock() - self._begin

    def leave_out(self, seconds: float) -> None:
        """Don't count so many seconds, which went into something else."""
        self._begin += seconds

    def add_tick(self, made: TimeStep | Transition) -> None:
        """Take what a tick of all robots earned and ended."""
        done = made.terminated | made.truncated
        self._returns.add(unshaped_reward(made), done)
        if done.any():
            self.means = self._returns.means()

    def add_metrics(self, metrics: Mapping[str, float]) -> None:
        """Take the metrics of an update."""
        self._metrics.add(metrics)

    def take_metrics(self) -> dict[str, float]:
        """Means of the metrics since the last call."""
        return self._metrics.take()

    def save(self) -> dict[str, np.ndarray]:
        """State as named arrays of its own."""
        state = {f"returns.{name}": np.array(array) for name, array in self._returns.save().items()}
        state.update({f"metrics.{name}": array for name, array in self._metrics.save().items()})
        return {**state, "wall_seconds": np.asarray(self.seconds)}

    def restore(self, saved: Mapping[str, np.ndarray]) -> None:
        """Continue from what `save` gave."""
        self._returns.restore(Part(saved, "returns."))
        self._metrics.restore(Part(saved, "metrics."))
        self.means = self._returns.means()
        self._begin = self._clock() - float(saved["wall_seconds"])

    def begin_episodes(self) -> None:
        """All robots begin new episodes: what they earned in the ones before is of no episode that ends."""
        self._returns.begin_episodes()
