"""Where records of an MCAP file begin, also of one whose lengths can't be trusted."""

from __future__ import annotations

import re
import zlib
from bisect import bisect_right
from collections.abc import Container

from mcap.opcode import Opcode
from mcap.records import AttachmentIndex, ChunkIndex

from recorder_node.mcap_end import Damaged, Data, End, parsed
from recorder_node.mcap_format import MESSAGE, RECORD
from recorder_node.repair.mcap_chunk import read_chunk, read_index

PRIVATE = 0x80  # from here on records are of nobody but their writer
OF_SUMMARY = (Opcode.FOOTER, Opcode.CHUNK_INDEX, Opcode.ATTACHMENT_INDEX, Opcode.STATISTICS, Opcode.METADATA_INDEX,
              Opcode.SUMMARY_OFFSET)
# A record may begin where an opcode and a length of less than 2**40 can be read.
_HEADS = re.compile(rb"(?=[\x03-\x07\x09\x0c\x0f].{5}\x00\x00\x00)", re.DOTALL)
_DEFINITIONS = (Opcode.SCHEMA, Opcode.CHANNEL)
_FARTHEST = 86_400_000_000_000  # [ns] from the messages before it, of one that is guessed


class Places:
    """Finds the beginnings of records.

    Args:
        data: the file.
        end: what its end tells; None where that is damaged or missing.

    Attributes:
        limit: byte at which the data end.
        chunks: index of each chunk by where it begins, as the end of the file tells.
        channels: that are known so far.
        newest: time of the newest message so far [ns since 1970]; 0 before the first.
        is_unchunked: messages lie outside of chunks.
    """

    def __init__(self, data: Data, end: End | None) -> None:
        self._data, self._size = data, len(data)
        self._has_end = end is not None
        self.limit = end.start if end else self._size
        self.channels: Container[int] = ()
        self.newest = 0
        self.is_unchunked = bool(end and end.statistics and not end.statistics.chunk_count)
        self.chunks: dict[int, ChunkIndex] = {}
        self._attachments: list[AttachmentIndex] = []
        starts: set[int] = set()
        if end is not None:
            self._attachments = end.summary.attachments
            starts.update([found.offset for found in end.summary.attachments], [
                found.offset for found in end.summary.metadata])
        for chunk in end.summary.chunks if end else ():
            place, after = chunk.chunk_start_offset, chunk.chunk_start_offset + chunk.chunk_length
            if after <= self.limit:
                self.chunks[place] = chunk
                starts.update((place, after, after + chunk.message_index_length, *chunk.message_index_offsets.values()))
        self._starts = sorted(starts)

    def head(self, position: int) -> tuple[int, int]:
        """Opcode and end of the record there; an end of 0 where there can't be one."""
        limit = self.limit if position < self.limit else self._size
        if position + RECORD.size > limit:
            return 0, 0
        opcode, length = RECORD.unpack_from(self._data, position)
        end = position + RECORD.size + length
        return opcode, end if opcode and end <= limit else 0

    def following(self, position: int) -> int | None:
        """The next byte at which there is a record: one that the end of the file names, else one that can be one."""
        later = self._starts[bisect_right(self._starts, position):]
        known = next(filter(self.is_plausible, later), self.limit if self._has_end else None)
        if self.chunks:  # nothing else has messages
            return known
        bound = self.limit if known is None else known
        guesses = (match.start() for match in _HEADS.finditer(self._data, position + 1, bound))
        return next(filter(self._can_be_guessed, guesses), known)

    def within(self, start: int, end: int) -> tuple[list[ChunkIndex], list[str]]:
        """The chunks and the names of attachments that begin between two bytes, as the end of the file tells."""
        return ([chunk for place, chunk in self.chunks.items() if start <= place < end],
                [found.name for found in self._attachments if start <= found.offset < end])

    def is_plausible(self, position: int) -> bool:
        """Whether a record begins, or the data end, at a place that something names."""
        if position == self.limit:
            return True
        opcode, end = self.head(position)
        if not end:
            return False
        try:
            return self._is_one(opcode, position, end)
        except Damaged:
            return False

    def _is_one(self, opcode: int, position: int, end: int) -> bool:
        if opcode == Opcode.CHUNK:
            return read_chunk(self._data, position, end)[1] == end
        if opcode == Opcode.MESSAGE_INDEX:
            channel, flat = read_index(self._data, position, end)
            return end - position == RECORD.size + 6 + 8 * len(flat)
        if opcode == Opcode.MESSAGE:
            return end - position >= MESSAGE.size
        if opcode == Opcode.DATA_END:
            return end - position == RECORD.size + 4
        if opcode < PRIVATE:
            parsed(opcode, self._data[position + RECORD.size:end])
        return True

    def _can_be_guessed(self, position: int) -> bool:
        """Whether a record begins where nothing but its own look says so: numbers of messages may look like one."""
        opcode, end = self.head(position)
        if not self.is_plausible(position) or position == self.limit:
            return False
        body = self._data[position + RECORD.size:end] if opcode in (Opcode.ATTACHMENT, Opcode.METADATA) else b""
        if opcode == Opcode.ATTACHMENT:
            return int.from_bytes(body[-4:], "little") == zlib.crc32(body[:-4])
        if opcode == Opcode.METADATA:
            return bool(parsed(opcode, body).name)
        if opcode == Opcode.MESSAGE_INDEX:
            return end - position > RECORD.size + 6
        if opcode == Opcode.DATA_END:
            following, after = self.head(end)
            return following in (*_DEFINITIONS, *OF_SUMMARY) and bool(after) and self.is_plausible(end)
        if opcode == Opcode.MESSAGE:  # outside of chunks only: within one that is damaged nothing vouches for it
            _, _, channel, _, time, _ = MESSAGE.unpack_from(self._data, position)
            return (self.is_unchunked and channel in self.channels and self.is_plausible(end)
                    and abs(time - self.newest) < _FARTHEST)
        return self.is_unchunked if opcode in _DEFINITIONS else opcode == Opcode.CHUNK
