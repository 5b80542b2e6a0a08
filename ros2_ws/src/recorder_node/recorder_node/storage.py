"""What the two storages of a bag have in common."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import yaml

from recorder_node.definitions import Definition

METADATA_VERSION = 9  # of a bag's metadata, that of Jazzy and later


class BagError(RuntimeError):
    """A bag that can't be made, written or read; the text is one sentence."""


@dataclass(frozen=True)
class Topic:
    """A topic of a bag.

    Attributes:
        name: fully qualified.
        definition: of its messages.
        offered_qos: the publishers' QoS as metadata of version 9 has it: names of policies, times as sec and nsec.
        encoding: of its messages.
    """

    name: str
    definition: Definition
    offered_qos: tuple[Mapping[str, Any], ...] = ()
    encoding: str = "cdr"

    def qos_text(self) -> str:
        """The QoS as storages hold it."""
        return yaml.safe_dump(list(self.offered_qos), sort_keys=False).strip()


class Message(NamedTuple):
    """A message to be kept.

    Attributes:
        topic_id: from `add_topic`.
        received, sent: when [ns since 1970].
        sequence: the publisher's count of its messages.
        data: serialized (CDR).
    """

    topic_id: int
    received: int
    sent: int
    sequence: int
    data: bytes


@dataclass(frozen=True)
class Contents:
    """What lies in a storage.

    Attributes:
        topics: in the order of their ids, which count from 1.
        counts: messages by the topic's id.
        start, end: time of the first and the last message [ns since 1970]; 0 without any.
        sums: checksum of all messages by the topic's name, where the storage has none of its own (see `checksum`).
    """

    topics: tuple[Topic, ...]
    counts: Mapping[int, int]
    start: int
    end: int
    sums: Mapping[str, int] = field(default_factory=dict)


def checksum(time: int, data: bytes) -> int:
    """Checksum of a message; that of several is the sum, whatever their order, by `checksum_text`."""
    return zlib.crc32(data, time & 0xFFFFFFFF)


def checksum_text(count: int, total: int) -> str:
    """The sum of so many messages' checksums, as a bag's metadata have it."""
    return f"{count} {total:x}"


# Writes the bag's metadata for what lies in the storage, and returns its text, of which the storage keeps a copy.
Describe = Callable[[Contents], str]


class Storage(Protocol):
    """A file of messages. Every method raises OSError or sqlite3.Error where the file can't be written."""

    def add_topic(self, topic: Topic) -> int:
        """Register a topic; returns its id."""

    def write(self, topic_id: int, received: int, sent: int, sequence: int, data: bytes) -> None:
        """Keep one message, in memory at first. Arguments as the fields of `Message`."""

    def flush(self) -> None:
        """Hand what is in memory to the operating system: from now on it outlives this process."""

    def close(self, describe: Describe) -> Contents:
        """Write what is in memory and the end of the file; returns what is in it."""

    def abandon(self) -> None:
        """Close the file as it is, without what is in memory."""
