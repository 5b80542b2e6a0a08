"""A recording under way: takes what has gathered of each topic and writes it to the bag, in the order of its coming."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recorder_node.bag import BagWriter
from recorder_node.log_clock import LogClock
from recorder_node.storage import Contents, Message, Topic

_FLUSH_PERIOD = 1.0  # [s]


@dataclass
class Recorded:
    """One topic that is recorded.

    Attributes:
        name: fully qualified.
        msg_type: of its messages.
        inbox: what has come, as pairs of bytes (CDR) and rclpy's message info; emptied as it is written.
        has_one_publisher: whether never more than one publishes on it.
        topic_id: in the bag; None until its first message.
        newest: sequence number of each publisher's newest message.
        latest: time of its newest message [ns].
    """

    name: str
    msg_type: type
    inbox: deque[Any]
    has_one_publisher: bool
    topic_id: int | None = None
    newest: dict[bytes, int] = field(default_factory=dict)
    latest: int = 0

    def missed(self, info: Mapping[str, Any]) -> int:
        """How many messages did not come between this one and the one before, of the same publisher.

        A publisher numbers its messages without gaps. Jazzy does not tell which publisher's a message is, so that
        nothing is known there of a topic that has several.
        """
        if "publisher_gid" in info:
            publisher = info["publisher_gid"]["data"]
        elif self.has_one_publisher:
            publisher = b""
        else:
            return 0
        sequence = info["publication_sequence_number"] or 0
        newest = self.newest.get(publisher)
        self.newest[publisher] = sequence
        return 0 if newest is None else max(0, sequence - newest - 1)


class Recording:
    """Holds the bag and the topics that go into it.

    Args:
        path, storage, distro: see `BagWriter`.
        describe: what the bag says of a topic; asked at the topic's first message.
        counters: counts `dropped`, messages that did not come.

    Attributes:
        path: folder of the bag.
        topics: what is recorded, in the order in which it is taken.
        messages, bytes: how many are written.
        clock_set: how far the system's clock was set, as `take` found last [ns]; 0 where it was not.

    Raises:
        BagError: see `BagWriter`; every method raises it where the bag can't be written.
    """

    def __init__(self, path: Path, storage: str, distro: str, describe: Callable[[Recorded], Topic],
                 counters: Counter[str]) -> None:
        self.path, self.topics = path, list[Recorded]()
        self.messages = self.bytes = self.clock_set = 0
        self._clock = LogClock()
        self._bag = BagWriter(path, storage, distro)
        self._describe, self._counters = describe, counters
        self._queued, self._flushed = 0, time.monotonic()

    def take(self) -> int:
        """Write everything that has come, in the order in which it came; returns how many messages that was."""
        batch: list[Message] = []
        self.clock_set = self._clock.look()
        for topic in self.topics:
            if not topic.inbox:
                continue
            self._queued = max(self._queued, len(topic.inbox))
            if topic.topic_id is None:
                topic.topic_id = self._bag.add_topic(self._describe(topic))
            for data, info in topic.inbox:
                topic.latest = max(topic.latest, self._clock.even(info["received_timestamp"]))
                batch.append(Message(topic.topic_id, topic.latest, info["source_timestamp"],
                                     (info["publication_sequence_number"] or 0) & 0xFFFFFFFF, data))
                if missed := topic.missed(info):
                    self._counters["dropped"] += missed
            topic.inbox.clear()
        batch.sort(key=lambda message: message.received)
        self._bag.write(batch)
        self.messages += len(batch)
        self.bytes += sum(len(message.data) for message in batch)
        return len(batch)

    def flush_if_due(self, now: float) -> None:
        """Hand what was taken to the operating system, once per second of the steady clock, `now` [s]."""
        if now - self._flushed >= _FLUSH_PERIOD:
            self._flushed = now
            self._bag.flush()

    def most_queued(self) -> int:
        """How many messages of one topic waited at most since this was asked last."""
        queued, self._queued = self._queued, 0
        return queued

    def close(self) -> Contents:
        """Finish the bag with what was taken; returns what is in it."""
        return self._bag.close()
