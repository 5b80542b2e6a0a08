"""A task's body and world, written into a model of the Ant."""

from __future__ import annotations

import copy

import mujoco
import numpy as np

from ant_env_node.tasks.task import Task
from ant_env_node.tasks.terrain import write_terrain

_TORSO = "torso"


def model_of(task: Task, stock: mujoco.MjModel, scratch: mujoco.MjData) -> mujoco.MjModel:
    """A model of its own for a row: the stock one with the multiples of the task, always taken of the stock's numbers.

    Args:
        task: whose body it is.
        stock: stays as it is.
        scratch: any data of the stock model; it is left in the reference pose.
    """
    model = copy.copy(stock)
    write(task, model, stock)
    if not task.has_stock_inertia:
        torso = model.body(_TORSO).id
        model.body_mass[torso] = stock.body_mass[torso] * task.mass
        model.body_inertia[torso] = stock.body_inertia[torso] * task.mass
        model.dof_armature[:] = stock.dof_armature * task.armature
        # What MuJoCo derives of masses and inertias when it compiles; it moves the data that it is given.
        mujoco.mj_setConst(model, scratch)
    return model


def write(task: Task, model: mujoco.MjModel, stock: mujoco.MjModel) -> None:
    """The multiples of the task, but for masses and inertias, into a row's model: a thirtieth of a copy's time.

    Args:
        task: whose body it is.
        model: of the row, whatever was written into it before.
        stock: whose numbers they are multiples of.

    Raises:
        ValueError: see `write_terrain`; nothing was written.
    """
    write_terrain(model, task.terrain, task.terrain_seed)
    model.actuator_gear[:, 0] = stock.actuator_gear[:, 0] * task.gear
    model.geom_friction[:] = stock.geom_friction * task.friction
    model.dof_damping[:] = stock.dof_damping * task.damping
    model.opt.gravity[:] = (_gravity(float(np.linalg.norm(stock.opt.gravity)), *task.tilt) if any(task.tilt)
                            else stock.opt.gravity)


def _gravity(strength: float, along_x: float, along_y: float) -> tuple[float, float, float]:
    """Gravity [m/s²] of a ground that rises along x and y by these angles [rad], which is level to the robot."""
    x, y = -np.sin(along_x), -np.sin(along_y)
    return strength * x, strength * y, -strength * float(np.sqrt(1 - x * x - y * y))
