"""Messages in an MCAP file: chunks with an index each, and a summary at the end (mcap.dev/spec).

The package `mcap` encodes the records. Its Writer is not used: after a write that failed, on a full disk, the Writer's
index names a chunk that is not there.
"""

from __future__ import annotations

import errno
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mcap.opcode import Opcode
from mcap.records import Channel, Chunk, ChunkIndex, Header, Schema

from recorder_node.mcap_format import MAGIC, MESSAGE, MESSAGE_HEAD, Summary, encoded, ending, indexed
from recorder_node.storage import Contents, Describe, Topic

_CHUNK_SIZE = 1 << 20  # [bytes]
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True)
class _Written:
    """A chunk in the file."""

    index: ChunkIndex
    counts: Mapping[int, int]


class McapStorage:
    """Writes one MCAP file.

    Args:
        path: the file, which does not exist yet.
        distro: ROS distribution that the file names.

    Raises:
        OSError: the file can't be made.
    """

    suffix = ".mcap"

    def __init__(self, path: Path, distro: str = "") -> None:
        self._topics: list[Topic] = []
        self._schemas: dict[str, Schema] = {}
        self._channels: list[Channel] = []
        self._chunks: list[_Written] = []
        self._begin_chunk()
        self._file = open(path, "xb", buffering=0)
        self._end = 0  # of what is whole in the file
        self._append(MAGIC + encoded([Header("ros2", f"ant_rl recorder, ROS 2 {distro}")]))

    def add_topic(self, topic: Topic) -> int:
        """As `Storage.add_topic`."""
        definition = topic.definition
        schema = self._schemas.get(definition.type_name)
        if schema is None:
            schema = Schema(id=len(self._schemas) + 1, data=definition.text.encode(), encoding="ros2msg",
                            name=definition.type_name)
            self._schemas[definition.type_name] = schema
            self._put(encoded([schema]))
        channel = Channel(id=len(self._channels) + 1, topic=topic.name, message_encoding="cdr", schema_id=schema.id,
                          metadata={"offered_qos_profiles": topic.qos_text(),
                                    "topic_type_hash": definition.type_hash})
        self._topics.append(topic)
        self._channels.append(channel)
        self._put(encoded([channel]))
        return channel.id

    def write(self, topic_id: int, received: int, sent: int, sequence: int, data: bytes) -> None:
        """As `Storage.write`."""
        self._entries.setdefault(topic_id, []).extend((received, self._size))
        length = len(data)
        self._parts.append(MESSAGE.pack(Opcode.MESSAGE, MESSAGE_HEAD + length, topic_id, sequence, received, sent))
        self._parts.append(data)
        self._size += MESSAGE.size + length
        if self._size >= _CHUNK_SIZE:
            self.flush()

    def flush(self) -> None:
        """As `Storage.flush`: writes the chunk."""
        if not self._entries:
            return
        data, entries = b"".join(self._parts), self._entries
        self._begin_chunk()
        times = [time for flat in entries.values() for time in flat[::2]]
        chunk = Chunk(compression="", data=data, message_start_time=min(times), message_end_time=max(times),
                      uncompressed_crc=zlib.crc32(data), uncompressed_size=len(data))
        record = encoded([chunk])
        index, indexes = indexed(chunk, self._end, len(record), entries)
        self._append(record + indexes)
        self._chunks.append(_Written(index, {topic_id: len(flat) // 2 for topic_id, flat in entries.items()}))

    def close(self, describe: Describe) -> Contents:
        """As `Storage.close`. On a full disk the last chunks give way to the summary, without which few can read."""
        with self._file:
            try:
                self.flush()
            except OSError as error:
                if error.errno not in _NO_ROOM:
                    raise
            while True:
                contents = self.contents()
                try:
                    self._append(self._ending(contents, describe(contents)))
                    return contents
                except OSError as error:
                    if error.errno not in _NO_ROOM or not self._chunks:
                        raise
                    self._cut(self._chunks.pop().index.chunk_start_offset)

    def abandon(self) -> None:
        """As `Storage.abandon`."""
        self._file.close()

    def contents(self) -> Contents:
        """What is in the file."""
        counts = {channel.id: 0 for channel in self._channels}
        for chunk in self._chunks:
            for topic_id, count in chunk.counts.items():
                counts[topic_id] += count
        return Contents(tuple(self._topics), counts,
                        min((chunk.index.message_start_time for chunk in self._chunks), default=0),
                        max((chunk.index.message_end_time for chunk in self._chunks), default=0))

    def _begin_chunk(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0
        self._entries: dict[int, list[int]] = {}  # by topic: time and offset of each message, one after the other

    def _put(self, record: bytes) -> None:
        self._parts.append(record)
        self._size += len(record)

    def _append(self, data: bytes) -> None:
        """Write at the end of the file; what is only partly written is taken away again."""
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[self._file.write(rest):]
        except OSError:
            self._cut(self._end)
            raise
        self._end += len(data)

    def _cut(self, end: int) -> None:
        self._file.truncate(end)
        self._file.seek(end)
        self._end = end

    def _ending(self, contents: Contents, description: str) -> bytes:
        """Everything behind the chunks."""
        return ending(self._end, description, Summary(
            {schema.id: schema for schema in self._schemas.values()},
            {channel.id: channel for channel in self._channels}, [chunk.index for chunk in self._chunks],
            counts=dict(contents.counts), start=contents.start, end=contents.end))
