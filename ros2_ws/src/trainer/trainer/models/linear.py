"""Least squares: what a learned model is to be better than."""

from __future__ import annotations

import numpy as np

from trainer.models import kinematics
from trainer.models.data.rows import Rows
from trainer.models.interface import Moment, start
from trainer.models.kinematics import STATE_SIZE


class LinearModel:
    """The next state as a linear function of state and action; see `EnvironmentModel`. numpy.

    Args:
        rows: what it is fitted to.
    """

    begin = staticmethod(start)

    def __init__(self, rows: Rows) -> None:
        self._weights = np.linalg.lstsq(_with_one(rows.state, rows.action), rows.outcome().astype(np.float64))[0]

    def step(self, moment: Moment, action: np.ndarray) -> Moment:
        """As `EnvironmentModel.step`."""
        found = _with_one(moment.state, action) @ self._weights
        displacement = found[:, STATE_SIZE:STATE_SIZE + 2]
        state = kinematics.advanced(moment.state, found[:, :STATE_SIZE])
        contact = np.maximum(found[:, STATE_SIZE + 2], 0.0)
        return Moment(state, moment.place + displacement, displacement, contact)


def _with_one(state: np.ndarray, action: np.ndarray) -> np.ndarray:
    return np.concatenate([state, action, np.ones((len(state), 1))], axis=1, dtype=np.float64)
