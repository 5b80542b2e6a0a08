"""The recorder: writes the stack's topics to a bag, byte for byte as they come."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ament_index_python.packages import get_package_share_directory
from rclpy.qos import ReliabilityPolicy

from ant_rl_ros import qos
from ant_rl_ros.node import StackNode
from ant_rl_ros.run import run
from recorder_node.bag import BagWriter
from recorder_node.codec import STATS, TOPICS, encode_qos, type_name
from recorder_node.definitions import read_definition
from recorder_node.settings import RecorderSettings
from recorder_node.storage import BagError, Message, Topic

_DEPTH = 5000  # [messages] that may wait in the middleware, of each topic: seconds at full speed
# Messages are left to gather for so long and then taken at once [s]: to be woken for each would cost the loop that is
# recorded its processor.
_GATHER_PERIOD = 0.02
_FLUSH_PERIOD = 1.0  # [s]
_LOOK_PERIOD = 1.0  # [s] between two looks for new topics
_TICK_TOPICS = ("observation", "joint_torques")


@dataclass
class _Recorded:
    """One topic: what comes, where it goes, and the newest sequence number of each publisher."""

    name: str
    msg_type: type
    inbox: deque[Any]
    has_one_publisher: bool
    topic_id: int | None = None
    newest: dict[bytes, int] = field(default_factory=dict)


class RecorderNode(StackNode):
    """Subscribes to every topic of its namespace's stack, in their wire form."""

    settings: RecorderSettings

    def __init__(self) -> None:
        super().__init__("recorder", RecorderSettings)
        self._topics: list[_Recorded] = []
        self._bag: BagWriter | None = None

    def configure(self) -> None:
        """ValueError where the bag can't be made, OSError where the definition of a message is not installed."""
        self._definitions = {msg_type: read_definition(type_name(msg_type), get_package_share_directory)
                             for msg_type in (*TOPICS.values(), STATS)}
        path = Path(self.settings.record or time.strftime("rosbag2_%Y_%m_%d-%H_%M_%S"))
        try:
            self._bag = BagWriter(path, self.settings.record_format, os.environ.get("ROS_DISTRO", ""))
        except BagError as error:
            raise ValueError(str(error)) from error
        self._path, self._messages, self._bytes, self._queued = path, 0, 0, 0
        for topic, msg_type in TOPICS.items():
            self._subscribe(topic, msg_type)
        self._looked = self._flushed = time.monotonic()
        self.get_logger().info(f"recording to {path}")

    def cleanup(self) -> None:
        """Leave the graph and finish the bag."""
        for topic in self._topics:
            self.loop.unsubscribe(topic.inbox)
        self._topics.clear()
        self._close()

    def values(self) -> Mapping[str, float]:
        """Of the bag, and how many messages of one topic waited at most since the last report."""
        if self._bag is None:
            return {}
        queued, self._queued = self._queued, 0
        return {"messages": self._messages, "bytes": self._bytes, "queued": queued, "queue_size": _DEPTH}

    def work(self) -> None:
        """Take what has gathered and write it; look for new topics now and then."""
        bag = self._bag
        assert bag is not None  # of a configured node
        if self.loop.wait(0.1):
            time.sleep(_GATHER_PERIOD)
        now = time.monotonic()
        try:
            with self.stages.stage("write"):
                self._take(bag)
                if now - self._flushed >= _FLUSH_PERIOD:
                    self._flushed = now
                    bag.flush()
        except BagError as error:
            self.get_logger().error(f"recording stopped: {error}")
            self._close()
            self.finish(1)
            return
        if now - self._looked >= _LOOK_PERIOD:
            self._looked = now
            self._look()

    def finished(self) -> None:
        """Write the last messages and finish the bag."""
        if self._bag is None:
            return
        try:
            self._take(self._bag)
        except BagError as error:
            self.get_logger().error(f"recording stopped: {error}")
            self.exit_code = 1
        self._close()

    def _subscribe(self, topic: str, msg_type: type) -> None:
        # The topics of a tick as their receivers listen to them: that fits both modes, and acknowledgements would slow
        # the loop down that is recorded. A publisher keeps its last 5 messages only, so there is little to ask again.
        profile = qos.asking(topic) if topic in _TICK_TOPICS else qos.profile(topic)
        profile.depth = _DEPTH
        inbox = self.loop.subscribe(msg_type, topic, profile, qos.overriding(), raw=True, info=True)
        self._topics.append(_Recorded(self.resolve_topic_name(topic), msg_type, inbox, topic in _TICK_TOPICS))

    def _take(self, bag: BagWriter) -> None:
        """Write everything that has come, in the order in which it came."""
        self.loop.drain()
        batch: list[Message] = []
        for topic in self._topics:
            inbox = topic.inbox
            if not inbox:
                continue
            self._queued = max(self._queued, len(inbox))
            if topic.topic_id is None:
                topic.topic_id = self._add(bag, topic)
            for data, info in inbox:
                sequence = info["publication_sequence_number"] or 0
                batch.append(Message(topic.topic_id, info["received_timestamp"], info["source_timestamp"],
                                     sequence & 0xFFFFFFFF, data))
                self._count_dropped(topic, sequence, info)
            inbox.clear()
        batch.sort(key=lambda message: message.received)
        bag.write(batch)
        self._messages += len(batch)
        self._bytes += sum(len(message.data) for message in batch)
        self.ticks += len(batch)

    def _count_dropped(self, topic: _Recorded, sequence: int, info: Mapping[str, Any]) -> None:
        """A publisher numbers its messages without gaps. Jazzy does not tell which publisher's a message is."""
        if "publisher_gid" in info:
            publisher = info["publisher_gid"]["data"]
        elif topic.has_one_publisher:
            publisher = b""
        else:
            return
        newest = topic.newest.get(publisher)
        if newest is not None and sequence > newest + 1:
            self.counters["dropped"] += sequence - newest - 1
        topic.newest[publisher] = sequence

    def _add(self, bag: BagWriter, topic: _Recorded) -> int:
        """Register a topic in the bag, with what its publishers offer now that they are known."""
        offered = []
        for publisher in self.get_publishers_info_by_topic(topic.name):
            found = publisher.qos_profile
            mode = "lockstep" if found.reliability == ReliabilityPolicy.RELIABLE else "realtime"
            offered.append(encode_qos(found, "keep_last", qos.profile(topic.name, mode).depth))
        distinct = [profile for index, profile in enumerate(offered) if profile not in offered[:index]]
        return bag.add_topic(Topic(topic.name, self._definitions[topic.msg_type], tuple(distinct)))

    def _look(self) -> None:
        known = {topic.name for topic in self._topics}
        for name in self.stats_topics():
            if name not in known:
                self._subscribe(name, STATS)

    def _close(self) -> None:
        bag, self._bag = self._bag, None
        if bag is None:
            return
        try:
            contents = bag.close()
        except BagError as error:
            self.get_logger().error(f"{error}; when it can be written, `./run repair {self._path}` finishes it")
            self.exit_code = 1
            return
        self.get_logger().info(f"{sum(contents.counts.values())} messages of {len(contents.topics)} topics in "
                               f"{self._path}")


def main(args: Sequence[str] | None = None) -> int:
    """Entry point of the executable `recorder_node`."""
    return run(RecorderNode, args)
