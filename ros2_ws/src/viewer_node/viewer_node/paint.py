"""What is to be seen of a robot's task: motors that don't do what they are told, by their color, and a ball."""

from __future__ import annotations

from collections.abc import Sequence

import mujoco
import numpy as np

_AS_USUAL, _DEAD, _REVERSED = (0.8, 0.6, 0.4, 1.0), (0.25, 0.25, 0.3, 1.0), (0.55, 0.25, 0.75, 1.0)

BALL_RADIUS, BALL_COLOR = 0.3, (0.85, 0.2, 0.2, 1.0)  # [m]; how near it must not come is more than how large it is


def add_ball(scene: mujoco.MjvScene, place: np.ndarray) -> None:
    """Add a ball to what is drawn, on the ground at `place` [2] [m]."""
    mujoco.mjv_initGeom(scene.geoms[scene.ngeom], mujoco.mjtGeom.mjGEOM_SPHERE, np.full(3, BALL_RADIUS),
                        np.array([*place, BALL_RADIUS]), np.eye(3).ravel(), np.array(BALL_COLOR, np.float32))
    scene.ngeom += 1


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
