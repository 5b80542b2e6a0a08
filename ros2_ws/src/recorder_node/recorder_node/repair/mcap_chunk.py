"""Chunks and message indexes of an MCAP file, checked."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from mcap.opcode import Opcode
from mcap.records import Channel, Chunk, Schema
from mcap.stream_reader import CRCValidationError, get_chunk_data_stream

from recorder_node.mcap_end import Damaged, Data, parsed, records
from recorder_node.mcap_format import MESSAGE_HEAD, RECORD
from recorder_node.repair.found import HEAD

_HEAD = struct.Struct("<QQQII")  # first and last time, size and checksum of the content, length of a name
_LENGTH = struct.Struct("<Q")
_INDEX = struct.Struct("<HI")
_MESSAGE = struct.Struct("<HIQ")  # channel, sequence, received
_NUMBER = struct.Struct("<H")  # of a schema, of a channel, of the channel of a message
# What takes the place of definitions and of all messages of a channel, by opcode and number; empty: they go.
Changes = Mapping[tuple[int, int], bytes]
COMPRESSIONS = ("", "lz4", "zstd")
_LONGEST_NAME = 32  # [bytes], of a compression


@dataclass
class Content:
    """What a chunk holds.

    Attributes:
        entries: by channel: time and offset of each message, one after the other.
        schemas, channels: that it defines.
        first: first bytes of its first message.
    """

    entries: dict[int, list[int]] = field(default_factory=dict)
    schemas: list[Schema] = field(default_factory=list)
    channels: list[Channel] = field(default_factory=list)
    first: bytes = b""

    def span(self) -> tuple[int, int]:
        """Time of the first and of the last message; there must be one."""
        times = [time for flat in self.entries.values() for time in flat[::2]]
        return min(times), max(times)


def read_chunk(data: Data, start: int, end: int) -> tuple[Chunk, int]:
    """The chunk in the record from `start` to `end`, its content unchecked, and the byte at which it ends.

    Raises:
        Damaged: there is none that fits into the record.
    """
    place = start + RECORD.size
    if place + _HEAD.size > end:
        raise Damaged("a chunk's head is cut off")
    first, last, size, crc, name_length = _HEAD.unpack_from(data, place)
    place += _HEAD.size
    if name_length > _LONGEST_NAME or place + name_length + _LENGTH.size > end:
        raise Damaged("a chunk's head can't be")
    name = data[place:place + name_length]
    place += name_length
    length, = _LENGTH.unpack_from(data, place)
    place += _LENGTH.size
    if place + length > end or not name.isascii():
        raise Damaged("a chunk's head can't be")
    return Chunk(compression=name.decode(), data=data[place:place + length], message_start_time=first,
                 message_end_time=last, uncompressed_crc=crc, uncompressed_size=size), place + length


def content(chunk: Chunk) -> Content:
    """What a chunk holds; Damaged where its checksum, its compression or its records say that it is not whole."""
    if chunk.compression not in COMPRESSIONS:
        raise Damaged(f"it is compressed by {chunk.compression!r}")
    found = Content()
    data = plain(chunk)
    for opcode, start, end in records(data, 0, len(data)):
        begin = start + RECORD.size
        if opcode == Opcode.MESSAGE:
            if end - begin < MESSAGE_HEAD:
                raise Damaged("a message is cut off")
            channel, _, time = _MESSAGE.unpack_from(data, begin)
            found.entries.setdefault(channel, []).extend((time, start))
            found.first = found.first or data[begin + MESSAGE_HEAD:begin + MESSAGE_HEAD + HEAD]
        elif opcode == Opcode.SCHEMA:
            found.schemas.append(parsed(opcode, data[begin:end]))
        elif opcode == Opcode.CHANNEL:
            found.channels.append(parsed(opcode, data[begin:end]))
    return found


def plain(chunk: Chunk) -> bytes:
    """A chunk's records; Damaged where they can't be had."""
    if not chunk.compression and chunk.uncompressed_size != len(chunk.data):
        raise Damaged("its size is another")
    try:
        stream, size = get_chunk_data_stream(chunk, validate_crc=True)
    except CRCValidationError as error:
        raise Damaged("its checksum is another") from error
    except Exception as error:  # of many types, from those of two libraries to MemoryError
        raise Damaged(str(error)) from error
    if size != chunk.uncompressed_size:
        raise Damaged("its size is another")
    return stream.read(size)


def read_index(data: Data, start: int, end: int) -> tuple[int, list[int]]:
    """Channel and entries of the message index in the record from `start` to `end`; Damaged where it is none."""
    place = start + RECORD.size
    if place + _INDEX.size > end:
        raise Damaged("a message index is cut off")
    channel, size = _INDEX.unpack_from(data, place)
    place += _INDEX.size
    if size % 16 or place + size > end:
        raise Damaged("a message index can't be")
    return channel, list(struct.unpack_from(f"<{size // 8}Q", data, place))


def edited(data: Data, start: int, end: int, changes: Changes) -> Iterator[bytes]:
    """The records between two bytes, those that are to be changed instead of theirs."""
    for opcode, first, after in records(data, start, end):
        number = _NUMBER.unpack_from(data, first + RECORD.size)[0] if after - first > RECORD.size + 1 else 0
        yield changes.get((opcode, number), data[first:after])


def edited_chunk(chunk: Chunk, changes: Changes) -> Chunk:
    """The same for the records of a whole chunk, which then are not compressed."""
    data = plain(chunk)
    made = b"".join(edited(data, 0, len(data), changes))
    return timed(Chunk(compression="", data=made, message_start_time=0, message_end_time=0,
                       uncompressed_crc=zlib.crc32(made), uncompressed_size=len(made)))


def timed(chunk: Chunk) -> Chunk:
    """A whole chunk with the times of its messages at its head."""
    found = content(chunk)
    if not found.entries:
        return chunk
    first, last = found.span()
    return replace(chunk, message_start_time=first, message_end_time=last)
