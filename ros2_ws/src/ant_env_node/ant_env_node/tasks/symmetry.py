"""Symmetries of the Ant: what is seen and done when the world is turned, the legs are relabeled, or left is right.

The torso is a sphere and the four legs are alike, a quarter turn apart, so a policy that walks along x walks in every
direction: it is shown the world turned, and its legs under other names. All of it is numpy, of Ant-v5's observation of
105 numbers: height, orientation (quaternion w, x, y, z), 8 joint angles; velocity in the world, angular velocity in the
torso's own frame, 8 joint velocities; of each of 13 bodies torque and force of its contacts, in the world.

Quaternions come with w >= 0, which is how the robot starts; MuJoCo lets w pass 0 when it has turned by half a turn.
"""

from __future__ import annotations

import numpy as np

from ant_rl_core.spec import ACTUATOR_NAMES, ANT, JOINT_NAMES

NUM_LEGS = 4
ORIENTATION = slice(1, 5)
JOINTS = slice(5, 13)
VELOCITY = slice(13, 16)
ANGULAR_VELOCITY = slice(16, 19)
JOINT_VELOCITIES = slice(19, 27)
CONTACTS = slice(27, 105)
_BODIES_PER_LEG = 3  # after the torso, legs 0 to 3
# Positive angles of the ankles of legs 1 and 2 raise what those of legs 0 and 3 lower.
_ANKLE_SIGN = np.array([1.0, -1.0, -1.0, 1.0], np.float32)


def heading_of(observation: np.ndarray) -> np.ndarray:
    """Where the torso's own x axis points in the world's plane, from x towards y, [n] [rad]."""
    w, x, y, z = np.moveaxis(observation[:, ORIENTATION], 1, 0)
    return np.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))


def turn_world(observation: np.ndarray, angle: float | np.ndarray) -> np.ndarray:
    """What is seen after the robot and all that moves was turned about the vertical.

    Exact but for contacts at angles that are no quarter turns: each of their components is cut at ±1 in Ant-v5.

    Args:
        observation: float32 [n, 105].
        angle: [rad], from x towards y, one or [n].

    Returns:
        float32 [n, 105].
    """
    turned = _checked(observation).copy()
    angle = np.broadcast_to(np.asarray(angle, np.float64), len(turned))
    half = np.stack([np.cos(angle / 2), np.zeros_like(angle), np.zeros_like(angle), np.sin(angle / 2)], axis=1)
    turned[:, ORIENTATION] = _upright(_product(half, turned[:, ORIENTATION]))
    turned[:, VELOCITY] = _about_z(turned[:, VELOCITY], angle)
    vectors = turned[:, CONTACTS].reshape(len(turned), -1, 3)
    turned[:, CONTACTS] = _about_z(vectors, angle[:, None]).reshape(len(turned), -1)
    return turned


def relabel(observation: np.ndarray, quarters: int | np.ndarray) -> np.ndarray:
    """What is seen with leg i + quarters called leg i: the torso seems to have turned by so many quarters, no leg has.

    Args:
        observation: float32 [n, 105].
        quarters: quarter turns of the torso's frame, one or [n].

    Returns:
        float32 [n, 105]; the same after four quarters.
    """
    told = _checked(observation).copy()
    quarters = np.broadcast_to(np.asarray(quarters), len(told)) % NUM_LEGS
    angle = quarters * (np.pi / 2)
    half = np.stack([np.cos(angle / 2), np.zeros(len(told)), np.zeros(len(told)), np.sin(angle / 2)], axis=1)
    told[:, ORIENTATION] = _upright(_product(told[:, ORIENTATION], half))
    told[:, ANGULAR_VELOCITY] = _about_z(told[:, ANGULAR_VELOCITY], -angle)
    for part in (JOINTS, JOINT_VELOCITIES):
        told[:, part] = _numbers(_rolled(_by_leg(told[:, part], JOINT_NAMES), quarters), JOINT_NAMES)
    legs = told[:, CONTACTS.start + 6:].reshape(len(told), NUM_LEGS, 6 * _BODIES_PER_LEG)
    told[:, CONTACTS.start + 6:] = _rolled(legs, quarters).reshape(len(told), -1)
    return told


def relabel_action(action: np.ndarray, quarters: int | np.ndarray) -> np.ndarray:
    """An action, float32 [n, 8], under the legs' other names; with -quarters, one for them under their own."""
    quarters = np.broadcast_to(np.asarray(quarters), len(action)) % NUM_LEGS
    return _numbers(_rolled(_by_leg(action, ACTUATOR_NAMES), quarters), ACTUATOR_NAMES)


def mirror(observation: np.ndarray) -> np.ndarray:
    """What is seen with left and right exchanged (y and -y): legs 0 and 3 change places, 1 and 2 do.

    Args:
        observation: float32 [n, 105].

    Returns:
        float32 [n, 105]; the same after two.
    """
    seen = _checked(observation).copy()
    vector, axial = np.array([1, -1, 1], np.float32), np.array([-1, 1, -1], np.float32)
    seen[:, ORIENTATION] *= np.array([1, -1, 1, -1], np.float32)
    seen[:, VELOCITY] *= vector
    seen[:, ANGULAR_VELOCITY] *= axial
    for part in (JOINTS, JOINT_VELOCITIES):
        seen[:, part] = _numbers(_exchanged(_by_leg(seen[:, part], JOINT_NAMES)), JOINT_NAMES)
    contacts = seen[:, CONTACTS].reshape(len(seen), -1, 6) * np.concatenate([axial, vector])
    legs = contacts[:, 1:].reshape(len(seen), NUM_LEGS, -1)[:, ::-1]
    seen[:, CONTACTS] = np.concatenate([contacts[:, 0], legs.reshape(len(seen), -1)], axis=1)
    return seen


def mirror_action(action: np.ndarray) -> np.ndarray:
    """An action, float32 [n, 8], with left and right exchanged; the same after two."""
    return _numbers(_exchanged(_by_leg(action, ACTUATOR_NAMES)), ACTUATOR_NAMES)


def names_for(lost: np.ndarray, spare: int, quarters: np.ndarray,
              mirrored: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The nearest names under which a lost leg is called `spare`, for policies that can do without that one.

    Legs have the names of `relabel`, and after that, where left and right are exchanged, those of `mirror`.

    Args:
        lost: leg that is lost, -1 where none is, int64 [n].
        spare: what it is to be called.
        quarters: by which legs are renamed now, int64 [n].
        mirrored: whether left and right are exchanged now, bool [n].

    Returns:
        By how many quarters more to rename them, -1, 0 or 1, and whether left and right are exchanged then, each [n];
        0 and as it is where no leg is lost or the lost one is called so already.
    """
    other = NUM_LEGS - 1 - spare  # what `mirror` calls the spare one
    fits = (lost < 0) | ((lost - quarters) % NUM_LEGS == np.where(mirrored, other, spare))
    plain, swapped = ((lost - quarters - called + 1) % NUM_LEGS - 1 for called in (spare, other))
    nearer = np.abs(swapped) < np.abs(plain)  # they are a quarter apart
    return np.where(fits, 0, np.where(nearer, swapped, plain)), np.where(fits, mirrored, nearer)


def _checked(observation: np.ndarray) -> np.ndarray:
    return ANT.check_observation(observation)


def _by_leg(numbers: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
    """[n, 8] of joints in the order of `names`, as [n, leg, (hip, ankle)] with ankles that all bend the same way."""
    places = [[names.index(f"{joint}_{leg + 1}") for joint in ("hip", "ankle")] for leg in range(NUM_LEGS)]
    legs = numbers[:, places]
    legs[:, :, 1] *= _ANKLE_SIGN
    return legs


def _numbers(legs: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
    """What `_by_leg` was made of."""
    numbers = np.empty((len(legs), len(names)), legs.dtype)
    for leg in range(NUM_LEGS):
        numbers[:, names.index(f"hip_{leg + 1}")] = legs[:, leg, 0]
        numbers[:, names.index(f"ankle_{leg + 1}")] = legs[:, leg, 1] * _ANKLE_SIGN[leg]
    return numbers


def _rolled(legs: np.ndarray, quarters: np.ndarray) -> np.ndarray:
    """[n, 4, ...] in which leg i is what leg i + quarters was."""
    return legs[np.arange(len(legs))[:, None], (np.arange(NUM_LEGS) + quarters[:, None]) % NUM_LEGS]


def _exchanged(legs: np.ndarray) -> np.ndarray:
    """[n, 4, (hip, ankle)] of the legs on the other side, whose hips turn the other way."""
    return legs[:, ::-1] * np.array([-1, 1], legs.dtype)


def _about_z(vectors: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """Vectors [..., 3] turned about z."""
    cos, sin = _exact(np.cos(angle)), _exact(np.sin(angle))
    x, y, z = np.moveaxis(vectors, -1, 0)
    return np.stack([cos * x - sin * y, sin * x + cos * y, z], axis=-1)


def _exact(values: np.ndarray) -> np.ndarray:
    """Sines and cosines without what rounding leaves of the zeros at quarter turns."""
    return np.where(np.abs(values) < 1e-15, 0.0, values)


def _product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Product of quaternions [n, 4]: the rotation b, then a."""
    aw, ax, ay, az = a.T
    bw, bx, by, bz = b.T
    return np.stack([aw * bw - ax * bx - ay * by - az * bz, aw * bx + ax * bw + ay * bz - az * by,
                     aw * by - ax * bz + ay * bw + az * bx, aw * bz + ax * by - ay * bx + az * bw], axis=1)


def _upright(quaternion: np.ndarray) -> np.ndarray:
    """The same rotation with w >= 0."""
    return np.where(quaternion[:, :1] < 0, -quaternion, quaternion)
