"""What a student is taught from: rounds of consecutive ticks of all robots."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

import numpy as np

Arrays = dict[str, np.ndarray]

_STATE = "state_"


class Lessons:
    """The newest rounds, and the one that is being collected.

    Args:
        length: ticks of a round.
        keep: rounds that are kept.
    """

    def __init__(self, length: int, keep: int) -> None:
        self._length = length
        self._ticks: list[Arrays] = []
        self._state: Arrays = {}
        self.rounds: deque[Arrays] = deque(maxlen=keep)

    @property
    def complete(self) -> bool:
        """Whether the round that is being collected has all of its ticks."""
        return len(self._ticks) == self._length

    def add(self, tick: Arrays, state: tuple[np.ndarray, ...]) -> None:
        """One tick, arrays [n, ...], and the student's state before it, of which the first of a round is kept."""
        if not self._ticks:
            self._state = {f"{_STATE}{i}": array for i, array in enumerate(state)}
        self._ticks.append(tick)

    def close_round(self) -> Arrays:
        """Keep the complete round; returns its arrays [T, n, ...] and, named state_0, …, those before it [n, ...]."""
        made = {**_stacked(self._ticks), **self._state}
        self.rounds.append(made)
        self._ticks = []
        return made

    def rows(self, made: Arrays, rows: np.ndarray) -> tuple[Arrays, tuple[np.ndarray, ...]]:
        """Lessons [T, len(rows), ...] of some robots in a round, and the states before them."""
        ticks = {name: array[:, rows] for name, array in made.items() if not name.startswith(_STATE)}
        return ticks, tuple(made[f"{_STATE}{i}"][rows] for i in range(len(made) - len(ticks)))

    def save(self) -> Arrays:
        """State as named arrays."""
        saved = {f"round{i}_{name}": array for i, each in enumerate(self.rounds) for name, array in each.items()}
        if self._ticks:
            saved.update({f"tick_{name}": array for name, array in {**_stacked(self._ticks), **self._state}.items()})
        return {"rounds": np.asarray(len(self.rounds)), "ticks": np.asarray(len(self._ticks)), **saved}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Continue from what `save` gave."""
        def named(prefix: str) -> Arrays:
            return {name.removeprefix(prefix): state[name] for name in state if name.startswith(prefix)}
        self.rounds.clear()
        self.rounds.extend(named(f"round{i}_") for i in range(int(state["rounds"])))
        ticks = named("tick_")
        self._state = {name: ticks.pop(name) for name in list(ticks) if name.startswith(_STATE)}
        self._ticks = [{name: array[t] for name, array in ticks.items()} for t in range(int(state["ticks"]))]


def _stacked(ticks: list[Arrays]) -> Arrays:
    return {name: np.stack([tick[name] for tick in ticks]) for name in ticks[0]}
