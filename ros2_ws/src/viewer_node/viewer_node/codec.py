"""The robot's standard topics to a `Motion`, its task to what is shown of it, pictures to messages."""

from __future__ import annotations

import array
import json
from typing import NamedTuple

import numpy as np
from ant_rl_interfaces.msg import RobotTasks
from builtin_interfaces.msg import Time
from nav_msgs.msg import Odometry
from sensor_msgs.msg import Image, JointState

from ant_env_node.tasks.moving import seen
from ant_env_node.tasks.task import Task
from ant_rl_ros.messages import decode_tasks
from ant_rl_ros.stamps import seconds
from viewer_node.mirror import Motion


def decode_motion(odometry: Odometry, joints: JointState) -> Motion:
    """What two messages of the same moment say; ValueError where a joint lacks one of its three figures."""
    arrays = [np.array(values, np.float64) for values in (joints.position, joints.velocity, joints.effort)]
    for name, values in zip(("position", "velocity", "effort"), arrays, strict=True):
        if len(values) != len(joints.name):
            raise ValueError(f"{name} of joint_states must have {len(joints.name)} values, found {len(values)}")
    pose, twist = odometry.pose.pose, odometry.twist.twist
    return Motion(seconds(odometry.header.stamp), _vector(pose.position, "xyz"), _vector(pose.orientation, "xyzw"),
                  _vector(twist.linear, "xyz"), _vector(twist.angular, "xyz"), tuple(joints.name), *arrays)


class ShownTask(NamedTuple):
    """The task of the first robot.

    Attributes:
        name: what it is called.
        gear: strength of each motor as a multiple of the stock one; 0 is dead, negative the wrong way round.
        ball: where a ball is, seen from the torso along the world's axes [m]; None where there is none.
    """

    name: str
    gear: tuple[float, ...]
    ball: tuple[float, float] | None


def decode_task(message: RobotTasks) -> ShownTask:
    """The first robot's task; ValueError where the message is not whole, or of a task that is not known here."""
    tasks = decode_tasks(message)
    task, vector = Task.from_dict(json.loads(tasks.definitions[0])), tasks.vectors[0]
    rolling, offset, _ = seen.ball_of(vector) if task.hit_radius else (False, vector, vector)
    return ShownTask(tasks.names[0], task.gear, (float(offset[0]), float(offset[1])) if rolling else None)


def encode_image(pixels: np.ndarray, frame: str, stamp: Time) -> Image:
    """A picture, uint8 [height, width, 3] in the order red, green, blue."""
    message = Image()
    message.header.stamp, message.header.frame_id = stamp, frame
    message.height, message.width = pixels.shape[:2]
    message.encoding, message.is_bigendian, message.step = "rgb8", 0, 3 * message.width
    message.data = array.array("B", pixels.tobytes())
    return message


def _vector(message: object, fields: str) -> np.ndarray:
    return np.array([getattr(message, name) for name in fields])
