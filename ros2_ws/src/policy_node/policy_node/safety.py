"""The last look at an action before it becomes torque."""

from __future__ import annotations

import numpy as np


def make_safe(action: np.ndarray) -> tuple[np.ndarray, int, int]:
    """Return (action, clipped, zeroed): finite and in [-1, 1], whatever the actor gave.

    A row with NaN or infinity gets no torque at all, since nothing else in it can be trusted then; other values beyond
    [-1, 1] are clipped.

    Args:
        action: float32 [n, action_size]; returned as it is where nothing is wrong, never changed.

    Returns:
        The safe action, the number of clipped elements and the number of zeroed rows.
    """
    if action.size == 0 or (action.max() <= 1.0 and action.min() >= -1.0):  # both are false if there is a NaN
        return action, 0, 0
    wrong = ~np.isfinite(action).all(axis=1)
    safe = np.where(wrong[:, None], np.float32(0), action)
    clipped = int((np.abs(safe) > 1.0).sum())
    return np.clip(safe, -1.0, 1.0), clipped, int(wrong.sum())
