"""Linear probes: how well is the task told by an actor's memory, and by an observation alone? Pure numpy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trainer.trials.record import Inside

_RIDGE = 1.0  # of standardized features, beside as many rows as there are
_LEAST_ROWS = 20  # of each side, below which nothing is told


@dataclass(frozen=True)
class Probed:
    """How well a linear map that was fitted on some trials tells the tasks of others.

    Attributes:
        accuracy: share right of the task's numbers that have two values; NaN where there is none.
        chance: share right if the more frequent value is always told.
        r2: coefficient of determination of the task's other numbers; NaN where there is none. 0: no better than their
            mean.
        rows: trials that it was tested on.
    """

    accuracy: float
    chance: float
    r2: float
    rows: int


_NOTHING = Probed(float("nan"), float("nan"), float("nan"), 0)


def probe(train: Inside, test: Inside, source: str) -> list[Probed]:
    """For each tick what `source`, memory or observation, tells of the task.

    Args:
        train: trials to fit on.
        test: others, best of tasks that are not among those of `train`.
        source: memory or observation.
    """
    found = []
    for place in range(len(train.ticks)):
        sides = [(getattr(side, source)[place][side.there[place]], side.task[side.there[place]])
                 for side in (train, test)]
        found.append(_NOTHING if min(len(side[0]) for side in sides) < _LEAST_ROWS else
                     told_by(*sides[0], *sides[1]))
    return found


def told_by(features: np.ndarray, task: np.ndarray, test_features: np.ndarray, test_task: np.ndarray) -> Probed:
    """Ridge regression of the task's numbers that vary on standardized features.

    Args:
        features, test_features: [m, d] each, of trials to fit on and of others.
        task, test_task: their tasks, [m, k] each.
    """
    varying = np.flatnonzero(np.ptp(task, axis=0) > 0)
    if not len(varying) or not features.shape[1]:
        return _NOTHING
    wanted, truth = task[:, varying].astype(np.float64), test_task[:, varying].astype(np.float64)
    two_valued = np.array([len(np.unique(column)) == 2 for column in wanted.T])
    told = _predicted(features.astype(np.float64), wanted, test_features.astype(np.float64))
    accuracy = chance = r2 = float("nan")
    if two_valued.any():
        middle = (wanted.min(axis=0) + wanted.max(axis=0)) / 2
        right = (told > middle) == (truth > middle)
        often = np.median(wanted, axis=0) > middle
        accuracy = float(right[:, two_valued].mean())
        chance = float(((truth > middle) == often)[:, two_valued].mean())
    if not two_valued.all():
        rest = ~two_valued
        spread = ((truth[:, rest] - wanted[:, rest].mean(axis=0)) ** 2).sum()
        r2 = float(1 - ((told[:, rest] - truth[:, rest]) ** 2).sum() / spread) if spread else float("nan")
    return Probed(accuracy, chance, r2, len(truth))


def _predicted(features: np.ndarray, wanted: np.ndarray, test_features: np.ndarray) -> np.ndarray:
    mean, std = features.mean(axis=0), features.std(axis=0)
    std = np.where(std > 1e-6, std, np.inf)  # what never varied tells nothing
    x, center = (features - mean) / std, wanted.mean(axis=0)
    weights = np.linalg.solve(x.T @ x + _RIDGE * np.eye(x.shape[1]), x.T @ (wanted - center))
    return (test_features - mean) / std @ weights + center
