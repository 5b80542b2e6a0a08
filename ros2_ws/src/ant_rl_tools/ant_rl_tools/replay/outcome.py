"""What a replay found, for people and for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Outcome:
    """The end of a replay.

    Attributes:
        passed: what was played back did what was recorded, within the tolerance that was asked for.
        lines: what to tell; the last one is the verdict.
        summary: the same as plain data.
    """

    passed: bool
    lines: Sequence[str]
    summary: Mapping[str, Any]


def first_unequal(recorded: np.ndarray, replayed: np.ndarray) -> tuple[int, ...] | None:
    """Index of the first number that is not the same to the last bit; None where all are.

    Args:
        recorded, replayed: of the same shape and dtype.
    """
    bits = f"u{recorded.dtype.itemsize}"
    unequal = np.ascontiguousarray(recorded).view(bits) != np.ascontiguousarray(replayed).view(bits)
    return tuple(map(int, np.argwhere(unequal)[0])) if unequal.any() else None
