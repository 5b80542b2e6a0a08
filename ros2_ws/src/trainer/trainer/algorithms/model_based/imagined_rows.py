"""Transitions that were imagined, to draw batches from; those of models long gone are forgotten."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from trainer.models.kinematics import STATE_SIZE


class ImaginedBatch(NamedTuple):
    """m imagined transitions.

    Attributes:
        state, next_state: float32 [m, 27].
        action: float32 [m, action_size].
        reward: float32 [m].
        ended: bool [m], whether the task ends after it.
    """

    state: np.ndarray
    action: np.ndarray
    next_state: np.ndarray
    reward: np.ndarray
    ended: np.ndarray


class ImaginedRows:
    """What was imagined since the last few fits of the model, in the order of its coming.

    Args:
        action_size: of the robot.
    """

    def __init__(self, action_size: int) -> None:
        self._rows = ImaginedBatch(np.zeros((0, STATE_SIZE), np.float32), np.zeros((0, action_size), np.float32),
                                   np.zeros((0, STATE_SIZE), np.float32), np.zeros(0, np.float32), np.zeros(0, bool))
        self._counts: list[int] = []  # of each fit that is kept, the oldest first

    def __len__(self) -> int:
        """Rows kept."""
        return len(self._rows.reward)

    def add_fit(self, parts: list[ImaginedBatch], kept: int) -> None:
        """Take what was imagined after a fit of the model, and forget all but the last `kept` fits."""
        self._counts.append(sum(len(part.reward) for part in parts))
        gone = sum(self._counts[:-kept])
        self._counts = self._counts[-kept:]
        self._rows = ImaginedBatch._make(np.concatenate([old, *new])[gone:] for old, *new in zip(
            self._rows, *parts, strict=True))

    def sample(self, count: int, rng: np.random.Generator) -> ImaginedBatch:
        """Draw rows uniformly, with replacement."""
        index = rng.integers(0, len(self), count)
        return ImaginedBatch._make(column[index] for column in self._rows)

    def save(self) -> dict[str, np.ndarray]:
        """State as named arrays."""
        return {**self._rows._asdict(), "counts": np.array(self._counts, np.int64)}

    def restore(self, saved: Mapping[str, np.ndarray]) -> None:
        """Continue from what `save` gave."""
        self._rows = ImaginedBatch._make(saved[name] for name in ImaginedBatch._fields)
        self._counts = saved["counts"].tolist()
