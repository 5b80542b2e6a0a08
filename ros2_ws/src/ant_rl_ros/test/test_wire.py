"""The short way to the wire form against rclpy's own serialization."""

import array
import struct

import numpy as np
import pytest
from ant_rl_interfaces.msg import EpisodeSummary, JointTorques, NodeTiming, Observation
from rclpy.serialization import deserialize_message, serialize_message

from ant_rl_ros.wire import FlatCodec, read_stamp

CODES = {"uint8": "B", "uint32": "I", "int64": "q", "uint64": "Q", "float": "f", "double": "d"}


def random_message(kind, rng):
    message = kind()
    message.header.stamp.sec = int(rng.integers(2**31))
    message.header.stamp.nanosec = int(rng.integers(10**9))
    message.header.frame_id = "w" * int(rng.integers(9))
    for name, field in list(kind.get_fields_and_field_types().items())[1:]:
        if field.startswith("sequence"):
            count = int(rng.choice([0, 1, 2, 3, 5, 8, 105]))
            code = CODES[field.removeprefix("sequence<").removesuffix(">")]
            setattr(message, name, array.array(code, rng.integers(200, size=count).tolist()))
        else:
            setattr(message, name, float(rng.normal()) if field == "double" else int(rng.integers(2**31)))
    return message


def test_a_stamp_is_read_in_either_byte_order():
    message = JointTorques()
    message.header.stamp.sec, message.header.stamp.nanosec = 1_700_000_000, 123_456_789
    data = serialize_message(message)
    swapped = b"\0\0\0\0" + struct.pack(">iI", 1_700_000_000, 123_456_789)
    assert read_stamp(data) == read_stamp(swapped) == 1_700_000_000_123_456_789
    for short in (b"", data[:11]):
        with pytest.raises(ValueError, match=f"must have 12 bytes, found {len(short)}"):
            read_stamp(short)


@pytest.mark.parametrize("kind", [Observation, JointTorques])
def test_both_ways_agree_with_rclpy(kind):
    rng = np.random.default_rng(0)
    codec = FlatCodec(kind)
    for _ in range(500):
        message = random_message(kind, rng)
        assert deserialize_message(codec.write(message), kind) == message
        data = serialize_message(message)
        found = codec.read(data)
        for name in list(kind.get_fields_and_field_types())[1:]:
            expected = getattr(message, name)
            value = getattr(found, name)
            if isinstance(expected, array.array):
                assert value.format == expected.typecode and value.tolist() == expected.tolist(), name
            else:
                assert value == expected, name
        # Whatever was read before must not matter.
        assert codec.write(message) == FlatCodec(kind).write(message)


@pytest.mark.parametrize("kind", [Observation, JointTorques])
def test_what_is_cut_short_is_refused(kind):
    rng = np.random.default_rng(1)
    for _ in range(50):
        data = FlatCodec(kind).write(random_message(kind, rng))
        for length in {0, 2, 4, 11, 20, len(data) // 2, len(data) - 1}:
            with pytest.raises(ValueError, match=f"{kind.__name__} must be whole, found {length} bytes"):
                FlatCodec(kind).read(data[:length])


def test_the_other_byte_order_goes_through_rclpy():
    # Header (stamp, frame "w"), four uint64, three sequences (two floats, none, none), padding, a double.
    content = struct.pack(">iII2s2x4QI2fII4xd", 1, 2, 2, b"w\0", 3, 4, 5, 6, 2, 0.5, -0.25, 0, 0, 0.125)
    found = FlatCodec(JointTorques).read(b"\0\0\0\0" + content)
    assert (found.session, found.step_id, found.policy_version, found.policy_node) == (3, 4, 5, 6)
    assert list(found.torque) == [0.5, -0.25] and found.inference_time == 0.125


@pytest.mark.parametrize("kind, field", [(NodeTiming, "node"), (EpisodeSummary, "terminated")])
def test_other_messages_are_refused(kind, field):
    with pytest.raises(TypeError, match=f"{kind.__name__}.{field} must be a number"):
        FlatCodec(kind)
