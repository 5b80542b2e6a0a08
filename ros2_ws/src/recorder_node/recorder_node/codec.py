"""The topics of the stack by the type of their messages, and QoS as bags have it."""

from __future__ import annotations

from typing import Any

from ant_rl_interfaces.msg import (
    EpisodeSummary,
    JointTorques,
    NodeStats,
    NodeTiming,
    Observation,
    PolicyUpdate,
    RobotTasks,
    Session,
    TrainingProgress,
)
from diagnostic_msgs.msg import DiagnosticArray
from nav_msgs.msg import Odometry
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Imu, JointState

# The environment begins once it sees the subscription of `episode`, so it comes last.
TOPICS = {
    "session": Session, "task": RobotTasks, "observation": Observation, "joint_torques": JointTorques,
    "policy": PolicyUpdate, "training": TrainingProgress, "timing": NodeTiming, "/diagnostics": DiagnosticArray,
    "joint_states": JointState, "imu": Imu, "odom": Odometry, "clock": Clock, "episode": EpisodeSummary,
}
STATS = NodeStats  # of stats/<node>, which come and go with their nodes


def type_name(msg_type: type) -> str:
    """Such as std_msgs/msg/Header."""
    package, folder, *_ = msg_type.__module__.split(".")
    return f"{package}/{folder}/{msg_type.__name__}"


def encode_qos(profile: Any, history: str, depth: int) -> dict[str, Any]:
    """A profile as metadata of version 9 has it.

    Args:
        profile: QoSProfile as discovered.
        history, depth: which are not told to others, so that no profile that was discovered has them.
    """
    def time(duration: Any) -> dict[str, int]:
        seconds, nanoseconds = divmod(duration.nanoseconds, 1_000_000_000)
        return {"sec": seconds, "nsec": nanoseconds}
    return {
        "history": history, "depth": depth, "reliability": profile.reliability.name.lower(),
        "durability": profile.durability.name.lower(), "deadline": time(profile.deadline),
        "lifespan": time(profile.lifespan), "liveliness": profile.liveliness.name.lower(),
        "liveliness_lease_duration": time(profile.liveliness_lease_duration),
        "avoid_ros_namespace_conventions": profile.avoid_ros_namespace_conventions}
