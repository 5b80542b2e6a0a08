"""Uneven ground: a field of heights that each row's model has of its own."""

from __future__ import annotations

import functools

import mujoco
import numpy as np
from gymnasium.envs.mujoco.mujoco_env import expand_model_path

from ant_env_node.tasks.task import HIGHEST_BUMP

_NAME = "terrain"
_POINTS = 400  # along each side
_HALF = 100.0  # [m] from the middle to a side, so there is a point every half meter
_SUNK = 0.1  # [m] below the floor where it is flat: there the floor alone is touched
_TOP = HIGHEST_BUMP + _SUNK  # [m] of the field, above its lowest points
_START, _FULL = 1.5, 3.0  # [m] from the middle: flat up to here, and as high as anywhere from there on


def model_with_terrain(xml_file: str) -> mujoco.MjModel:
    """The robot's model with a field of heights that nothing touches until `write_terrain` says so."""
    spec = mujoco.MjSpec.from_file(expand_model_path(xml_file))
    spec.add_hfield(name=_NAME, nrow=_POINTS, ncol=_POINTS, size=[_HALF, _HALF, _TOP, 0.1],
                    userdata=np.zeros(_POINTS * _POINTS))
    spec.worldbody.add_geom(name=_NAME, type=mujoco.mjtGeom.mjGEOM_HFIELD, hfieldname=_NAME, pos=[0, 0, -_SUNK],
                            contype=0, conaffinity=1, condim=3)  # what touches nothing is left out when compiled
    model = spec.compile()
    write_terrain(model, 0.0, 0)
    return model


def write_terrain(model: mujoco.MjModel, height: float, seed: int) -> None:
    """Put bumps of up to this height [m] on the ground, those of a seed; 0: the floor alone, as in Ant-v5.

    Raises:
        ValueError: bumps for a model that was not made by `model_with_terrain`.
    """
    if not model.nhfield:
        if height:
            raise ValueError("a task with terrain needs robots whose tasks have some, found robots on a flat floor: "
                             "choose tasks:=terrain")
        return
    model.geom_conaffinity[model.geom(_NAME).id] = height > 0
    if height:
        bumps = _bumps(seed)
        model.hfield_data[:] = np.where(bumps > 0, bumps * height + _SUNK, 0) / _TOP


@functools.lru_cache(maxsize=64)
def _bumps(seed: int) -> np.ndarray:
    """Heights from 0 to 1, float32 [points²], flat in the middle, where robots start, and at the sides."""
    rng = np.random.default_rng([seed, _POINTS])
    rough = rng.uniform(0, 1, (_POINTS + 2, _POINTS + 2))
    smooth = np.mean([rough[i:i + _POINTS, j:j + _POINTS] for i in range(3) for j in range(3)], axis=0)
    smooth = (smooth - smooth.min()) / np.ptp(smooth)
    place = np.linspace(-_HALF, _HALF, _POINTS)
    distance = np.hypot(place[:, None], place[None, :])
    smooth *= np.clip((distance - _START) / (_FULL - _START), 0, 1)
    smooth[[0, -1]], smooth[:, [0, -1]] = 0, 0
    found = smooth.astype(np.float32).ravel()
    found.flags.writeable = False
    return found
