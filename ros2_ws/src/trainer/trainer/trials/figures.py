"""What trials are summed up to: by place in the trial, by time since a change of the task, by task. Pure numpy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ant_env_node.tasks.moving import seen
from ant_env_node.tasks.task import VECTOR_SIZE
from trainer.trials.record import Trials

EARLY_STEPS = 200  # in which a policy shows how fast it finds out; the length of an episode in much of the literature
# Ticks before and after a change of the task whose speeds and rewards are told, by name.
SEGMENTS: Mapping[str, tuple[int, int]] = {"before": (-50, 0), "0-50": (0, 50), "50-100": (50, 100),
                                           "100+": (100, 10**9)}
_SOON = 100  # [ticks] within which a policy is to go on after a change
_WINDOW = 20  # [ticks] over which a speed counts as reached


@dataclass(frozen=True)
class EpisodeFigures:
    """Of the episodes at one place in the trial, or the first steps of them, those of all robots, n.

    Attributes:
        returns: undiscounted, [n].
        lengths: [steps], [n].
        speeds: mean along the direction that is asked for [m/s], [n].
        fell: bool [n].
        hit: by a ball, bool [n].
        balls: how many began to roll, [n].
    """

    returns: np.ndarray
    lengths: np.ndarray
    speeds: np.ndarray
    fell: np.ndarray
    hit: np.ndarray
    balls: np.ndarray

    @property
    def falls(self) -> int:
        """How many fell."""
        return int(self.fell.sum())


@dataclass(frozen=True)
class ChangeFigures:
    """What came of changes of the task within episodes: those after which 100 ticks, or a fall in them, were seen.

    Attributes:
        count: of the changes.
        speeds, rewards: means per tick of the segments, by name [m/s], [1]; NaN where none was seen. They are of the
            robots that were still up.
        fell: how many fell within 100 ticks.
        recovered: how many went within 100 ticks at half of the reference speed.
        reference: that speed [m/s].
    """

    count: int
    speeds: Mapping[str, float]
    rewards: Mapping[str, float]
    fell: int
    recovered: int
    reference: float


def episode_figures(trials: Trials, place: int, steps: int | None = None) -> EpisodeFigures:
    """Of the episodes at a place in the trial; with `steps`, of no more than their first so many."""
    here = trials.episode == place
    if steps is not None:
        here = here & (np.cumsum(here, axis=0) <= steps)
    lengths = here.sum(axis=0)
    return EpisodeFigures((trials.reward * here).sum(axis=0, dtype=np.float64), lengths,
                          (trials.speed * here).sum(axis=0, dtype=np.float64) / np.maximum(lengths, 1),
                          (trials.fell & here).any(axis=0), (trials.hit & here).any(axis=0),
                          (_begun(trials) & here).sum(axis=0))


def _begun(trials: Trials) -> np.ndarray:
    """bool [ticks, n]: whether a ball is there that was not, at the tick before."""
    if trials.task.shape[-1] != VECTOR_SIZE:
        return np.zeros(trials.fell.shape, bool)
    rolling = seen.ball_of(trials.task)[0]
    return rolling & ~np.roll(rolling, 1, axis=0)  # at no first tick of an episode one rolls


def by_task(trials: Trials) -> dict[str, list[float]]:
    """Returns of the first episodes by task, in the order of the tasks' first robots."""
    found: dict[str, list[float]] = {}
    for name, value in zip(trials.names, episode_figures(trials, 0).returns.tolist(), strict=True):
        found.setdefault(name, []).append(value)
    return found


def change_figures(trials: Trials, reference: float | None = None) -> ChangeFigures:
    """What came of the changes of the task; `reference` is the speed to go back to, by default the mean before them."""
    parts: dict[str, list[tuple[float, float, int]]] = {name: [] for name in SEGMENTS}
    fastest: list[float] = []
    fell = 0
    for row, tick in np.argwhere(trials.changed.T & (trials.episode.T >= 0)).tolist():
        begin, end = _span(trials, row, tick)
        falls = bool(trials.fell[end - 1, row]) and end - tick <= _SOON
        if not falls and end - tick < _SOON:
            continue
        fell += falls
        for name, (first, last) in SEGMENTS.items():
            part = slice(max(begin, tick + first), min(end, tick + last))
            if part.stop > part.start:
                parts[name].append((float(trials.speed[part, row].sum()), float(trials.reward[part, row].sum()),
                                    part.stop - part.start))
        fastest.append(-np.inf if falls else _fastest(trials.speed[tick:tick + _SOON, row]))
    speeds = {name: _mean(found, 0) for name, found in parts.items()}
    rewards = {name: _mean(found, 1) for name, found in parts.items()}
    wanted = speeds["before"] if reference is None else reference
    recovered = int(sum(speed >= wanted / 2 for speed in fastest))
    return ChangeFigures(len(fastest), speeds, rewards, fell, recovered, wanted)


def _span(trials: Trials, row: int, tick: int) -> tuple[int, int]:
    """First tick before, and the one after the last, in the same episode, without another change."""
    stops = np.flatnonzero(trials.changed[:tick, row] | np.roll(trials.ended[:, row], 1)[:tick])
    begin = int(stops[-1]) if len(stops) else 0
    ends = trials.ended[tick:, row].copy()
    ends[:-1] |= trials.changed[tick + 1:, row]
    found = np.flatnonzero(ends)
    return begin, tick + (int(found[0]) + 1 if len(found) else len(ends))


def _fastest(speed: np.ndarray) -> float:
    """The largest mean over a window."""
    return float(np.convolve(speed, np.full(_WINDOW, 1 / _WINDOW), "valid").max())


def _mean(found: list[tuple[float, float, int]], which: int) -> float:
    ticks = sum(each[2] for each in found)
    return sum(each[which] for each in found) / ticks if ticks else float("nan")
