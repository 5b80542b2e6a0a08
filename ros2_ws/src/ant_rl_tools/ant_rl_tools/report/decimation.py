"""Fewer points of a curve, with all its spikes."""

from __future__ import annotations

import numpy as np


def decimate(x: np.ndarray, y: np.ndarray, points: int, whole: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """The lowest and the highest point of each of `points / 2` stretches of a curve; a short one stays as it is.

    Args:
        x, y: [n] each. NaN in y are gaps; a stretch that has nothing else stays a gap.
        points: about how many to keep, at least 2.
        whole: how many at the beginning to keep besides, without leaving out any.

    Returns:
        x and y of the points that are kept, in their order.
    """
    n = len(y) - whole
    if n <= points:
        return x, y
    size = -(-n // (points // 2))
    count = -(-n // size)
    padded = np.full(count * size, np.nan)
    padded[:n] = y[whole:]
    stretches = padded.reshape(count, size)
    empty = np.isnan(stretches).all(axis=1)
    starts = whole + size * np.arange(count)
    lowest = starts + np.argmin(np.where(np.isnan(stretches), np.inf, stretches), axis=1)
    highest = starts + np.argmax(np.where(np.isnan(stretches), -np.inf, stretches), axis=1)
    kept = np.unique(np.concatenate([np.arange(whole), np.where(empty, starts, lowest),
                                     np.where(empty, starts, highest)]))
    return x[kept], y[kept]
