"""What an MCAP file is made of, as bytes: records, the index of a chunk, the end of the file (mcap.dev/spec)."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mcap.data_stream import RecordBuilder
from mcap.opcode import Opcode
from mcap.records import (
    AttachmentIndex,
    Channel,
    Chunk,
    ChunkIndex,
    DataEnd,
    Footer,
    McapRecord,
    Metadata,
    MetadataIndex,
    Schema,
    Statistics,
    SummaryOffset,
)

MAGIC = b"\x89MCAP0\r\n"
RECORD = struct.Struct("<BQ")  # opcode and length of what follows
MESSAGE = struct.Struct("<BQHIQQ")  # opcode, length, channel, sequence, received, sent
MESSAGE_HEAD = MESSAGE.size - RECORD.size
FOOTER_SIZE = RECORD.size + 20
METADATA_NAME, METADATA_KEY = "rosbag2", "serialized_metadata"  # of the record with a bag's metadata.yaml
_INDEX = struct.Struct("<BQHI")  # opcode, length, channel, length of the entries

# By channel: time and offset in the chunk of each message, one after the other.
Entries = Mapping[int, Sequence[int]]


@dataclass
class Summary:
    """What the end of a file tells of all that is before it.

    Attributes:
        schemas, channels: by id.
        chunks, attachments, metadata: index of each.
        counts: messages by channel.
        start, end: time of the first and the last message [ns since 1970]; 0 without any.
    """

    schemas: dict[int, Schema] = field(default_factory=dict)
    channels: dict[int, Channel] = field(default_factory=dict)
    chunks: list[ChunkIndex] = field(default_factory=list)
    attachments: list[AttachmentIndex] = field(default_factory=list)
    metadata: list[MetadataIndex] = field(default_factory=list)
    counts: dict[int, int] = field(default_factory=dict)
    start: int = 0
    end: int = 0


def encoded(records: Sequence[McapRecord]) -> bytes:
    """Records one after the other."""
    builder = RecordBuilder()
    for record in records:
        record.write(builder)
    data: bytes = builder.end()  # type: ignore[no-untyped-call]  # the library does not say
    return data


def indexed(chunk: Chunk, start: int, length: int, entries: Entries) -> tuple[ChunkIndex, bytes]:
    """The index of a chunk that lies at byte `start` and has `length` bytes, and the records that follow it."""
    parts, offsets, position = [], {}, start + length
    for channel, flat in entries.items():
        offsets[channel] = position
        size = 8 * len(flat)
        record = _INDEX.pack(Opcode.MESSAGE_INDEX, 6 + size, channel, size) + struct.pack(f"<{len(flat)}Q", *flat)
        parts.append(record)
        position += len(record)
    index = ChunkIndex(
        chunk_length=length, chunk_start_offset=start, compression=chunk.compression, compressed_size=len(chunk.data),
        message_end_time=chunk.message_end_time, message_index_length=position - start - length,
        message_index_offsets=offsets, message_start_time=chunk.message_start_time,
        uncompressed_size=chunk.uncompressed_size)
    return index, b"".join(parts)


def ending(position: int, description: str, summary: Summary) -> bytes:
    """Everything behind the messages: the bag's metadata, the summary with its checksum, the footer.

    Args:
        position: byte at which it begins.
        description: text of the bag's metadata.
        summary: of what is before; the metadata's own index is added.
    """
    about = encoded([Metadata(name=METADATA_NAME, metadata={METADATA_KEY: description})])
    data = about + encoded([DataEnd(0)])
    start = position + len(data)
    metadata = [*summary.metadata, MetadataIndex(offset=position, length=len(about), name=METADATA_NAME)]
    groups: list[tuple[Opcode, Sequence[McapRecord]]] = [
        (Opcode.SCHEMA, list(summary.schemas.values())),
        (Opcode.CHANNEL, list(summary.channels.values())),
        (Opcode.CHUNK_INDEX, summary.chunks),
        (Opcode.ATTACHMENT_INDEX, summary.attachments),
        (Opcode.METADATA_INDEX, metadata),
        (Opcode.STATISTICS, [Statistics(
            attachment_count=len(summary.attachments), channel_count=len(summary.channels),
            channel_message_counts=dict(summary.counts), chunk_count=len(summary.chunks),
            message_count=sum(summary.counts.values()), metadata_count=len(metadata),
            message_start_time=summary.start, message_end_time=summary.end, schema_count=len(summary.schemas))])]
    text, offsets = b"", []
    for opcode, records in groups:
        group = encoded(records)
        if group:
            offsets.append(SummaryOffset(group_opcode=opcode, group_start=start + len(text), group_length=len(group)))
        text += group
    text_and_offsets = text + encoded(offsets)
    footer = Footer(summary_start=start, summary_offset_start=start + len(text), summary_crc=0)
    footer.summary_crc = summary_crc(text_and_offsets, encoded([footer]))
    return data + text_and_offsets + encoded([footer]) + MAGIC


def summary_crc(summary: bytes, footer: bytes) -> int:
    """Checksum of a summary, from its first record to the checksum within the footer's record."""
    return zlib.crc32(footer[:FOOTER_SIZE - 4], zlib.crc32(summary))
