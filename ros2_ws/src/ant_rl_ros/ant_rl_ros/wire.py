"""Flat messages to and from their wire form in one step each, past rclpy's field-by-field conversion.

rclpy makes a C structure of every Python message and serializes that, and the other way round: more than half of a
round trip between two processes. The messages of the lock-step loop are a header, numbers and arrays of numbers, so
one `struct` call per message does. The wire form is the ordinary one (CDR, OMG DDS-XTypes "plain CDR version 1", as
every ROS 2 middleware speaks it): others publish, subscribe and record these topics as they always do.
"""

from __future__ import annotations

import struct
import sys
from types import SimpleNamespace
from typing import Any

from rclpy.serialization import deserialize_message

_CODES = {"uint8": "B", "int32": "i", "uint32": "I", "int64": "q", "uint64": "Q", "float": "f", "double": "d"}
_LITTLE_ENDIAN = b"\x00\x01"  # plain CDR; two bytes of options follow
_ENCAPSULATION = 4  # [bytes] before the content, which alignment counts from


def read_stamp(data: bytes) -> int:
    """Stamp [ns] of a message that begins with a std_msgs/Header, from its wire form; ValueError if it ends before."""
    try:
        seconds, nanoseconds = struct.unpack_from("<iI" if data[1] & 1 else ">iI", data, _ENCAPSULATION)
    except (struct.error, IndexError) as error:
        raise ValueError(f"a header must have 12 bytes, found {len(data)}") from error
    return seconds * 1_000_000_000 + nanoseconds


class FlatCodec:
    """Writes and reads one message type: a std_msgs/Header first, then numbers and sequences of numbers.

    Args:
        msg_type: the message class.

    Raises:
        TypeError: for a message with other fields.
    """

    def __init__(self, msg_type: Any) -> None:
        self._msg_type = msg_type
        fields = list(msg_type.get_fields_and_field_types().items())
        if fields[0] != ("header", "std_msgs/Header"):
            raise TypeError(f"{msg_type.__name__} must begin with a std_msgs/Header, found {fields[0]}")
        # Name, struct code, whether it is a sequence.
        self._fields = []
        for name, kind in fields[1:]:
            element = kind.removeprefix("sequence<").removesuffix(">")
            if element not in _CODES:
                raise TypeError(f"{msg_type.__name__}.{name} must be a number or a sequence of numbers, found {kind}")
            self._fields.append((name, _CODES[element], element != kind))
        self._layouts: dict[tuple[int, ...], struct.Struct] = {}
        self._last: tuple[tuple[int, ...], struct.Struct] | None = None

    def write(self, message: Any) -> bytes:
        """The wire form of a message, for `Publisher.publish`."""
        header = message.header
        frame = header.frame_id.encode() + b"\0"
        counts, values = [len(frame)], [header.stamp.sec, header.stamp.nanosec, len(frame), frame]
        for name, _, is_sequence in self._fields:
            value = getattr(message, name)
            if is_sequence:
                counts.append(len(value))
                values.append(len(value))
                values.append(value.tobytes())
            else:
                values.append(value)
        return self._layout(tuple(counts)).pack(_LITTLE_ENDIAN, *values)

    def read(self, data: bytes) -> Any:
        """The fields of a message in its wire form; sequences are memoryviews, the header is left out.

        What is not little-endian plain CDR goes through rclpy. ValueError if the data is not whole.
        """
        if data[:2] != _LITTLE_ENDIAN or sys.byteorder != "little":
            try:
                return deserialize_message(data, self._msg_type)
            except RuntimeError as error:
                raise self._not_whole(data) from error
        if self._last is not None and len(data) >= self._last[1].size:  # some middleware adds a few bytes
            found = self._unpack(data, *self._last)
            if found is not None:
                return found
        counts = self._counts(data)
        self._last = counts, self._layout(counts)
        return self._unpack(data, *self._last)

    def _unpack(self, data: bytes, counts: tuple[int, ...], layout: struct.Struct) -> Any:
        """The message, None if it has other counts than these."""
        values = iter(layout.unpack_from(data))
        next(values), next(values), next(values)  # encapsulation and stamp
        if next(values) != counts[0]:
            return None
        next(values)
        message = SimpleNamespace()
        expected = iter(counts)
        next(expected)
        fields = message.__dict__
        for name, code, is_sequence in self._fields:
            value = next(values)
            if is_sequence:
                if value != next(expected):
                    return None
                value = memoryview(next(values)).cast(code)  # type: ignore[call-overload]  # it is one of _CODES
            fields[name] = value
        return message

    def _counts(self, data: bytes) -> tuple[int, ...]:
        """Length of the frame's name and of every sequence; ValueError if the data is cut short."""
        try:
            position = _ENCAPSULATION + 8
            counts = [struct.unpack_from("<I", data, position)[0]]
            position += 4 + counts[0]
            for _, code, is_sequence in self._fields:
                if is_sequence:
                    position += -(position - _ENCAPSULATION) % 4
                    counts.append(struct.unpack_from("<I", data, position)[0])
                    position += 4
                size = struct.calcsize(code)
                if not is_sequence or counts[-1]:
                    position += -(position - _ENCAPSULATION) % size + size * (counts[-1] if is_sequence else 1)
        except struct.error:
            position = len(data) + 1
        if position > len(data):
            raise self._not_whole(data)
        return tuple(counts)

    def _not_whole(self, data: bytes) -> ValueError:
        return ValueError(f"{self._msg_type.__name__} must be whole, found {len(data)} bytes that end early")

    def _layout(self, counts: tuple[int, ...]) -> struct.Struct:
        """The wire form of a message with sequences of these lengths."""
        layout = self._layouts.get(counts)
        if layout is None:
            lengths = iter(counts)
            frame = next(lengths)
            text, position = f"<2s2xiII{frame}s", 12 + frame

            def put(size: int, code: str, count: int = 1) -> None:
                nonlocal text, position
                padding = -position % size
                text += "x" * padding + code
                position += padding + size * count

            for _, code, is_sequence in self._fields:
                size = struct.calcsize(code)
                if not is_sequence:
                    put(size, code)
                    continue
                count = next(lengths)
                put(4, "I")
                if count:
                    put(size, f"{size * count}s", count)
                else:
                    text += "0s"
            if len(self._layouts) > 256:  # lengths differ with the rows that end; they would add up over days
                self._layouts.clear()
            layout = self._layouts[counts] = struct.Struct(text)
        return layout
