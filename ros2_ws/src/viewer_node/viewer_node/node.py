"""The viewer: shows the first robot, beside the loop and without slowing it, and publishes pictures of it."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from nav_msgs.msg import Odometry
from rclpy.qos import ReliabilityPolicy
from sensor_msgs.msg import Image, JointState

from ant_env_node.vec_env import load_model
from ant_rl_core.viewers import check
from ant_rl_ros import qos
from ant_rl_ros.node import StackNode
from ant_rl_ros.run import run
from ant_rl_ros.stamps import by_stamp, seconds
from viewer_node import codec, priority
from viewer_node.mirror import Mirror
from viewer_node.offscreen import Camera
from viewer_node.pairs import Pairs
from viewer_node.settings import ViewerSettings
from viewer_node.told import Told
from viewer_node.view import View, open_view


class ViewerNode(StackNode):
    """Hears the robot's standard topics, and what the nodes tell once per second."""

    settings: ViewerSettings

    def __init__(self) -> None:
        super().__init__("viewer", ViewerSettings)
        self._view: View | None = None
        self._camera: Camera | None = None

    def configure(self) -> None:
        """ValueError or OSError where this machine can't show the robot in the way that was asked for."""
        settings = self.settings
        if settings.give_way:
            priority.give_way()
        check(settings.viewer, settings.viewer_path, os.environ)
        self._mirror = Mirror(load_model())
        if settings.render_hz:
            self._camera = Camera(self._mirror.model, settings.image_width, settings.image_height,
                                  self._mirror.base)
            self._images = self.publisher(Image, "image")
            self._frame = "/".join(filter(None, (self.get_namespace().strip("/"), "camera")))
        self._view = open_view(settings.viewer, settings.viewer_path, self._mirror)

    def activate(self) -> None:
        """Begin to listen; an inactive viewer costs the others nothing."""
        self._pairs = Pairs()
        self._joints = self._listen(JointState, "joint_states")
        self._odometry = self._listen(Odometry, "odom")
        self._told = Told(self)  # the environment begins once it sees these subscriptions, so they come last
        self._due = self._picture_due = time.monotonic()

    def deactivate(self) -> None:
        """Listen no more."""
        for inbox in (self._joints, self._odometry):
            self.loop.unsubscribe(inbox)
        self._told.close()

    def cleanup(self) -> None:
        """Close what is open."""
        if self._camera is not None:
            self.discard_publisher(self._images)
            self._camera.close()
            self._camera = None
        if self._view is not None:
            self._view.close()
            self._view = None

    def values(self) -> Mapping[str, float]:
        """How many states were shown, for `timing`."""
        return {"shown": self.ticks}

    def work(self) -> None:
        """Take what has gathered, show the newest state of it."""
        self.loop.wait(0.1)
        # To be woken for each message would cost the loop that is watched its processor.
        time.sleep(max(0.0, self._due - time.monotonic()))
        self.loop.drain()
        now = time.monotonic()
        self._due = now + 1.0 / max(self.settings.view_rate, self.settings.render_hz)
        self._told.show(self._view, self._mirror)
        if self._take_motion():
            self._show(now)
        self._told.look_if_due(now)
        if self._view is not None and not self._view.is_open:
            self.get_logger().info("the window was closed")
            self.finish()

    def _listen(self, msg_type: type, topic: str) -> deque[Any]:
        # Only the newest is shown, so that nothing need be asked for again: acknowledgements would cost the loop.
        profile = qos.profile(topic)
        profile.reliability = ReliabilityPolicy.BEST_EFFORT
        return self.loop.subscribe(msg_type, topic, profile, qos.overriding())

    def _take_motion(self) -> bool:
        """Take over the newest state; whether there is one."""
        found = self._pairs.newest(by_stamp(self._odometry), by_stamp(self._joints))
        self._odometry.clear()
        self._joints.clear()
        if found is None:
            return False
        self._stamp = found[0].header.stamp
        try:
            self._mirror.show(codec.decode_motion(*found))
        except ValueError as error:
            self.counters["invalid"] += 1
            self.say("invalid", f"dropped a state of the robot: {error}")
            return False
        return True

    def _show(self, now: float) -> None:
        self.ticks += 1
        if self._view is not None:
            with self.stages.stage("show"):
                self._view.robot(seconds(self._stamp))
        if self._camera is not None and now >= self._picture_due and self._images.get_subscription_count():
            self._picture_due = now + 1.0 / self.settings.render_hz
            with self.stages.stage("render"):
                pixels = self._camera.picture(self._mirror.data, self._mirror.ball)
            self.send(self._images, codec.encode_image(pixels, self._frame, self._stamp))


def main(args: Sequence[str] | None = None) -> int:
    """Entry point of the executable `viewer_node`."""
    return run(ViewerNode, args)
