"""In which order a bag's messages came, and when, where the clock that stamped them was set meanwhile.

This recorder's times go on evenly (`log_clock`). Those of other recorders, and of its own bags of before, are the
system's, by which readers sort: where that clock was set back, what came later is read first.
"""

from __future__ import annotations

import sqlite3
import struct
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from mcap.opcode import Opcode
from mcap.records import Channel, Chunk, Message
from mcap.stream_reader import StreamReader, get_chunk_data_stream

_BATCH = 200_000_000  # [ns] messages that gathered may lie in the file in another order than they came
_MOMENT = 1_000_000_000  # [ns] jumps within so long are one
_SILENCE = 10_000_000_000  # [ns] a node tells its timing once per second, so that nothing pauses for so long
_RECORD = struct.Struct("<BQ")  # opcode and length of what follows
_MESSAGE = struct.Struct("<HIQQ")  # channel, sequence, received, sent


class Jump(NamedTuple):
    """Where a clock was set.

    Attributes:
        place: of the first message behind it, counted from 0 in the order of the file.
        by: how far [ns], negative where it was set back.
        after: how long that was after the first message, by times that go on evenly [ns].
    """

    place: int
    by: int
    after: int


@dataclass(frozen=True)
class Order:
    """How a bag is to be read.

    Attributes:
        jumps: where its clock was set. Where there are any, the order of the file is that of the messages' coming.
        mixed: observations lie in another order than they came, in the file and by their times.
        beside: two environments published observations at the same time.
        start, end: time of the first and of the last message, by times that go on evenly [ns]; 0 without jumps.
    """

    jumps: tuple[Jump, ...] = ()
    mixed: bool = False
    beside: bool = False
    start: int = 0
    end: int = 0

    def sentences(self) -> list[str]:
        """What is to be said of it."""
        told: list[str] = []
        for jump in _merged(self.jumps):
            told.append(f"the clock that stamped its messages was set {'back' if jump.by < 0 else 'forward'} by "
                        f"{abs(jump.by) / 1e9:.0f} s, {jump.after / 1e9:.1f} s after its first message: they are taken "
                        "in the order in which they were written, at times that go on evenly")
        if self.mixed:
            told.append("its observations lie in another order than they came, and are taken in the order of their "
                        "step_id")
        if self.beside:
            told.append("two environments published observations in it at the same time, and are taken one after the "
                        "other")
        return told


def find_order(files: list[Path], ticks: str, timing: str) -> Order:
    """Read a bag's files once, and tell how it is to be read.

    Args:
        files: of its messages, each whole and not compressed as a file, in their order.
        ticks, timing: full names of the topics of observations and of what nodes tell of themselves.
    """
    times, at, sessions, step_ids = array("q"), array("q"), array("Q"), array("Q")
    told: dict[tuple[bytes, bytes, int], int] = {}  # place of the newest timing by node, host and pid
    silences: list[tuple[int, int]] = []  # places of two of one process, far apart
    for place, (topic, time_ns, data) in enumerate(written(files)):
        times.append(time_ns)
        if topic == ticks:
            session, step_id = _tick(data)
            at.append(place)
            sessions.append(session)
            step_ids.append(step_id)
        elif topic == timing:
            node = _node(data)
            if node in told and time_ns - times[told[node]] > _SILENCE:
                silences.append((told[node], place))
            told[node] = place
    beside = _are_beside(sessions)
    in_file = _displaced(sessions, step_ids)
    by_time = in_file
    if in_file or any(times[later] < times[sooner] for sooner, later in pairwise(at)):
        order = sorted(range(len(at)), key=lambda i: times[at[i]])
        by_time = _displaced([sessions[i] for i in order], [step_ids[i] for i in order])
    if in_file > by_time:  # such as one that was written topic by topic
        return Order(mixed=by_time > 0, beside=beside)
    jumps, total = _jumps(times, by_time > in_file, silences)
    if not jumps:
        return Order(mixed=by_time > 0, beside=beside)
    return Order(tuple(jumps), in_file > 0, beside, times[0], times[-1] - total)


def written(files: list[Path]) -> Iterator[tuple[str, int, bytes]]:
    """Messages of these files in the order in which they were written: topic, time [ns since 1970], bytes (CDR)."""
    for path in files:
        yield from _of_mcap(path) if path.suffix == ".mcap" else _of_sqlite(path)


def _jumps(times: Sequence[int], back_too: bool, silences: list[tuple[int, int]]) -> tuple[list[Jump], int]:
    """Where the clock was set, and how far in all [ns]."""
    jumps: list[Jump] = []
    total = 0
    for place, (before, after) in enumerate(pairwise(times), 1):
        by = after - before
        if -_BATCH <= by <= _SILENCE or (by < 0 and not back_too):
            continue
        # Forward: where processes were silent that never are, or back to where it was before.
        if by < 0 or any(first < place <= last for first, last in silences) or (jumps and abs(total + by) < _SILENCE):
            total += by
            jumps.append(Jump(place, by, after - times[0] - total))
    return jumps, total


def _are_beside(sessions: Sequence[int]) -> bool:
    """Whether a session goes on after another one has begun."""
    seen = set[int]()
    for before, after in pairwise(sessions):
        if after != before:
            seen.add(before)
            if after in seen:
                return True
    return False


def _displaced(sessions: Sequence[int], step_ids: Sequence[int]) -> int:
    """How many ticks come after a later one of their session."""
    newest: dict[int, int] = {}
    count = 0
    for session, step_id in zip(sessions, step_ids, strict=True):
        last = newest.get(session, 0)
        if step_id < last:
            count += 1
        else:
            newest[session] = step_id
    return count


def _merged(jumps: tuple[Jump, ...]) -> list[Jump]:
    """Those of one moment as one: what had gathered then may lie across it."""
    told: list[Jump] = []
    for jump in jumps:
        if told and jump.after - told[-1].after < _MOMENT:
            told[-1] = told[-1]._replace(by=told[-1].by + jump.by)
        else:
            told.append(jump)
    return [jump for jump in told if jump.by]


def _of_mcap(path: Path) -> Iterator[tuple[str, int, bytes]]:
    topics: dict[int, str] = {}
    with open(path, "rb") as file:
        for record in StreamReader(file, emit_chunks=True).records:
            if isinstance(record, Channel):
                topics[record.id] = record.topic
            elif isinstance(record, Message):
                yield topics[record.channel_id], record.log_time, record.data
            elif isinstance(record, Chunk):
                yield from _of_chunk(record, topics)


def _of_chunk(chunk: Chunk, topics: dict[int, str]) -> Iterator[tuple[str, int, bytes]]:
    stream, size = get_chunk_data_stream(chunk, validate_crc=True)
    data = stream.read(size)
    position = 0
    while position < size:
        opcode, length = _RECORD.unpack_from(data, position)
        position += _RECORD.size
        if opcode == Opcode.MESSAGE:
            channel, _, received, _ = _MESSAGE.unpack_from(data, position)
            yield topics[channel], received, data[position + _MESSAGE.size:position + length]
        elif opcode == Opcode.CHANNEL:
            (channel, _), end = struct.unpack_from("<HH", data, position), position + 8
            end += struct.unpack_from("<I", data, position + 4)[0]
            topics[channel] = data[position + 8:end].decode()
        position += length


def _of_sqlite(path: Path) -> Iterator[tuple[str, int, bytes]]:
    database: Any = sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)
    try:
        yield from database.execute("SELECT topics.name, messages.timestamp, messages.data FROM messages "
                                    "JOIN topics ON topics.id = messages.topic_id ORDER BY messages.id")
    finally:
        database.close()


def _tick(data: bytes) -> tuple[int, int]:
    """session and step_id of an Observation."""
    _, position = _text(data, 8)
    session, step_id = struct.unpack_from("<QQ", data, 4 + position + -position % 8)
    return session, step_id


def _node(data: bytes) -> tuple[bytes, bytes, int]:
    """node, host and pid of a NodeTiming."""
    _, position = _text(data, 8)
    node, position = _text(data, position)
    host, position = _text(data, position)
    return node, host, struct.unpack_from("<I", data, 4 + position + -position % 4)[0]


def _text(data: bytes, position: int) -> tuple[bytes, int]:
    """A string in CDR, and the position behind it, which counts from behind the encapsulation."""
    start = position + -position % 4
    end = start + 4 + struct.unpack_from("<I", data, 4 + start)[0]
    return data[8 + start:4 + end], end
