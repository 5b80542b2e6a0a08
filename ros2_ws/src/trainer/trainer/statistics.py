"""Running mean and variance of batches."""

from __future__ import annotations

import numpy as np


class RunningStatistics:
    """Mean and variance over all rows ever given, in float64 (Chan et al. 1979, parallel variance).

    Args:
        shape: shape of one row.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.mean = np.zeros(shape, np.float64)
        self.variance = np.ones(shape, np.float64)
        self.count = 0.0

    def update(self, rows: np.ndarray) -> None:
        """Take rows [m, *shape]."""
        rows = np.asarray(rows, np.float64)
        count, mean, variance = len(rows), rows.mean(axis=0), rows.var(axis=0)
        total = self.count + count
        delta = mean - self.mean
        square = self.variance * self.count + variance * count + np.square(delta) * self.count * count / total
        self.mean = self.mean + delta * (count / total)
        self.variance = square / total
        self.count = total

    def save(self, prefix: str) -> dict[str, np.ndarray]:
        """State as named arrays."""
        return {f"{prefix}mean": self.mean, f"{prefix}variance": self.variance,
                f"{prefix}count": np.asarray(self.count)}

    def restore(self, state: dict[str, np.ndarray], prefix: str) -> None:
        """Continue from what `save` gave."""
        self.mean, self.variance = state[f"{prefix}mean"].copy(), state[f"{prefix}variance"].copy()
        self.count = float(state[f"{prefix}count"])
