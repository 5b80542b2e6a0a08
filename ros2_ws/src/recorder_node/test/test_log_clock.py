"""Times of reception go on evenly, whenever the system's clock is set."""

from collections import Counter, deque

import pytest
from rosbags.rosbag2 import Reader

from recorder_node.definitions import Definition
from recorder_node.log_clock import LogClock
from recorder_node.recording import Recorded, Recording
from recorder_node.storage import Topic

NOON = 1_700_000_000_000_000_000  # [ns]
HOUR = 3_600_000_000_000
TICK = 50_000_000


class Clocks:
    """A steady clock, and a system's clock that may be set."""

    def __init__(self):
        self.steady, self.set_by = 5_000_000_000, 0
        self.log = LogClock(lambda: NOON + self.steady + self.set_by, lambda: self.steady)

    def stamp(self):
        return NOON + self.steady + self.set_by


@pytest.mark.parametrize("by", [-HOUR, HOUR, -2_000_000_000, 300_000_000, -20_000_000])
def test_times_go_on_as_if_the_clock_had_not_been_set(by):
    clocks, expected, found = Clocks(), [], []
    for batch in range(40):
        stamps = []
        for message in range(5):
            clocks.steady += 4_000_000
            if (batch, message) == (20, 3):
                clocks.set_by += by
            stamps.append(clocks.stamp())
            expected.append(NOON + clocks.steady)
        assert clocks.log.look() == (by if batch == 20 else 0)
        found += map(clocks.log.even, stamps)
    assert max(abs(one - other) for one, other in zip(found, expected, strict=True)) <= (
        0 if abs(by) > 40_000_000 else abs(by))


def test_what_waited_since_before_the_clock_was_set_keeps_its_time():
    clocks = Clocks()
    old, at = clocks.stamp(), clocks.steady
    clocks.steady += 2_000_000_000
    clocks.set_by = -HOUR
    clocks.log.look()
    clocks.steady += 20_000_000
    clocks.log.look()
    assert abs(clocks.log.even(old) - NOON - at) <= 1
    assert clocks.log.even(clocks.stamp()) == NOON + clocks.steady


def test_a_clock_that_is_left_alone_changes_nothing():
    clocks = Clocks()
    for distance in (0, 100, -5_000_000):
        clocks.set_by = distance
        assert clocks.log.look() == 0 and clocks.log.even(123) == 123


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
@pytest.mark.parametrize("by", [-HOUR, HOUR])
def test_a_bag_s_messages_lie_in_the_order_of_their_coming(tmp_path, storage, by):
    clocks = Clocks()
    text = Definition("std_msgs/msg/String", "string data", "RIHS01_" + "5" * 64)
    bag = Recording(tmp_path / "bag", storage, "kilted", lambda topic: Topic(topic.name, text), Counter())
    bag._clock = clocks.log
    topics = [Recorded(f"/{name}", str, deque(), False) for name in "ab"]
    bag.topics += topics
    told = []
    for count in range(30):
        for topic in topics:
            clocks.steady += TICK // 2
            if (count, topic) == (14, topics[1]):
                clocks.set_by = by
            topic.inbox.append((b"%d" % count, {"received_timestamp": clocks.stamp(), "source_timestamp": 1,
                                                "publication_sequence_number": count}))
        if count % 4 == 3:
            bag.take()
            told.append(bag.clock_set)
    bag.take()
    contents = bag.close()
    assert [by for by in told if by] == [by] and contents.end - contents.start == 59 * TICK // 2
    with Reader(tmp_path / "bag") as reader:
        found = [(connection.topic, data) for connection, _, data in reader.messages()]
    assert found == [(f"/{name}", b"%d" % count) for count in range(30) for name in "ab"]
