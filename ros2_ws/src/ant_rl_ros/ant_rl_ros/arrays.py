"""Flat arrays of messages and numpy arrays: the fast way between them, with sizes checked."""

from __future__ import annotations

import array
import math
from typing import Any

import numpy as np

_CODES = {np.dtype(np.float32): "f", np.dtype(np.float64): "d", np.dtype(np.int64): "q", np.dtype(np.uint64): "Q",
          np.dtype(np.int32): "i", np.dtype(np.uint32): "I", np.dtype(np.uint8): "B", np.dtype(np.bool_): "B"}


def flat(values: np.ndarray) -> array.array[Any]:
    """What a message's array field takes at once: the values in row-major order, bool as uint8."""
    return array.array(_CODES[values.dtype], values.tobytes())


def unflat(data: Any, dtype: Any, shape: tuple[int, ...], name: str) -> np.ndarray:
    """A numpy view of a received message's array field, which lives as long as the view.

    Args:
        data: array field of a message.
        dtype: float32, int64, ...; bool reads a uint8 field of one dimension.
        shape: shape it must have.
        name: name of the field, for the error.

    Raises:
        ValueError: another number of values than `shape` has.
    """
    if len(data) != math.prod(shape):
        raise ValueError(f"{name} must have {math.prod(shape)} values ({' x '.join(map(str, shape))}), "
                         f"found {len(data)}")
    values = np.frombuffer(data, np.uint8 if dtype is bool else dtype)
    if dtype is bool:
        return values != 0
    return values if len(shape) == 1 else values.reshape(shape)
