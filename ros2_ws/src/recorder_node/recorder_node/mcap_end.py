"""Reads records of MCAP files without trust in their lengths, and what the end of a file tells (mcap.dev/spec)."""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

from mcap.data_stream import ReadDataStream
from mcap.exceptions import McapError
from mcap.opcode import Opcode
from mcap.records import (
    Attachment,
    AttachmentIndex,
    Channel,
    ChunkIndex,
    Footer,
    Header,
    Metadata,
    MetadataIndex,
    Schema,
    Statistics,
    SummaryOffset,
)

from recorder_node.mcap_format import FOOTER_SIZE, MAGIC, RECORD, Summary, summary_crc

Data = mmap.mmap | bytes
_TAIL = FOOTER_SIZE + len(MAGIC)
_KINDS: dict[int, Any] = {
    Opcode.HEADER: Header, Opcode.FOOTER: Footer, Opcode.SCHEMA: Schema, Opcode.CHANNEL: Channel,
    Opcode.CHUNK_INDEX: ChunkIndex, Opcode.ATTACHMENT: Attachment, Opcode.ATTACHMENT_INDEX: AttachmentIndex,
    Opcode.METADATA: Metadata, Opcode.METADATA_INDEX: MetadataIndex, Opcode.STATISTICS: Statistics,
    Opcode.SUMMARY_OFFSET: SummaryOffset}


class Damaged(ValueError):
    """Bytes that are not what they should be."""


class _Whole(ReadDataStream):
    """Refuses to give less than was asked for."""

    def read(self, length: int) -> bytes:
        data = super().read(length)
        if len(data) != length:
            raise Damaged(f"{length} bytes were expected, {len(data)} are there")
        return data


def parsed(opcode: int, body: bytes) -> Any:
    """The record of the package `mcap` of any kind but messages, chunks and their index; Damaged where it is none."""
    try:
        return _KINDS[opcode].read(_Whole(BytesIO(body)))
    except (McapError, ValueError, struct.error, KeyError) as error:
        raise Damaged(str(error)) from error


def records(data: Data, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Opcode, start and end of each record between two bytes; Damaged where they do not fill it."""
    while start < end:
        if start + RECORD.size > end:
            raise Damaged("a record is cut off")
        opcode, length = RECORD.unpack_from(data, start)
        after = start + RECORD.size + length
        if after > end:
            raise Damaged("a record is cut off")
        yield opcode, start, after
        start = after


@dataclass
class End:
    """The whole end of a file.

    Attributes:
        start: its first byte, that after the data.
        is_sure: there is a checksum over it.
        summary: what it tells.
        statistics: None where the writer left them out.
    """

    start: int
    is_sure: bool = False
    summary: Summary = field(default_factory=Summary)
    statistics: Statistics | None = None


def read_end(data: Data) -> End:
    """Summary and footer of a file.

    Raises:
        Damaged: they are not there, cut off, not what their checksum says, or name other places than their own.
    """
    place = len(data) - _TAIL
    footer = _footer(place, data[max(place, 0):])
    start = footer.summary_start or place
    text = data[start:place]
    _check_sum(footer, text, data[place:])
    end = End(start, bool(footer.summary_crc))
    for opcode, first, after in records(data, start, place):
        if opcode in _KINDS:
            _add(end, data, parsed(opcode, data[first + RECORD.size:after]))
    return end


def check_end(path: Path) -> None:
    """Look at the end of a file that others may still write to: Damaged where it is not whole; OSError."""
    with open(path, "rb") as file:
        place = file.seek(0, 2) - _TAIL
        file.seek(max(place, 0))
        tail = file.read()
        footer = _footer(place, tail)
        if footer.summary_crc:
            start = file.seek(footer.summary_start or place)
            _check_sum(footer, file.read(place - start), tail)


@contextmanager
def open_data(path: Path) -> Iterator[Data]:
    """The bytes of a file that nobody writes to. OSError where it can't be read."""
    with open(path, "rb") as file:
        if os.fstat(file.fileno()).st_size:
            yield mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        else:  # there is no map of nothing
            yield b""


def _footer(place: int, tail: bytes) -> Footer:
    """The footer that begins at byte `place`, of the bytes from there on."""
    if place < len(MAGIC) or tail[-len(MAGIC):] != MAGIC:
        raise Damaged("the file has no end")
    if RECORD.unpack_from(tail) != (Opcode.FOOTER, FOOTER_SIZE - RECORD.size):
        raise Damaged("the file has no footer")
    footer: Footer = parsed(Opcode.FOOTER, tail[RECORD.size:FOOTER_SIZE])
    starts = [start for start in (footer.summary_start, footer.summary_offset_start) if start]
    if starts != sorted(starts) or not all(len(MAGIC) <= start <= place for start in starts):
        raise Damaged("the footer names a place that can't be")
    return footer


def _check_sum(footer: Footer, summary: bytes, tail: bytes) -> None:
    if footer.summary_crc and footer.summary_crc != summary_crc(summary, tail):
        raise Damaged("the summary is not what its checksum says")


def _add(end: End, data: Data, record: Any) -> None:
    summary = end.summary
    if isinstance(record, Schema):
        summary.schemas[record.id] = record
    elif isinstance(record, Channel):
        summary.channels[record.id] = record
    elif isinstance(record, ChunkIndex):
        summary.chunks.append(record)
    elif isinstance(record, AttachmentIndex):
        summary.attachments.append(record)
    elif isinstance(record, MetadataIndex):
        summary.metadata.append(record)
    elif isinstance(record, Statistics):
        end.statistics = record
        summary.counts = dict(record.channel_message_counts)
        summary.start, summary.end = record.message_start_time, record.message_end_time
    elif isinstance(record, SummaryOffset) and record.group_length and (
            record.group_start >= len(data) or data[record.group_start] != record.group_opcode):
        raise Damaged("the summary names a place where it is not")
