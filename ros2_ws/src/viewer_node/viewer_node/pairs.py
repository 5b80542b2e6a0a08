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
        """Take what has come, by moment [ns]; the newest pair that was not given yet, None where there is none.

        Newest is what came last, whatever its moment: a clock may be set back.
        """
        self._first |= first
        self._second |= second
        newest = next((moment for moment in reversed(self._first) if moment in self._second), None)
        if newest is None:
            self._first, self._second = _last(self._first), _last(self._second)
            return None
        found = self._first[newest], self._second[newest]
        self._first, self._second = _behind(self._first, newest), _behind(self._second, newest)
        return found


def _last(part: Mapping[int, Any]) -> dict[int, Any]:
    return {moment: part[moment] for moment in list(part)[-_KEPT:]}


def _behind(part: Mapping[int, Any], newest: int) -> dict[int, Any]:
    place = list(part).index(newest)
    return _last({moment: each for i, (moment, each) in enumerate(part.items()) if i > place or moment > newest})
