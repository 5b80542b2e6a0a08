"""Running mean and variance of batches, and what is scaled by them."""

from __future__ import annotations

from collections.abc import Mapping

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

    def restore(self, state: Mapping[str, np.ndarray], prefix: str) -> None:
        """Continue from what `save` gave."""
        self.mean, self.variance = state[f"{prefix}mean"].copy(), state[f"{prefix}variance"].copy()
        self.count = float(state[f"{prefix}count"])


class Normalizer:
    """Moves and scales rows by their running mean and standard deviation.

    Args:
        size: entries of a row.
        clip: scaled entries are clipped to this magnitude.
        least_std: entries that vary less than this are scaled by this instead.
    """

    def __init__(self, size: int, clip: float = np.inf, least_std: float = 1e-4) -> None:
        self.statistics = RunningStatistics((size,))
        self.clip, self._least_std = clip, least_std
        self._renew()

    @property
    def mean(self) -> np.ndarray:
        """What is taken off, float64 [size]."""
        return self.statistics.mean

    @property
    def variance(self) -> np.ndarray:
        """The square of what is divided by, float64 [size]."""
        return np.maximum(self.statistics.variance, self._least_std**2)

    def update(self, rows: np.ndarray) -> None:
        """Take rows [m, size] into the statistics."""
        self.statistics.update(rows)
        self._renew()

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """Rows [m, size] scaled, float32."""
        return self.first(rows, len(self._mean))

    def first(self, rows: np.ndarray, count: int) -> np.ndarray:
        """Rows [m, count] of the first entries alone, scaled."""
        return np.clip((rows - self._mean[:count]) / self._std[:count], -self.clip, self.clip)

    def save(self, prefix: str) -> dict[str, np.ndarray]:
        """State as named arrays."""
        return self.statistics.save(prefix)

    def restore(self, state: Mapping[str, np.ndarray], prefix: str) -> None:
        """Continue from what `save` gave."""
        self.statistics.restore(state, prefix)
        self._renew()

    def _renew(self) -> None:
        self._mean, self._std = self.mean.astype(np.float32), np.sqrt(self.variance).astype(np.float32)
