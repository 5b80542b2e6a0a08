"""What the environment node publishes beside observations: how sessions began and the standard robot topics."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version

import numpy as np
from ant_rl_interfaces.msg import Session
from builtin_interfaces.msg import Time
from nav_msgs.msg import Odometry
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Imu, JointState

from ant_env_node.robot_state import RobotState
from ant_env_node.shaping import ShapingConfig
from ant_env_node.tasks.distribution import TaskDistribution
from ant_rl_core.spec import ANT

ODOM_FRAME = "odom"
_PHYSICS = ("mujoco", "gymnasium")
STATE_TOPICS = {"joint_states": JointState, "imu": Imu, "odom": Odometry, "clock": Clock}


def software() -> list[str]:
    """Name and version of the libraries that decide about the last bit of the physics."""
    return [f"{name} {version(name)}" for name in _PHYSICS]


def encode_session(session: int, mode: str, seeds: Sequence[int], reseeded: bool, shaping: ShapingConfig | None,
                   tasks: TaskDistribution | None, task_part: str, stamp: Time) -> Session:
    """How a session began; `seeds` are those of the robots' random streams, `reseeded` whether they began anew."""
    message = Session(session=session, robot=ANT.name, mode=mode, seed=list(seeds), reseeded=reseeded,
                      software=software())
    message.header.stamp = stamp
    if shaping is not None:
        constants = asdict(shaping)
        message.shaping_names, message.shaping_values = list(constants), list(constants.values())
    if tasks is not None:
        message.tasks, message.task_part = tasks.name, task_part
        message.task_distribution = json.dumps(tasks.as_dict(), ensure_ascii=False)
    return message


def encode_joint_state(state: RobotState, names: Sequence[str], stamp: Time) -> JointState:
    """Angles [rad], velocities [rad/s] and actuator torques [N*m] of the joints."""
    message = JointState()
    message.header.stamp = stamp
    message.name = list(names)
    message.position = state.joint_position.tolist()
    message.velocity = state.joint_velocity.tolist()
    message.effort = state.joint_effort.tolist()
    return message


def encode_imu(state: RobotState, base_frame: str, stamp: Time) -> Imu:
    """An exact inertial unit at the base's origin; the acceleration includes gravity, as sensors measure it."""
    message = Imu()
    message.header.stamp = stamp
    message.header.frame_id = base_frame
    _set(message.orientation, "xyzw", state.orientation)
    _set(message.angular_velocity, "xyz", state.angular_velocity)
    _set(message.linear_acceleration, "xyz", state.acceleration)
    return message


def encode_odometry(state: RobotState, base_frame: str, stamp: Time) -> Odometry:
    """Pose of the base in the odom frame; twist in the base's frame (REP 105)."""
    message = Odometry()
    message.header.stamp = stamp
    message.header.frame_id = ODOM_FRAME
    message.child_frame_id = base_frame
    _set(message.pose.pose.position, "xyz", state.position)
    _set(message.pose.pose.orientation, "xyzw", state.orientation)
    _set(message.twist.twist.linear, "xyz", state.linear_velocity)
    _set(message.twist.twist.angular, "xyz", state.angular_velocity)
    return message


def encode_clock(seconds: float) -> Clock:
    """Simulated time since the node's start [s]."""
    nanoseconds = round(seconds * 1e9)
    return Clock(clock=Time(sec=nanoseconds // 10**9, nanosec=nanoseconds % 10**9))


def _set(target: object, fields: str, values: np.ndarray) -> None:
    for name, value in zip(fields, values, strict=True):
        setattr(target, name, float(value))
