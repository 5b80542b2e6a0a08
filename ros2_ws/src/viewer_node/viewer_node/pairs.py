"""Joins the messages of two topics that tell of the same moment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_KEPT = 10  # messages of either topic that wait for their partner at most


class Pairs:
    """Keeps what has no partner yet: one of two messages may come a little later, or never."""

    def __init__(self) -> None:
        self._first: dict[int, Any] = {}
        self._second: dict[int, Any] = {}

    def newest(self, first: Mapping[int, Any], second: Mapping[int, Any]) -> tuple[Any, Any] | None:
        """Take what has come, by moment [ns]; the newest pair that was not given yet, None where there is none."""
        self._first |= first
        self._second |= second
        both = self._first.keys() & self._second.keys()
        newest = max(both, default=-1)
        found = (self._first[newest], self._second[newest]) if both else None
        self._first, self._second = (
            {moment: part[moment] for moment in sorted(part)[-_KEPT:] if moment > newest}
            for part in (self._first, self._second))
        return found
