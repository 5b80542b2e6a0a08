"""Stamps of headers, exactly."""

from ant_rl_interfaces.msg import NodeTiming
from builtin_interfaces.msg import Time

from ant_rl_ros.stamps import by_stamp, nanoseconds, seconds


def at(sec, nanosec):
    message = NodeTiming()
    message.header.stamp = Time(sec=sec, nanosec=nanosec)
    return message


def test_a_stamp_in_both_units():
    stamp = Time(sec=1_800_000_000, nanosec=999_999_999)
    assert nanoseconds(stamp) == 1_800_000_000_999_999_999
    assert seconds(stamp) == 1_800_000_000.999_999_999


def test_messages_by_their_stamp():
    first, second = at(1, 5), at(2, 0)
    assert by_stamp([first, second]) == {1_000_000_005: first, 2_000_000_000: second}
