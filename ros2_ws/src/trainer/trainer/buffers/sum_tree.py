"""Sum tree: draws in proportion to weights that change, both in logarithmic time (Schaul et al., arXiv:1511.05952)."""

from __future__ import annotations

import numpy as np


class SumTree:
    """Weights of `size` leaves in float64; every inner node holds the sum of the two below it."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._first = 1 << max(0, size - 1).bit_length()  # of the leaves; node i is above 2i and 2i + 1
        self._nodes = np.zeros(2 * self._first)

    @property
    def total(self) -> float:
        """Sum of all weights."""
        return float(self._nodes[1])

    @property
    def leaves(self) -> np.ndarray:
        """float64 [size], the weights, no copy."""
        return self._nodes[self._first:self._first + self.size]

    def get(self, index: np.ndarray) -> np.ndarray:
        """Weights of some leaves."""
        return self._nodes[self._first + index]

    def set(self, index: np.ndarray, weight: np.ndarray) -> None:
        """Change the weights of some leaves; the last one counts where an index comes twice."""
        nodes = self._nodes
        at = self._first + np.asarray(index)
        nodes[at] = weight
        while at[0] > 1:  # all leaves are equally deep
            at = np.unique(at >> 1)
            nodes[at] = nodes[2 * at] + nodes[2 * at + 1]

    def find(self, mass: np.ndarray) -> np.ndarray:
        """The leaves at which the running sum of the weights passes `mass` [m] in [0, total]; never one of weight 0."""
        nodes, at = self._nodes, np.ones(len(mass), np.int64)
        while at[0] < self._first:
            left = nodes[2 * at]
            right = (mass >= left) & (nodes[2 * at + 1] > 0.0)
            mass = np.where(right, mass - left, mass)
            at = 2 * at + right
        return at - self._first
