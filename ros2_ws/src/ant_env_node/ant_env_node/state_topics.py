"""The standard topics of the first robot; each costs nothing while nobody listens."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import mujoco

from ant_env_node import codec
from ant_env_node.robot_state import StateReader

if TYPE_CHECKING:
    from ant_rl_ros.node import StackNode

_LOOK_PERIOD = 0.5  # [s] between two looks at who listens


class StateTopics:
    """Publishes joint_states, imu, odom and clock of one robot.

    Args:
        node: its namespace prefixes the frames, so that several robots can share one tree of frames.
        model: the robot's model.
        rate: at most so many of each per second [Hz]; four messages per tick would take a third of lock-step's speed.
    """

    def __init__(self, node: StackNode, model: mujoco.MjModel, rate: float) -> None:
        self._node = node
        self._period = 1.0 / rate
        self._reader = StateReader(model)
        self._publishers = {topic: node.publisher(kind, topic) for topic, kind in codec.STATE_TOPICS.items()}
        self._base_frame = "/".join(filter(None, (node.get_namespace().strip("/"), self._reader.base_name)))
        self._listened: set[str] = set()
        self._looked = self._published = 0.0

    def publish(self, data: mujoco.MjData, model: mujoco.MjModel, seconds: float, stamp: Any) -> None:
        """Publish the robot's state to those who listen; `seconds` is the simulated time since the start [s]."""
        now = time.monotonic()
        if now - self._looked > _LOOK_PERIOD:
            self._looked = now
            self._listened = {topic for topic, publisher in self._publishers.items()
                              if publisher.get_subscription_count()}
        if not self._listened or now - self._published < self._period:
            return
        self._published = now
        if "clock" in self._listened:
            self._send("clock", codec.encode_clock(seconds))
        if self._listened == {"clock"}:
            return
        state = self._reader.read(data, model)
        if "joint_states" in self._listened:
            self._send("joint_states", codec.encode_joint_state(state, self._reader.joint_names, stamp))
        if "imu" in self._listened:
            self._send("imu", codec.encode_imu(state, self._base_frame, stamp))
        if "odom" in self._listened:
            self._send("odom", codec.encode_odometry(state, self._base_frame, stamp))

    def _send(self, topic: str, message: Any) -> None:
        self._node.send(self._publishers[topic], message)

    def close(self) -> None:
        """Destroy the publishers."""
        for publisher in self._publishers.values():
            self._node.discard_publisher(publisher)
