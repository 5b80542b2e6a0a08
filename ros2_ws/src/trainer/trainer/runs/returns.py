"""Returns of the episodes that a learner collects."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

import numpy as np


class EpisodeReturns:
    """Undiscounted return and length of the last finished episodes.

    Args:
        num_envs: number of rows.
        window: how many episodes are kept.
    """

    def __init__(self, num_envs: int, window: int = 100) -> None:
        self._return, self._length = np.zeros(num_envs), np.zeros(num_envs)
        self.finished: deque[tuple[float, float]] = deque(maxlen=window)

    def add(self, reward: np.ndarray, done: np.ndarray) -> None:
        """Take the `unshaped_reward` [n] of one step and which rows (bool [n]) it finished."""
        self._return += reward
        self._length += 1
        for row in np.flatnonzero(done):
            self.finished.append((self._return[row], self._length[row]))
            self._return[row] = self._length[row] = 0.0

    def means(self) -> tuple[float, float]:
        """Mean return and mean length, NaN before the first end of an episode."""
        if not self.finished:
            return float("nan"), float("nan")
        mean_return, mean_length = np.mean(self.finished, axis=0)
        return float(mean_return), float(mean_length)

    def begin_episodes(self) -> None:
        """Forget what was earned in episodes that did not end, in all rows."""
        self._return[:] = self._length[:] = 0.0

    def save(self) -> dict[str, np.ndarray]:
        """State as named arrays."""
        return {"return": self._return, "length": self._length,
                "finished": np.array(self.finished).reshape(-1, 2)}

    def restore(self, saved: Mapping[str, np.ndarray]) -> None:
        """Continue from what `save` gave."""
        self._return, self._length = saved["return"].copy(), saved["length"].copy()
        self.finished.extend(map(tuple, saved["finished"]))
