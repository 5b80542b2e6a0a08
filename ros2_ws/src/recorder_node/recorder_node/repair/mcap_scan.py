"""Reads an MCAP file from its first byte to its last: is it whole, and what in it can be kept?

A chunk that is not what its checksum says is stepped over by its length, and the message index that follows it tells
what was in it. Where the head of a record itself is damaged, the index of chunks at the end of the file tells where the
next one begins; where that is gone too, the next record that can be one is looked for (`Places`). Longer than others
because every kind of record is judged beside the others.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

from mcap.opcode import Opcode
from mcap.records import AttachmentIndex, Channel, ChunkIndex, MetadataIndex, Schema

from recorder_node.mcap_end import Damaged, Data, End, parsed, read_end
from recorder_node.mcap_format import MAGIC, MESSAGE, METADATA_KEY, METADATA_NAME, RECORD, Summary
from recorder_node.repair.found import HEAD
from recorder_node.repair.mcap_chunk import COMPRESSIONS, Content, content, read_chunk, read_index
from recorder_node.repair.mcap_places import OF_SUMMARY, PRIVATE, Places

_INDEX_HEAD = 15  # [bytes] of a message index before its entries of 16


@dataclass
class Piece:
    """A part of the file that can be kept.

    Attributes:
        start, end: its bytes.
        kind: opcode of its one record; MESSAGE: of any number of records that have no index.
        is_raw: it can be kept as it is; not so a chunk with a head that is wrong.
    """

    start: int
    end: int
    kind: int
    is_raw: bool = True


@dataclass
class _Open:
    """A chunk that message indexes may follow; content: None where it is damaged."""

    index: ChunkIndex
    content: Content | None
    seen: Counter[int] = field(default_factory=Counter)
    times: list[int] = field(default_factory=list)


class McapScan:
    """A file, read.

    Args:
        data: its bytes.

    Attributes:
        header: the header's record; empty where it is damaged.
        pieces: what can be kept, in the file's order.
        counts: messages that can be read, by channel; of channels that nothing describes too.
        times: of the first and the last message [ns since 1970], by channel.
        schemas, channels: by id, also those that only the end of the file tells.
        undefined: channels and schemas whose definition is in none of the pieces, as pairs of opcode and id.
        redefined: those that the pieces define otherwise, where a checksum vouches for the end of the file.
        problems: why it is not whole; empty: it is.
        lost: messages by channel, of chunks that are damaged.
        spans: between which times something is lost [ns since 1970].
        is_more_lost: more than `lost` is, and nothing in the damaged part tells how many messages.
        lost_others: what else is lost, in words.
        is_unplaced: bytes have changed, and nothing tells which.
        unfinished: bytes at the end that a recorder had not finished.
        statistics: messages by channel that the file says it holds; None where it does not say.
        description: text of the bag's metadata; None without.
        first: first bytes of the first message.
        unknown_compression: of chunks, where all of them are compressed in a way that is not known here.

    Raises:
        Damaged: it does not begin as an MCAP file.
    """

    def __init__(self, data: Data) -> None:
        if data[:len(MAGIC)] != MAGIC:
            raise Damaged("it does not begin as an MCAP file")
        self._data, self._size = data, len(data)
        self.header, self.first, self.unknown_compression = b"", b"", ""
        self.pieces: list[Piece] = []
        self.counts: Counter[int] = Counter()
        self.times: dict[int, tuple[int, int]] = {}
        self.schemas: dict[int, Schema] = {}
        self.channels: dict[int, Channel] = {}
        self.problems: list[str] = []
        self.lost: Counter[int] = Counter()
        self.spans: list[tuple[int, int]] = []
        self.lost_others: list[str] = []
        self.is_more_lost = self.is_unplaced = self._ended = False
        self.unfinished = 0
        self.statistics: Counter[int] | None = None
        self.description: str | None = None
        self._open: _Open | None = None
        self._chunks: list[ChunkIndex] = []
        self._attachments: list[AttachmentIndex] = []
        self._metadata: list[MetadataIndex] = []
        self._compressions: set[str] = set()
        self._end: End | None = None
        end_problem = ""
        try:
            self._end = read_end(data)
        except Damaged as error:
            end_problem = str(error)
        self._told = self._end.summary if self._end else Summary()
        self._places = Places(data, self._end)
        self._places.channels = self.channels
        self._walk()
        if end_problem:
            self.problems.append(end_problem)
        self._judge()

    # -- from record to record ---------------------------------------------------------------------------------------

    def _walk(self) -> None:
        position = len(MAGIC)
        while position < self._places.limit and not self._ended:
            end = self._take(position)
            position = self._skip(position) if end is None else end
        self._close()
        if not self._ended:
            self._problem(position, "the end of the data is not marked")
        if not self.header:
            self._problem(len(MAGIC), "there is no header")

    def _take(self, position: int) -> int | None:
        """Take the record there; returns the byte after it, None where there is none that makes sense."""
        opcode, end = self._places.head(position)
        known = self._places.chunks.get(position)
        if known is not None and (opcode, end) != (Opcode.CHUNK, position + known.chunk_length):
            self._problem(position, "a chunk's head is another")
            return self._take_chunk(position, position + known.chunk_length, False)
        if not end:
            return None
        try:
            if opcode == Opcode.CHUNK:
                return self._take_chunk(position, end, True)
            if opcode == Opcode.MESSAGE_INDEX:
                self._take_index(position, end)
                return end
            self._close()
            if opcode in OF_SUMMARY and self._end is None and self._places.is_plausible(position):
                self._take_summary(position)
            elif opcode == Opcode.DATA_END:
                self._take_data_end(position, end)
            elif not self._take_other(opcode, position, end):
                return None
        except Damaged:
            return None
        return end

    def _take_chunk(self, position: int, end: int, is_raw: bool) -> int | None:
        self._close()
        is_sure = position in self._places.chunks
        index = ChunkIndex(chunk_length=end - position, chunk_start_offset=position, compression="", compressed_size=0,
                           message_end_time=0, message_index_length=0, message_index_offsets={}, message_start_time=0,
                           uncompressed_size=0)
        try:
            chunk, filled = read_chunk(self._data, position, end)
            if filled < end and not is_sure and self._places.is_plausible(filled):
                self._problem(position, "a chunk's head is another")
                end, is_raw = filled, False
            index = replace(index, chunk_length=end - position, compression=chunk.compression,
                            compressed_size=len(chunk.data), message_start_time=chunk.message_start_time,
                            message_end_time=chunk.message_end_time, uncompressed_size=chunk.uncompressed_size)
            self._compressions.add(chunk.compression)
            found = content(chunk)
        except Damaged as error:
            if not is_sure and not self._places.is_plausible(end):
                return None
            self._problem(position, f"a chunk is damaged, {error}")
            self._open = _Open(index, None)
            return end
        if found.entries:
            first, last = found.span()
            if (first, last) != (chunk.message_start_time, chunk.message_end_time):
                self._problem(position, "a chunk's times are others")
                index, is_raw = replace(index, message_start_time=first, message_end_time=last), False
        for channel, flat in found.entries.items():
            self.counts[channel] += len(flat) // 2
            self._between(channel, min(flat[::2]), max(flat[::2]))
        self._define(found.schemas, found.channels)
        self.first = self.first or found.first
        self.pieces.append(Piece(position, end, Opcode.CHUNK, is_raw))
        self._open = _Open(index, found)
        self._chunks.append(index)
        return end

    def _take_index(self, position: int, end: int) -> None:
        channel, flat = read_index(self._data, position, end)
        chunk = self._open
        if chunk is None:  # what it belongs to lies in a part that was skipped
            self._problem(position, "a message index follows no chunk")
            self.lost[channel] += len(flat) // 2
            self._span(flat[::2])
            return
        chunk.index.message_index_length += end - position
        chunk.index.message_index_offsets[channel] = position
        chunk.seen[channel] = len(flat) // 2
        chunk.times += flat[::2]
        if chunk.content is not None and sorted(_pairs(flat)) != sorted(
                _pairs(chunk.content.entries.get(channel, []))):
            self._problem(position, "a message index is not that of its chunk")

    def _take_other(self, opcode: int, position: int, end: int) -> bool:
        """Take a record of another kind; returns whether it is one that can be. Damaged where it is not whole."""
        body = self._data[position + RECORD.size:end] if opcode != Opcode.MESSAGE else b""
        if opcode == Opcode.HEADER and position == len(MAGIC):
            parsed(opcode, body)
            self.header = self._data[position:end]
        elif opcode == Opcode.MESSAGE:
            return self._take_message(position, end)
        elif opcode in (Opcode.SCHEMA, Opcode.CHANNEL):
            found = parsed(opcode, body)
            if isinstance(found, Schema) and found.encoding.startswith("ros2") and not is_text(found.data):
                return False
            self._define([found] if opcode == Opcode.SCHEMA else [], [found] if opcode == Opcode.CHANNEL else [])
            self._keep(position, end)
        elif opcode == Opcode.ATTACHMENT:
            self._take_attachment(position, end, body)
        elif opcode == Opcode.METADATA:
            found = parsed(opcode, body)
            self._metadata.append(MetadataIndex(length=end - position, name=found.name, offset=position))
            if found.name == METADATA_NAME and METADATA_KEY in found.metadata:
                self.description = found.metadata[METADATA_KEY]
            else:
                self.pieces.append(Piece(position, end, opcode))
        elif opcode >= PRIVATE and self._places.is_plausible(end):
            self._keep(position, end)
        else:
            return False
        return True

    def _take_message(self, position: int, end: int) -> bool:
        if end - position < MESSAGE.size:
            return False
        _, _, channel, _, time, _ = MESSAGE.unpack_from(self._data, position)
        if channel not in self.channels and not self._places.is_plausible(end):
            return False
        self._places.is_unchunked, self._places.newest = True, time
        self.counts[channel] += 1
        self._between(channel, time, time)
        self.first = self.first or self._data[position + MESSAGE.size:min(end, position + MESSAGE.size + HEAD)]
        self._keep(position, end)
        return True

    def _take_attachment(self, position: int, end: int, body: bytes) -> None:
        found = parsed(Opcode.ATTACHMENT, body)
        crc = int.from_bytes(body[-4:], "little")
        if crc and crc != zlib.crc32(body[:-4]):
            if not self._places.is_plausible(end):
                raise Damaged("an attachment is damaged")
            self._problem(position, "an attachment is damaged")
            self.lost_others.append(f"the attachment {found.name}")
            return
        self._attachments.append(AttachmentIndex(
            offset=position, length=end - position, log_time=found.log_time, create_time=found.create_time,
            data_size=len(found.data), name=found.name, media_type=found.media_type))
        self.pieces.append(Piece(position, end, Opcode.ATTACHMENT))

    def _take_data_end(self, position: int, end: int) -> None:
        body = self._data[position + RECORD.size:end]
        if len(body) < 4:
            raise Damaged("the end of the data is cut off")
        self._ended = True
        crc = int.from_bytes(body[:4], "little")
        if crc and crc != _crc32(self._data, position):
            self.is_unplaced = not self.problems
            self._problem(position, "the data are not what their checksum says")
        if self._end is None:
            self._take_summary(end)
        elif end != self._places.limit:
            self._problem(end, "there is something between data and summary")

    def _take_summary(self, position: int) -> None:
        """The file ends here, but not whole; what it says of itself may still be there."""
        self._ended = True
        while True:
            opcode, end = self._places.head(position)
            if not end:
                return
            body = self._data[position + RECORD.size:end]
            try:
                if opcode == Opcode.STATISTICS:
                    self.statistics = Counter(parsed(opcode, body).channel_message_counts)
                elif opcode == Opcode.SCHEMA:
                    schema = parsed(opcode, body)
                    self._told.schemas[schema.id] = schema
                elif opcode == Opcode.CHANNEL:
                    channel = parsed(opcode, body)
                    self._told.channels[channel.id] = channel
            except Damaged:
                return
            position = end

    def _skip(self, position: int) -> int:
        """The next byte at which there is a record; what lies before it is lost."""
        after = self._places.following(position)
        if after is None:
            self._close()
            self.unfinished = self._size - position
            self._problem(position, "it was not finished")
            return self._places.limit
        self._problem(position, "a record is damaged")
        chunks, attachments = self._places.within(position, after)
        if chunks:
            self._close()
        for chunk in chunks:
            self._lose(chunk, Counter(), [])
        self.lost_others += [f"the attachment {name}" for name in attachments]
        if not self._places.chunks and not self._is_rest_of_index(after - position):
            self._close()
            self.is_more_lost = True
        return after

    def _is_rest_of_index(self, size: int) -> bool:
        """Whether so many bytes are no more than the message index that is still missing of the last chunk."""
        chunk = self._open
        if chunk is None or chunk.content is None:
            return False
        missing = [flat for channel, flat in chunk.content.entries.items() if channel not in chunk.seen]
        return size <= sum(_INDEX_HEAD + 8 * len(flat) for flat in missing)

    # -- what it comes to --------------------------------------------------------------------------------------------

    def _judge(self) -> None:
        if not self._compressions & set(COMPRESSIONS):
            self.unknown_compression = " and ".join(sorted(self._compressions))
        told, used = self._told, set(self.counts)
        for ours, others, needed in ((self.schemas, told.schemas, set()), (self.channels, told.channels, used)):
            if any(found != others.get(number, found) for number, found in ours.items()) or others and needed - set(
                    others):
                self.problems.append("topics at the end are not those of the file")
        is_sure = self._end is not None and self._end.is_sure
        self.redefined = [(Opcode.SCHEMA, number) for number, found in self.schemas.items()
                          if is_sure and found != told.schemas.get(number, found)]
        self.redefined += [(Opcode.CHANNEL, number) for number, found in self.channels.items()
                           if is_sure and found != told.channels.get(number, found)]
        for opcode, number in self.redefined:
            if opcode == Opcode.SCHEMA:
                self.schemas[number] = told.schemas[number]
            else:
                self.channels[number] = told.channels[number]
        self.undefined = [(Opcode.SCHEMA, number) for number in told.schemas if number not in self.schemas]
        self.undefined += [(Opcode.CHANNEL, number) for number in told.channels if number not in self.channels]
        self.schemas = {**told.schemas, **self.schemas}
        self.channels.update({number: found for number, found in told.channels.items() if number not in self.channels})
        if used - set(self.channels):
            self.problems.append("messages are of topics that nothing describes")
        if self._end is not None:
            self._compare(self._end)

    def _compare(self, end: End) -> None:
        """Is what the end of the file tells what is in it?"""
        summary, statistics = end.summary, end.statistics
        for mine, theirs in ((self._chunks, summary.chunks), (self._attachments, summary.attachments),
                             (self._metadata, summary.metadata)):
            if theirs and _by_place(mine) != _by_place(theirs):
                self.problems.append("the index at the end is not that of the file")
        if statistics is None:
            return
        self.statistics = Counter(statistics.channel_message_counts)
        told = statistics.message_count, +self.statistics, statistics.chunk_count
        if told != (sum(self.counts.values()), +self.counts, len(self._chunks)) or self.counts and (
                statistics.message_start_time, statistics.message_end_time) != span(self.times.values()):
            self.problems.append("the statistics at the end are not those of the file")

    def _close(self) -> None:
        """Nothing more comes of the chunk that is open."""
        chunk, self._open = self._open, None
        if chunk is None:
            return
        if chunk.content is None:
            self._lose(self._places.chunks.get(chunk.index.chunk_start_offset, chunk.index), chunk.seen, chunk.times)
        elif chunk.seen and +chunk.seen != Counter(
                {channel: len(flat) // 2 for channel, flat in chunk.content.entries.items()}):
            self._problem(chunk.index.chunk_start_offset, "a chunk's message index is not whole")

    def _lose(self, chunk: ChunkIndex, seen: Counter[int], times: list[int]) -> None:
        """A chunk is lost; `seen`, `times`: what the message index tells that follows it."""
        ends = [*sorted(chunk.message_index_offsets.values()),
                chunk.chunk_start_offset + chunk.chunk_length + chunk.message_index_length]
        sizes = {start: (end - start - _INDEX_HEAD) // 16 for start, end in pairwise(ends)}
        counts = +seen or Counter({channel: sizes[start] for channel, start in chunk.message_index_offsets.items()})
        if chunk.chunk_start_offset in self._places.chunks and chunk.message_index_offsets:
            counts = Counter({channel: sizes[start] for channel, start in chunk.message_index_offsets.items()})
        self.lost += counts
        self.is_more_lost |= not counts
        if 0 < chunk.message_start_time <= chunk.message_end_time:
            times = [chunk.message_start_time, chunk.message_end_time]
        self._span(times)

    def _span(self, times: list[int]) -> None:
        if times:
            self.spans.append((min(times), max(times)))

    def _define(self, schemas: list[Schema], channels: list[Channel]) -> None:
        for schema in schemas:
            self.schemas.setdefault(schema.id, schema)
        for channel in channels:
            self.channels.setdefault(channel.id, channel)

    def _keep(self, start: int, end: int) -> None:
        last = self.pieces[-1] if self.pieces else None
        if last is not None and last.kind == Opcode.MESSAGE and last.end == start:
            last.end = end
        else:
            self.pieces.append(Piece(start, end, Opcode.MESSAGE))

    def _between(self, channel: int, start: int, end: int) -> None:
        first, last = self.times.get(channel, (start, end))
        self.times[channel] = min(first, start), max(last, end)

    def _problem(self, position: int, what: str) -> None:
        self.problems.append(f"{what}, at byte {position}")


def span(times: Iterable[tuple[int, int]]) -> tuple[int, int]:
    """Beginning of the first and end of the last of some spans; there must be one."""
    starts, ends = zip(*times, strict=True)
    return min(starts), max(ends)


def is_text(data: bytes) -> bool:
    """Whether bytes are UTF-8."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _by_place(found: list[Any]) -> list[Any]:
    """Index records by where what they name begins; times of a chunk without messages mean nothing."""
    plain = [replace(index, message_start_time=0, message_end_time=0)
             if isinstance(index, ChunkIndex) and not index.message_index_length else index for index in found]
    return sorted(plain, key=lambda index: index.chunk_start_offset if isinstance(index, ChunkIndex) else index.offset)


def _pairs(flat: list[int]) -> list[tuple[int, int]]:
    return list(zip(flat[::2], flat[1::2], strict=True))


def _crc32(data: Data, end: int) -> int:
    crc = 0
    for start in range(0, end, 1 << 20):
        crc = zlib.crc32(data[start:min(start + (1 << 20), end)], crc)
    return crc
