"""The robot's standard topics to a `Motion`, what is told once per second to figures, pictures to messages."""

from __future__ import annotations

import array
import math

import numpy as np
from ant_rl_interfaces.msg import EpisodeSummary, NodeStats, NodeTiming
from builtin_interfaces.msg import Time
from nav_msgs.msg import Odometry
from sensor_msgs.msg import Image, JointState

from viewer_node.mirror import Motion

_STAGES = ("round_trip", "inference")  # whose latencies are shown


def seconds(stamp: Time) -> float:
    """A header's stamp [s]."""
    return stamp.sec + 1e-9 * stamp.nanosec


def nanoseconds(stamp: Time) -> int:
    """A header's stamp [ns], exactly."""
    return stamp.sec * 1_000_000_000 + stamp.nanosec


def decode_motion(odometry: Odometry, joints: JointState) -> Motion:
    """What two messages of the same moment say; ValueError where a joint lacks one of its three figures."""
    arrays = [np.array(values, np.float64) for values in (joints.position, joints.velocity, joints.effort)]
    for name, values in zip(("position", "velocity", "effort"), arrays):
        if len(values) != len(joints.name):
            raise ValueError(f"{name} of joint_states must have {len(joints.name)} values, found {len(values)}")
    pose, twist = odometry.pose.pose, odometry.twist.twist
    return Motion(seconds(odometry.header.stamp), _vector(pose.position, "xyz"), _vector(pose.orientation, "xyzw"),
                  _vector(twist.linear, "xyz"), _vector(twist.angular, "xyz"), tuple(joints.name), *arrays)


def decode_timing(message: NodeTiming) -> dict[str, float]:
    """Round trip and inference [ms] and the present episode's return, by the path of the series they belong to."""
    figures = {}
    for name, p50, p99 in zip(message.stage_names, message.stage_p50, message.stage_p99):
        if name in _STAGES:
            figures |= {f"latency/{name}_p50": 1e3 * p50, f"latency/{name}_p99": 1e3 * p99}
    values = dict(zip(message.value_names, message.value_values))
    return _known(figures | {"return/so_far": values.get("episode_return", math.nan)})


def decode_stats(message: NodeStats) -> dict[str, float]:
    """Processor [% of a core] and memory [MiB] of a node."""
    node = message.node.rpartition("/")[2]
    return _known({f"cpu/{node}": message.cpu_percent, f"memory/{node}": message.rss_mib})


def decode_episode(message: EpisodeSummary) -> dict[str, float]:
    """Return of a finished episode."""
    return {"return/episode": message.episode_return}


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


def _known(figures: dict[str, float]) -> dict[str, float]:
    return {path: value for path, value in figures.items() if math.isfinite(value)}
