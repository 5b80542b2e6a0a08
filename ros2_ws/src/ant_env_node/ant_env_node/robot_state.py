"""State of one simulated robot in SI units, ROS axes and ROS's order of quaternions."""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np


@dataclass(frozen=True)
class RobotState:
    """State of a robot with a free-floating base; float64 arrays.

    Attributes:
        position: of the base in the world [m], [3].
        orientation: of the base in the world, unit quaternion x, y, z, w.
        linear_velocity, angular_velocity: of the base in its own frame [m/s], [rad/s], [3] each.
        acceleration: what an accelerometer at the base's origin reads: without gravity's share in free fall it is
            zero, at rest it is 9.81 upward; in the base's frame [m/s^2], [3].
        joint_position, joint_velocity, joint_effort: [rad], [rad/s], [N*m], [joints] each.
    """

    position: np.ndarray
    orientation: np.ndarray
    linear_velocity: np.ndarray
    angular_velocity: np.ndarray
    acceleration: np.ndarray
    joint_position: np.ndarray
    joint_velocity: np.ndarray
    joint_effort: np.ndarray


class StateReader:
    """Reads the state of robots of one model, without changing their simulation.

    Args:
        model: MuJoCo model whose first joint is the free joint of the base.

    Attributes:
        joint_names: names of the other joints, in the model's order.

    Raises:
        ValueError: if the first joint is not free.
    """

    def __init__(self, model: mujoco.MjModel) -> None:
        if model.njnt < 1 or model.jnt_type[0] != mujoco.mjtJoint.mjJNT_FREE:
            raise ValueError("the model's first joint must be the free joint of the base")
        self._model = model
        self._scratch = mujoco.MjData(model)
        self._base = int(model.jnt_bodyid[0])
        self._base_name = model.body(self._base).name
        self.joint_names = [model.joint(i).name for i in range(1, model.njnt)]

    @property
    def base_name(self) -> str:
        """Name of the body that the free joint moves."""
        return self._base_name

    def read(self, data: mujoco.MjData, model: mujoco.MjModel | None = None) -> RobotState:
        """State of the simulation `data`, which must not step meanwhile.

        `model` is that of the simulation, where it has other motors or masses; parts and joints are the same.
        """
        # The integrator leaves accelerations of its last intermediate state behind: those of this very state are
        # computed aside. Free joint: qvel holds the linear velocity in the world, the angular one in the body.
        scratch, model = self._scratch, model or self._model
        scratch.qpos[:], scratch.qvel[:], scratch.ctrl[:] = data.qpos, data.qvel, data.ctrl
        mujoco.mj_forward(model, scratch)
        mujoco.mj_rnePostConstraint(model, scratch)
        acceleration = np.zeros(6)
        mujoco.mj_objectAcceleration(model, scratch, mujoco.mjtObj.mjOBJ_XBODY, self._base, acceleration, 1)
        rotation = scratch.xmat[self._base].reshape(3, 3)
        w, x, y, z = scratch.xquat[self._base]
        return RobotState(
            position=scratch.qpos[:3].copy(), orientation=np.array([x, y, z, w]),
            linear_velocity=rotation.T @ scratch.qvel[:3], angular_velocity=scratch.qvel[3:6].copy(),
            acceleration=acceleration[3:], joint_position=scratch.qpos[7:].copy(),
            joint_velocity=scratch.qvel[6:].copy(), joint_effort=scratch.qfrc_actuator[6:].copy())
