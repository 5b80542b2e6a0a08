"""The recorder: writes the stack's topics to a bag, byte for byte as they come."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ament_index_python.packages import get_package_share_directory
from rclpy.qos import ReliabilityPolicy

from ant_rl_ros import qos
from ant_rl_ros.node import StackNode
from ant_rl_ros.run import run
from ant_rl_ros.stats_topics import StatsTopics
from recorder_node.codec import STATS, TOPICS, encode_qos, type_name
from recorder_node.definitions import read_definition
from recorder_node.recording import Recorded, Recording
from recorder_node.settings import RecorderSettings
from recorder_node.storage import BagError, Topic

_DEPTH = 5000  # [messages] that may wait in the middleware, of each topic: seconds at full speed
# Messages are left to gather for so long and then taken at once [s]: to be woken for each would cost the loop that is
# recorded its processor.
_GATHER_PERIOD = 0.02
_TICK_TOPICS = ("observation", "joint_torques")


class RecorderNode(StackNode):
    """Subscribes to every topic of its namespace's stack, in their wire form."""

    settings: RecorderSettings
    per_host = True

    def __init__(self) -> None:
        super().__init__("recorder", RecorderSettings)
        self._recording: Recording | None = None

    def configure(self) -> None:
        """ValueError where the bag can't be made, OSError where the definition of a message is not installed."""
        self._definitions = {msg_type: read_definition(type_name(msg_type), get_package_share_directory)
                             for msg_type in (*TOPICS.values(), STATS)}
        path = Path(self.settings.record or time.strftime("rosbag2_%Y_%m_%d-%H_%M_%S"))
        try:
            self._recording = Recording(path, self.settings.record_format, os.environ.get("ROS_DISTRO", ""),
                                        self._describe, self.counters)
        except BagError as error:
            raise ValueError(str(error)) from error
        self._topics = self._recording.topics
        for topic, msg_type in TOPICS.items():
            self._subscribe(topic, msg_type)
        self._stats = StatsTopics(self, lambda topic: self._subscribe(topic, STATS))
        self.get_logger().info(f"recording to {path}")

    def cleanup(self) -> None:
        """Leave the graph and finish the bag."""
        for topic in self._topics:
            self.loop.unsubscribe(topic.inbox)
        self._close()

    def values(self) -> Mapping[str, float]:
        """Of the bag, and how many messages of one topic waited at most since the last report."""
        recording = self._recording
        if recording is None:
            return {}
        return {"messages": recording.messages, "bytes": recording.bytes, "queued": recording.most_queued(),
                "queue_size": _DEPTH}

    def work(self) -> None:
        """Take what has gathered and write it; look for new topics now and then."""
        recording = self._recording
        assert recording is not None  # of a configured node
        if self.loop.wait(0.1):
            time.sleep(_GATHER_PERIOD)
        now = time.monotonic()
        try:
            with self.stages.stage("write"):
                self._take(recording)
                recording.flush_if_due(now)
        except BagError as error:
            self.get_logger().error(f"recording stopped: {error}")
            self._close()
            self.finish(1)
            return
        self._stats.look_if_due(now)

    def finished(self) -> None:
        """Write the last messages and finish the bag."""
        if self._recording is None:
            return
        try:
            self._take(self._recording)
        except BagError as error:
            self.get_logger().error(f"recording stopped: {error}")
            self.exit_code = 1
        self._close()

    def _subscribe(self, topic: str, msg_type: type) -> deque[Any]:
        # The topics of a tick as their receivers listen to them: that fits both modes, and acknowledgements would slow
        # the loop down that is recorded. A publisher keeps its last 5 messages only, so there is little to ask again.
        profile = qos.asking(topic) if topic in _TICK_TOPICS else qos.profile(topic)
        profile.depth = _DEPTH
        inbox = self.loop.subscribe(msg_type, topic, profile, qos.overriding(), raw=True, info=True)
        self._topics.append(Recorded(self.resolve_topic_name(topic), msg_type, inbox, topic in _TICK_TOPICS))
        return inbox

    def _take(self, recording: Recording) -> None:
        self.loop.drain()
        self.ticks += recording.take()
        if by := recording.clock_set:
            self.get_logger().warning(f"the system's clock was set {'back' if by < 0 else 'forward'} by "
                                      f"{abs(by) / 1e9:.1f} s: the times in the bag go on as if it had not been")

    def _describe(self, topic: Recorded) -> Topic:
        """A topic as the bag has it, with what its publishers offer now that they are known."""
        offered = []
        for publisher in self.get_publishers_info_by_topic(topic.name):
            found = publisher.qos_profile
            mode = "lockstep" if found.reliability == ReliabilityPolicy.RELIABLE else "realtime"
            offered.append(encode_qos(found, "keep_last", qos.profile(topic.name, mode).depth))
        distinct = [profile for index, profile in enumerate(offered) if profile not in offered[:index]]
        return Topic(topic.name, self._definitions[topic.msg_type], tuple(distinct))

    def _close(self) -> None:
        recording, self._recording = self._recording, None
        if recording is None:
            return
        try:
            contents = recording.close()
        except BagError as error:
            self.get_logger().error(f"{error}; when it can be written, `./run repair {recording.path}` finishes it")
            self.exit_code = 1
            return
        self.get_logger().info(f"{sum(contents.counts.values())} messages of {len(contents.topics)} topics in "
                               f"{recording.path}")


def main(args: Sequence[str] | None = None) -> int:
    """Entry point of the executable `recorder_node`."""
    return run(RecorderNode, args)
