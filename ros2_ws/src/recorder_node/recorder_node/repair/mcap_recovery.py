"""What an MCAP file holds, in the words of a bag, and a whole file of what can be kept of it."""

from __future__ import annotations

from collections import Counter
from typing import Any, BinaryIO

from mcap.opcode import Opcode
from mcap.records import Attachment, AttachmentIndex, Channel, Header, MetadataIndex

from recorder_node.definitions import Definition
from recorder_node.mcap_end import Data, parsed
from recorder_node.mcap_format import MAGIC, RECORD, Summary, encoded, ending, indexed
from recorder_node.metadata import parse_qos
from recorder_node.repair.found import UNDESCRIBED, Found, Lost, is_compressed
from recorder_node.repair.mcap_chunk import Changes, content, edited, edited_chunk, read_chunk, timed
from recorder_node.repair.mcap_scan import McapScan, Piece, span
from recorder_node.storage import Topic


def found(scan: McapScan) -> Found:
    """What a scan found, by topic."""
    times = [found for channel, found in scan.times.items() if channel in scan.channels]
    start, end = span(times) if times else (None, None)
    result = Found(start=start, end=end, description=scan.description, unfinished=scan.unfinished,
                   reason=scan.problems[0] if scan.problems else "")
    for channel in sorted(scan.channels.values(), key=lambda channel: channel.id):
        result.topics.setdefault(channel.topic, _topic(scan, channel))
    result.counts = _by_topic(scan, {channel: count for channel, count in scan.counts.items()
                                     if channel in scan.channels})
    result.compressed = is_compressed(scan.first)
    undescribed = {channel: count for channel, count in scan.counts.items() if channel not in scan.channels}
    result.lost = Lost(_by_topic(scan, scan.lost) + _by_topic(scan, undescribed), None, None, scan.is_more_lost,
                       scan.lost_others)
    for first, last in scan.spans:
        result.lost.between(first, last)
    if scan.statistics is not None:
        result.promised = _by_topic(scan, scan.statistics)
    return result


def recover(scan: McapScan, data: Data, file: BinaryIO, description: str) -> None:
    """Write a whole file of what can be kept; OSError where there is no room.

    Args:
        scan: of the file.
        data: the file.
        file: empty, to write to.
        description: text of the bag's metadata, of what the new file holds.
    """
    out = _Output(file)
    header = scan.header or encoded([Header("ros2", "ant_rl repair")])
    out.write(MAGIC + header)
    tables: dict[int, Any] = {Opcode.SCHEMA: scan.schemas, Opcode.CHANNEL: scan.channels}
    out.write(encoded([tables[opcode][number] for opcode, number in scan.undefined]))
    undescribed = set(scan.counts) - set(scan.channels)
    changes: dict[tuple[int, int], bytes] = {
        (opcode, number): encoded([tables[opcode][number]]) for opcode, number in scan.redefined}
    changes |= {(Opcode.MESSAGE, channel): b"" for channel in undescribed}
    summary = Summary(scan.schemas, dict(sorted(scan.channels.items())))
    if described := [times for channel, times in scan.times.items() if channel not in undescribed]:
        summary.start, summary.end = span(described)
    for piece in scan.pieces:
        if piece.kind == Opcode.CHUNK:
            _copy_chunk(out, data, piece, changes, summary)
        elif piece.kind == Opcode.MESSAGE and changes:
            for part in edited(data, piece.start, piece.end, changes):
                out.write(part)
        else:
            _copy(out, data, piece, summary)
    summary.counts = {channel: scan.counts[channel] for channel in summary.channels}
    out.write(ending(out.position, description, summary))


class _Output:
    """Counts what it writes."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self.position = file, 0

    def write(self, data: bytes) -> None:
        self._file.write(data)
        self.position += len(data)


def _copy_chunk(out: _Output, data: Data, piece: Piece, changes: Changes, summary: Summary) -> None:
    """A chunk as it is, unless its head is wrong or something in it is changed, and an index of its own."""
    chunk, _ = read_chunk(data, piece.start, piece.end)
    inside = content(chunk)
    record = data[piece.start:piece.end]
    if set(changes) & {*((Opcode.MESSAGE, number) for number in inside.entries),
                       *((Opcode.SCHEMA, schema.id) for schema in inside.schemas),
                       *((Opcode.CHANNEL, channel.id) for channel in inside.channels)}:
        chunk = edited_chunk(chunk, changes)
        inside, record = content(chunk), encoded([chunk])
    elif not piece.is_raw:
        chunk = timed(chunk)
        record = encoded([chunk])
    index, indexes = indexed(chunk, out.position, len(record), inside.entries)
    out.write(record + indexes)
    summary.chunks.append(index)


def _copy(out: _Output, data: Data, piece: Piece, summary: Summary) -> None:
    """Records as they are; an attachment or metadata gets its place in the index."""
    length = piece.end - piece.start
    if piece.kind != Opcode.MESSAGE:
        record = parsed(piece.kind, data[piece.start + RECORD.size:piece.end])
        if isinstance(record, Attachment):
            summary.attachments.append(AttachmentIndex(
                offset=out.position, length=length, log_time=record.log_time, create_time=record.create_time,
                data_size=len(record.data), name=record.name, media_type=record.media_type))
        else:
            summary.metadata.append(MetadataIndex(offset=out.position, length=length, name=record.name))
    for start in range(piece.start, piece.end, 1 << 20):
        out.write(data[start:min(start + (1 << 20), piece.end)])


def _topic(scan: McapScan, channel: Channel) -> Topic:
    schema = scan.schemas.get(channel.schema_id)
    name, text = (schema.name, schema.data.decode(errors="replace")) if schema else ("", "")
    definition = Definition(name, text, channel.metadata.get("topic_type_hash", ""))
    return Topic(channel.topic, definition, parse_qos(channel.metadata.get("offered_qos_profiles", "")),
                 channel.message_encoding)


def _by_topic(scan: McapScan, counts: dict[int, int] | Counter[int]) -> Counter[str]:
    result: Counter[str] = Counter()
    for channel, count in counts.items():
        name = scan.channels[channel].topic if channel in scan.channels else UNDESCRIBED
        result[name] += count
    return result
