"""Bags to be damaged, and what is in them."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from mcap.reader import make_reader
from mcap.records import Chunk
from mcap.stream_reader import StreamReader
from mcap.writer import CompressionType, Writer
from rosbags.rosbag2 import Reader

from recorder_node.bag import BagWriter
from recorder_node.definitions import Definition
from recorder_node.storage import Message, Topic

TEXT = Definition("std_msgs/msg/String", "string data", "RIHS01_" + "5" * 64)
QOS = {"history": "keep_last", "depth": 1, "reliability": "reliable", "durability": "volatile",
       "deadline": {"sec": 9, "nsec": 1}, "lifespan": {"sec": 9, "nsec": 1}, "liveliness": "automatic",
       "liveliness_lease_duration": {"sec": 9, "nsec": 1}, "avoid_ros_namespace_conventions": False}
PER_CHUNK, CHUNKS = 12, 6
START = 10**18
STORAGES = ("mcap", "sqlite3")


def message(topic, number):
    """One that differs from all others and does not shrink to nothing when it is compressed."""
    body = b"".join(hashlib.sha256(bytes([k, number % 256, number // 256])).digest() for k in range(6))
    return Message(topic, START + 10**7 * number, START + 10**7 * number - 5, number, b"\0\1\0\0" + body)


def expected(numbers):
    return [(found.received, found.data) for found in (message(0, number) for number in numbers)]


def make(path, storage="mcap", closed=True):
    """A bag of two topics, the even numbers on /a and the odd ones on /b, in chunks of a dozen."""
    writer = BagWriter(path, storage, "kilted")
    topics = [writer.add_topic(Topic("/a", TEXT, (QOS,))), writer.add_topic(Topic("/b", TEXT))]
    for chunk in range(CHUNKS):
        writer.write([message(topics[k % 2], k) for k in range(chunk * PER_CHUNK, (chunk + 1) * PER_CHUNK)])
        writer.flush()
    if closed:
        writer.close()
    else:
        writer.abandon()
    return path


def file_of(path: Path) -> Path:
    file, = (found for found in path.iterdir() if found.suffix in (".mcap", ".db3"))
    return file


def again(path, target, compression=CompressionType.NONE, crcs=True, **options):
    """The same messages in a folder of their own, in chunks of the same messages, as another writer has them."""
    target.mkdir()
    shutil.copy(path / "metadata.yaml", target)
    with open(file_of(path), "rb") as source, open(target / file_of(path).name, "wb") as file:
        reader = make_reader(source)
        summary = reader.get_summary()
        writer = Writer(file, chunk_size=2800, compression=compression, enable_crcs=crcs, **options)
        writer.start("ros2", "another")
        schemas = {number: writer.register_schema(found.name, found.encoding, found.data)
                   for number, found in summary.schemas.items()}
        channels = {number: writer.register_channel(found.topic, found.message_encoding, schemas[found.schema_id],
                                                    found.metadata) for number, found in summary.channels.items()}
        for number, (_, channel, found) in enumerate(reader.iter_messages()):
            writer.add_message(channels[channel.id], found.log_time, found.data, found.publish_time, found.sequence)
            if number == 20:
                writer.add_attachment(5, 6, "notes.txt", "text/plain", b"a windy day" * 20)
                writer.add_metadata("place", {"field": "north"})
        writer.finish()
    return target


def read(path):
    """Time and bytes of every message, by topic."""
    with Reader(path) as reader:
        found = {connection.topic: [] for connection in reader.connections}
        for connection, stamp, data in reader.messages():
            found[connection.topic].append((stamp, data))
    return found


def state(path):
    """Everything in a folder, to the time of its last change."""
    return {file.name: (file.read_bytes(), file.stat().st_mtime_ns) for file in sorted(path.iterdir())}


def chunks(file):
    """Where the record of each chunk begins and ends, as the index at the end tells."""
    with open(file, "rb") as source:
        summary = make_reader(source).get_summary()
    return [(found.chunk_start_offset, found.chunk_start_offset + found.chunk_length) for found in sorted(
        summary.chunk_indexes, key=lambda found: found.chunk_start_offset)]


def records(file):
    """Names of the kinds of all records that a file's reader finds, in order."""
    with open(file, "rb") as source:
        return [type(found).__name__ for found in StreamReader(source, emit_chunks=True, validate_crcs=True).records]


def raw_chunks(file):
    with open(file, "rb") as source:
        return [(found.compression, found.data) for found in StreamReader(source, emit_chunks=True).records
                if isinstance(found, Chunk)]


def flip(file, place, mask=1):
    data = bytearray(file.read_bytes())
    data[place] ^= mask
    file.write_bytes(data)
