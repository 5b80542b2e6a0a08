"""Which motors of a robot don't do what they are told, to be seen by their color."""

from __future__ import annotations

from collections.abc import Sequence

import mujoco
import numpy as np

_AS_USUAL, _DEAD, _REVERSED = (0.8, 0.6, 0.4, 1.0), (0.25, 0.25, 0.3, 1.0), (0.55, 0.25, 0.75, 1.0)


def paint(model: mujoco.MjModel, gear: Sequence[float]) -> None:
    """Color what each motor moves: gray where it is dead, violet where it is wired the wrong way round.

    Args:
        model: the robot's, for drawing.
        gear: strength of each motor as a multiple of the stock one; 0 is dead, negative the wrong way round.
    """
    for actuator, strength in enumerate(gear):
        joint = model.actuator_trnid[actuator, 0]
        moved = np.flatnonzero(model.geom_bodyid == model.jnt_bodyid[joint])
        model.geom_rgba[moved] = _DEAD if strength == 0 else _REVERSED if strength < 0 else _AS_USUAL
