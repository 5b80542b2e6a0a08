"""What has gathered goes into the bag in the order of its coming, and what did not come is counted."""

from collections import Counter, deque

import pytest
from rosbags.rosbag2 import Reader

from recorder_node.definitions import Definition
from recorder_node.recording import Recorded, Recording
from recorder_node.storage import BagError, Topic

TEXT = Definition("std_msgs/msg/String", "string data", "RIHS01_" + "5" * 64)


def info(sequence, received=100, publisher=b"a"):
    """As rclpy gives it; Jazzy has no publisher."""
    told = {"received_timestamp": received, "source_timestamp": received - 5, "publication_sequence_number": sequence}
    return told if publisher is None else {**told, "publisher_gid": {"data": publisher}}


def recorded(name="/text", has_one_publisher=False):
    return Recorded(name, str, deque(), has_one_publisher)


def recording(path, counters=None):
    described = []

    def describe(topic):
        described.append(topic.name)
        return Topic(topic.name, TEXT)
    return Recording(path, "mcap", "kilted", describe, Counter() if counters is None else counters), described


def test_topics_are_written_together_in_the_order_of_their_coming(tmp_path):
    bag, described = recording(tmp_path / "bag")
    a, b, silent = recorded("/a"), recorded("/b"), recorded("/silent")
    bag.topics += [a, b, silent]
    a.inbox += [(b"a1", info(1, 10)), (b"a2", info(2, 30))]
    b.inbox += [(b"b1", info(1, 20))]
    assert bag.take() == 3 and not a.inbox and not b.inbox
    a.inbox += [(b"a3!", info(3, 40))]
    assert bag.take() == 1
    assert bag.take() == 0
    assert (bag.messages, bag.bytes) == (4, 9)
    assert described == ["/a", "/b"]  # each at its first message
    assert sum(bag.close().counts.values()) == 4
    with Reader(tmp_path / "bag") as reader:
        assert [(c.topic, stamp, data) for c, stamp, data in reader.messages()] == [
            ("/a", 10, b"a1"), ("/b", 20, b"b1"), ("/a", 30, b"a2"), ("/a", 40, b"a3!")]


def test_the_longest_queue_is_told_once(tmp_path):
    bag, _ = recording(tmp_path / "bag")
    a, b = recorded("/a"), recorded("/b")
    bag.topics += [a, b]
    for waiting in (2, 7, 3):
        a.inbox += [(b"", info(i)) for i in range(waiting)]
        b.inbox += [(b"", info(1))]
        bag.take()
    assert (bag.most_queued(), bag.most_queued()) == (7, 0)
    bag.close()


def test_gaps_are_counted_by_publisher(tmp_path):
    counters = Counter()
    bag, _ = recording(tmp_path / "bag", counters)
    bag.topics.append(topic := recorded())
    topic.inbox += [(b"", info(5)), (b"", info(6)), (b"", info(1, publisher=b"b"))]
    bag.take()
    assert counters == {}
    topic.inbox += [(b"", info(9)), (b"", info(4, publisher=b"b")), (b"", info(3)), (b"", info(4))]
    bag.take()
    assert counters == {"dropped": 2 + 2}  # 7 and 8; 2 and 3 of b; nothing of a publisher that began anew
    bag.close()


@pytest.mark.parametrize(("has_one_publisher", "missed"), [(True, 3), (False, 0)])
def test_without_a_publisher_only_a_topic_that_has_one_is_counted(has_one_publisher, missed):
    topic = recorded(has_one_publisher=has_one_publisher)
    assert topic.missed(info(1, publisher=None)) == 0
    assert topic.missed(info(5, publisher=None)) == missed


def test_what_was_taken_is_flushed_once_per_second(tmp_path, monkeypatch):
    monkeypatch.setattr("recorder_node.recording.time.monotonic", lambda: 100.0)
    bag, _ = recording(tmp_path / "bag")
    flushed = []
    monkeypatch.setattr(bag._bag, "flush", lambda: flushed.append(now))
    for now in (100.0, 100.9, 101.0, 101.5, 102.1):
        bag.flush_if_due(now)
    assert flushed == [101.0, 102.1]
    bag.close()


def test_a_folder_that_is_there_is_refused(tmp_path):
    with pytest.raises(BagError, match="must be a folder that does not exist yet"):
        recording(tmp_path)
