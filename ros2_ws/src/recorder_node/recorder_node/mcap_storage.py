"""Messages in an MCAP file: chunks with an index each, and a summary at the end (mcap.dev/spec).

The package `mcap` encodes the records. Its Writer is not used: after a write that failed, on a full disk, the Writer's
index names a chunk that is not there, and it can't go on with a file whose writer was killed.
"""

from __future__ import annotations

import errno
import os
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import yaml
from mcap.data_stream import ReadDataStream, RecordBuilder
from mcap.opcode import Opcode
from mcap.records import (
    Channel,
    Chunk,
    ChunkIndex,
    DataEnd,
    Footer,
    Header,
    McapRecord,
    Message,
    Metadata,
    MetadataIndex,
    Schema,
    Statistics,
    SummaryOffset,
)
from mcap.stream_reader import breakup_chunk

from recorder_node.definitions import Definition
from recorder_node.storage import BagError, Contents, Describe, Topic

_MAGIC = b"\x89MCAP0\r\n"
_CHUNK_SIZE = 1 << 20  # [bytes]
_RECORD = struct.Struct("<BQ")  # opcode and length of what follows
_MESSAGE = struct.Struct("<BQHIQQ")  # opcode, length, channel, sequence, received, sent
_MESSAGE_HEAD = _MESSAGE.size - _RECORD.size
_INDEX = struct.Struct("<BQHI")  # opcode, length, channel, length of the entries
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True)
class _Written:
    """A chunk in the file."""

    index: ChunkIndex
    counts: Mapping[int, int]


class McapStorage:
    """Writes one MCAP file, or finishes one whose writer was killed.

    Args:
        path: the file.
        distro: ROS distribution that a new file names.
        resume: it exists: take what is whole in it and go on behind that.

    Raises:
        OSError: the file can't be opened.
        BagError: `resume` found something else than a file that was begun by this class.
    """

    suffix = ".mcap"

    def __init__(self, path: Path, distro: str = "", resume: bool = False) -> None:
        self._path = path
        self._topics: list[Topic] = []
        self._schemas: dict[str, Schema] = {}
        self._channels: list[Channel] = []
        self._chunks: list[_Written] = []
        self._begin_chunk()
        self._file = open(path, "r+b" if resume else "xb", buffering=0)
        self._end = 0  # of what is whole in the file
        if resume:
            self._resume()
        else:
            header = Header("ros2", f"ant_rl recorder, ROS 2 {distro}")
            self._append(_MAGIC + _encoded([header]))

    def add_topic(self, topic: Topic) -> int:
        """As `Storage.add_topic`."""
        definition = topic.definition
        schema = self._schemas.get(definition.type_name)
        if schema is None:
            schema = Schema(id=len(self._schemas) + 1, data=definition.text.encode(), encoding="ros2msg",
                            name=definition.type_name)
            self._schemas[definition.type_name] = schema
            self._put(_encoded([schema]))
        channel = Channel(id=len(self._channels) + 1, topic=topic.name, message_encoding="cdr", schema_id=schema.id,
                          metadata={"offered_qos_profiles": topic.qos_text(),
                                    "topic_type_hash": definition.type_hash})
        self._topics.append(topic)
        self._channels.append(channel)
        self._put(_encoded([channel]))
        return channel.id

    def write(self, topic_id: int, received: int, sent: int, sequence: int, data: bytes) -> None:
        """As `Storage.write`."""
        self._entries.setdefault(topic_id, []).extend((received, self._size))
        length = len(data)
        self._parts.append(_MESSAGE.pack(Opcode.MESSAGE, _MESSAGE_HEAD + length, topic_id, sequence, received, sent))
        self._parts.append(data)
        self._size += _MESSAGE.size + length
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
        encoded = _encoded([chunk])
        written, indexes = _indexed(chunk, self._end, len(encoded), entries)
        self._append(encoded + indexes)
        self._chunks.append(written)

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
        about = _encoded([Metadata(name="rosbag2", metadata={"serialized_metadata": description})])
        data = about + _encoded([DataEnd(0)])
        start = self._end + len(data)
        groups: list[tuple[Opcode, list[McapRecord]]] = [
            (Opcode.SCHEMA, list(self._schemas.values())),
            (Opcode.CHANNEL, list(self._channels)),
            (Opcode.CHUNK_INDEX, [chunk.index for chunk in self._chunks]),
            (Opcode.METADATA_INDEX, [MetadataIndex(offset=self._end, length=len(about), name="rosbag2")]),
            (Opcode.STATISTICS, [Statistics(
                attachment_count=0, channel_count=len(self._channels), channel_message_counts=dict(contents.counts),
                chunk_count=len(self._chunks), message_count=sum(contents.counts.values()), metadata_count=1,
                message_start_time=contents.start, message_end_time=contents.end,
                schema_count=len(self._schemas))])]
        summary, offsets = b"", []
        for opcode, records in groups:
            encoded = _encoded(records)
            if encoded:
                offsets.append(SummaryOffset(group_opcode=opcode, group_start=start + len(summary),
                                             group_length=len(encoded)))
            summary += encoded
        footer = Footer(summary_start=start, summary_offset_start=start + len(summary), summary_crc=0)
        return data + summary + _encoded([*offsets, footer]) + _MAGIC

    def _resume(self) -> None:
        """Take the whole chunks of a file, cut off what follows them."""
        size = os.fstat(self._file.fileno()).st_size
        if self._file.read(len(_MAGIC)) != _MAGIC:
            raise BagError(f"{self._path} must be an MCAP file, found another beginning")
        position = len(_MAGIC)
        while True:
            opcode, body = self._read_record(position, size)
            if opcode == Opcode.CHUNK:
                chunk = Chunk.read(ReadDataStream(BytesIO(body)))
                if not chunk.data or zlib.crc32(chunk.data) != chunk.uncompressed_crc:
                    break  # not all of its pages reached the disk before the power failed
                length = _RECORD.size + len(body)
                written, indexes = _indexed(chunk, position, length, self._take(chunk))
                if position + length + len(indexes) > size:
                    self._cut(position + length)
                    self._append(indexes)
                    size = self._end
                self._chunks.append(written)
                position += length + len(indexes)
            elif opcode == Opcode.HEADER:
                position += _RECORD.size + len(body)
            elif opcode in (None, 0, Opcode.METADATA, Opcode.DATA_END):  # cut off, no page, or finished already
                break
            else:
                raise BagError(f"{self._path} must be a file that the recorder wrote, found an MCAP record of kind "
                               f"{opcode} at byte {position}")
        self._cut(position)

    def _read_record(self, position: int, size: int) -> tuple[int | None, bytes]:
        """Opcode and body of the record there; None where it is not whole."""
        self._file.seek(position)
        head = self._file.read(_RECORD.size)
        if len(head) < _RECORD.size:
            return None, b""
        opcode, length = _RECORD.unpack(head)
        if position + _RECORD.size + length > size:
            return None, b""
        body = bytearray()
        while len(body) < length:
            body += self._file.read(length - len(body))
        return opcode, bytes(body)

    def _take(self, chunk: Chunk) -> dict[int, list[int]]:
        """Register what a chunk has; returns its entries as `_begin_chunk` has them."""
        entries: dict[int, list[int]] = {}
        offset = 0
        for record in breakup_chunk(chunk):
            if isinstance(record, Schema):
                self._schemas[record.name] = record
            elif isinstance(record, Channel):
                schema = next(schema for schema in self._schemas.values() if schema.id == record.schema_id)
                definition = Definition(schema.name, schema.data.decode(), record.metadata["topic_type_hash"])
                self._channels.append(record)
                self._topics.append(Topic(record.topic, definition,
                                          tuple(yaml.safe_load(record.metadata["offered_qos_profiles"]))))
            elif isinstance(record, Message):
                entries.setdefault(record.channel_id, []).extend((record.log_time, offset))
            offset += _RECORD.size + _RECORD.unpack_from(chunk.data, offset)[1]
        return entries


def _encoded(records: list[McapRecord]) -> bytes:
    builder = RecordBuilder()
    for record in records:
        record.write(builder)
    data: bytes = builder.end()  # type: ignore[no-untyped-call]  # the library does not say
    return data


def _indexed(chunk: Chunk, start: int, length: int, entries: Mapping[int, list[int]]) -> tuple[_Written, bytes]:
    """The index of a chunk that lies at byte `start` and has `length` bytes, and the records that follow it."""
    parts, offsets, position = [], {}, start + length
    for topic_id, flat in entries.items():
        offsets[topic_id] = position
        size = 8 * len(flat)
        record = _INDEX.pack(Opcode.MESSAGE_INDEX, 6 + size, topic_id, size) + struct.pack(f"<{len(flat)}Q", *flat)
        parts.append(record)
        position += len(record)
    index = ChunkIndex(
        chunk_length=length, chunk_start_offset=start, compression="", compressed_size=len(chunk.data),
        message_end_time=chunk.message_end_time, message_index_length=position - start - length,
        message_index_offsets=offsets, message_start_time=chunk.message_start_time,
        uncompressed_size=chunk.uncompressed_size)
    return _Written(index, {topic_id: len(flat) // 2 for topic_id, flat in entries.items()}), b"".join(parts)
