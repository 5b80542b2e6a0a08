"""How the K imagined branches of n robots lie in one array; nothing else decides it.

Rows are branch-major: row k * n + i is branch k of robot i, so that rows [K * n, ...] are [K, n, ...] without moving a
number.
"""

from __future__ import annotations

from typing import Any

from trainer.models.kinematics import ops

Array = Any  # np.ndarray or tf.Tensor


def spread(x: Array, branches: int) -> Array:
    """[n, ...] to rows [K * n, ...]: every robot in each of K branches."""
    return x if branches == 1 else ops(x).concatenate([x] * branches, axis=0)


def rows_of(x: Array) -> Array:
    """[K, n, ...] to rows [K * n, ...]."""
    return ops(x).reshape(x, (-1, *x.shape[2:]))


def branches_of(x: Array, branches: int) -> Array:
    """Rows [K * n, ...] to [K, n, ...]."""
    return ops(x).reshape(x, (branches, -1, *x.shape[1:]))
