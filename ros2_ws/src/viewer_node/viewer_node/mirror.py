"""A robot as its topics tell of it, put back into a simulation: poses of all bodies, contacts and their forces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import mujoco
import numpy as np

from viewer_node.paint import paint


@dataclass(frozen=True)
class Motion:
    """What `odom` and `joint_states` of one moment say; float64 arrays, ROS's conventions.

    Attributes:
        time: when it was so [s].
        position, orientation: of the base in the world [m], [3]; unit quaternion x, y, z, w.
        linear_velocity, angular_velocity: of the base in its own frame [m/s], [rad/s], [3] each.
        joint_names: of the arrays below, in any order.
        joint_position, joint_velocity, joint_effort: [rad], [rad/s], [N*m], [joints] each.
    """

    time: float
    position: np.ndarray
    orientation: np.ndarray
    linear_velocity: np.ndarray
    angular_velocity: np.ndarray
    joint_names: Sequence[str]
    joint_position: np.ndarray
    joint_velocity: np.ndarray
    joint_effort: np.ndarray


@dataclass(frozen=True)
class Contact:
    """Where the robot touches something.

    Attributes:
        geoms: ids of the two geometries.
        body: id of the robot's body; of the second one where it touches itself.
        position: in the world [m], float64 [3].
        distance: between the surfaces, negative where they overlap [m].
        force: that acts on `body`, in the world [N], float64 [3].
    """

    geoms: tuple[int, int]
    body: int
    position: np.ndarray
    distance: float
    force: np.ndarray


def endless_floor(model: mujoco.MjModel) -> None:
    """Have the floor drawn wherever the robot is: the model's ends after 40 m, though not for contacts.

    It no longer reflects, as a reflection costs a third of the time of a picture.
    """
    for floor in np.flatnonzero(model.geom_type == mujoco.mjtGeom.mjGEOM_PLANE):
        extent, material = 2 * model.geom_size[floor, :2], model.geom_matid[floor]
        if extent.all():
            # On a plane without end the texture repeats so often per meter, on another so often in all.
            model.mat_texrepeat[material] /= extent
            model.mat_reflectance[material] = 0.0
            model.geom_size[floor, :2] = 0.0


class Mirror:
    """Holds the newest state of a robot that is simulated elsewhere.

    Args:
        model: the robot's model; its first joint is the free joint of the base, each actuator drives another one.

    Attributes:
        model, data: of this simulation, which never steps; `data` is brought up to date by `show`.
        base: body that the free joint moves.
        ball: where a ball is in the world, float64 [2] [m]; None where there is none.
        feet: ids of the bodies that end the legs, by the name of the joint that moves them, in the model's order.
    """

    def __init__(self, model: mujoco.MjModel) -> None:
        self.model = model
        self.data = mujoco.MjData(model)
        self.base = int(model.jnt_bodyid[0])
        self.ball: np.ndarray | None = None
        inner = set(model.body_parentid.tolist())
        self.feet: Mapping[str, int] = {
            model.joint(joint).name: int(body) for joint, body in enumerate(model.jnt_bodyid) if body not in inner}

    def show(self, motion: Motion) -> None:
        """Take over a state.

        Raises:
            ValueError: the joints are not those of the model.
        """
        model, data = self.model, self.data
        expected = {model.joint(joint).name: joint for joint in range(1, model.njnt)}
        if set(motion.joint_names) != set(expected):
            raise ValueError(f"expected the joints {', '.join(expected)}, found {', '.join(motion.joint_names)}")
        x, y, z, w = motion.orientation
        data.qpos[:3], data.qpos[3:7] = motion.position, (w, x, y, z)
        rotation = np.zeros(9)
        mujoco.mju_quat2Mat(rotation, data.qpos[3:7])
        # A free joint has its linear velocity along the world's axes, its angular one along the body's.
        data.qvel[:3] = rotation.reshape(3, 3) @ motion.linear_velocity
        data.qvel[3:6] = motion.angular_velocity
        effort = np.zeros(model.njnt)
        for name, position, velocity, torque in zip(motion.joint_names, motion.joint_position, motion.joint_velocity,
                                                    motion.joint_effort, strict=True):
            joint = expected[name]
            data.qpos[model.jnt_qposadr[joint]] = position
            data.qvel[model.jnt_dofadr[joint]] = velocity
            effort[joint] = torque
        data.ctrl[:] = effort[model.actuator_trnid[:, 0]] / model.actuator_gear[:, 0]
        mujoco.mj_forward(model, data)

    def put(self, position: np.ndarray, velocity: np.ndarray, control: np.ndarray) -> None:
        """Take over a state in MuJoCo's own conventions: [nq], [nv], and the actuators' [nu]."""
        self.data.qpos[:], self.data.qvel[:], self.data.ctrl[:] = position, velocity, control
        mujoco.mj_forward(self.model, self.data)

    def show_gear(self, gear: Sequence[float]) -> None:
        """Take over how strong each motor is, as a multiple of the stock one; only colors tell, see `paint`."""
        paint(self.model, gear)

    def show_ball(self, offset: tuple[float, float] | None) -> None:
        """Take over where a ball is, as seen from the torso [m]; None: there is none."""
        self.ball = None if offset is None else self.data.qpos[:2] + offset

    def contacts(self) -> list[Contact]:
        """Where the robot touches the ground or itself, and with which forces."""
        found = []
        wrench = np.zeros(6)
        for index in range(self.data.ncon):
            contact = self.data.contact[index]
            mujoco.mj_contactForce(self.model, self.data, index, wrench)
            force = contact.frame.reshape(3, 3).T @ wrench[:3]  # on the second geometry
            bodies = self.model.geom_bodyid[contact.geom]
            if bodies[1] == 0:  # the world
                bodies, force = bodies[::-1], -force
            found.append(Contact(tuple(contact.geom.tolist()), int(bodies[1]), contact.pos.copy(), float(contact.dist),
                                 force))
        return found
