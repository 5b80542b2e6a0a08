"""Bags whose clock was set: in which order their messages came, and when."""

import re
import struct

import pytest

from recorder_node.bag import BagWriter
from recorder_node.bag_reader import BagReader
from recorder_node.definitions import Definition
from recorder_node.storage import Message, Topic

START, TICK, SECOND = 1_700_000_000_000_000_000, 50_000_000, 1_000_000_000
HOUR = 3600 * SECOND
OBSERVATION = Definition("ant_rl_interfaces/msg/Observation", "uint64 x", "")
TIMING = Definition("ant_rl_interfaces/msg/NodeTiming", "uint64 x", "")


def text(position, value):
    """A string in CDR at this position, which counts from behind the encapsulation."""
    return bytes(-position % 4) + struct.pack("<I", len(value) + 1) + value.encode() + b"\0"


def observation(session, step_id, frame="world"):
    body = struct.pack("<iI", 1, 2) + text(8, frame)
    return b"\0\1\0\0" + body + bytes(-len(body) % 8) + struct.pack("<QQI", session, step_id, 1)


def timing(node="/env", host="desk", pid=17):
    body = struct.pack("<iI", 1, 2) + text(8, "")
    for value in (node, host):
        body += text(len(body), value)
    return b"\0\1\0\0" + body + bytes(-len(body) % 4) + struct.pack("<I", pid)


def story(count=240, session=9, with_timing=True):
    """(topic, time since the start, data) in the order of their coming: a tick each 50 ms, timing once per second."""
    for step_id in range(count):
        yield "observation", step_id * TICK, observation(session, step_id)
        if with_timing and step_id % 20 == 10:
            yield "timing", step_id * TICK + 1000, timing()


def bag(path, messages, storage="mcap", every=37):
    writer = BagWriter(path, storage, "test")
    ids = {"observation": writer.add_topic(Topic("/observation", OBSERVATION)),
           "timing": writer.add_topic(Topic("/timing", TIMING))}
    for count, (topic, at, data) in enumerate(messages):
        writer.write([Message(ids[topic], START + at, START + at, count, data)])
        if count % every == every - 1:
            writer.flush()
    writer.close()
    return path


def read(path, *topics):
    with BagReader(path) as reader:
        return list(reader.raw_messages(*(topics or ("observation", "timing")))), reader


def set_by(messages, *jumps):
    """The messages with the clock set by so much from these step_ids on."""
    def at(time):
        return time + sum(by for step_id, by in jumps if time >= step_id * TICK)
    return [(topic, at(time), data) for topic, time, data in messages]


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
@pytest.mark.parametrize(("jumps", "said"), [
    ([(140, -HOUR)], [("back", 3600, 7.0)]),
    ([(140, HOUR)], [("forward", 3600, 7.0)]),
    ([(1, -HOUR)], [("back", 3600, 0.0)]),
    ([(238, -5 * SECOND)], [("back", 5, 11.9)]),
    ([(60, -HOUR), (180, HOUR)], [("back", 3600, 3.0), ("forward", 3600, 9.0)])])
def test_messages_come_in_the_order_of_their_coming_at_even_times(tmp_path, storage, jumps, said):
    expected = list(story())
    found, reader = read(bag(tmp_path / "bag", set_by(expected, *jumps), storage))
    assert [(topic, data) for topic, _, data in found] == [(topic, data) for topic, _, data in expected]
    off = [time - START - at for (_, time, _), (_, at, _) in zip(found, expected, strict=True)]
    assert max(map(abs, off)) <= 2 * TICK
    assert abs(reader.span[1] - reader.span[0] - expected[-1][1]) <= 2 * TICK
    told = [re.search(r"set (back|forward) by (\d+) s, ([\d.]+) s after", each) for each in reader.order.sentences()]
    assert [(each[1], int(each[2])) for each in told] == [each[:2] for each in said]
    assert [float(each[3]) for each in told] == pytest.approx([each[2] for each in said], abs=0.11)


def test_a_clock_that_was_not_set_changes_nothing(tmp_path):
    expected = list(story())
    found, reader = read(bag(tmp_path / "bag", expected))
    assert found == [(topic, START + at, data) for topic, at, data in sorted(expected, key=lambda each: each[1])]
    assert not reader.order.jumps and not reader.order.mixed and not reader.order.sentences()
    assert reader.span == (START, START + 239 * TICK)


def test_a_pause_without_nodes_is_a_pause(tmp_path):
    """Nothing tells that the clock was set where no process was there before and after it."""
    paused = [each for each in set_by(story(), (140, HOUR)) if each[0] == "observation"]
    restarted = [(topic, at, timing(pid=18) if topic == "timing" and at > HOUR else data)
                 for topic, at, data in set_by(story(), (140, HOUR))]
    for name, messages in (("silent", paused), ("restarted", restarted)):
        found, reader = read(bag(tmp_path / name, messages), "observation")
        assert not reader.order.jumps and found[-1][1] == START + HOUR + 239 * TICK


def test_a_file_that_was_written_topic_by_topic_is_read_by_time(tmp_path):
    expected = list(story())
    by_topic = sorted(expected, key=lambda each: each[0], reverse=True)
    found, reader = read(bag(tmp_path / "bag", by_topic))
    assert [time for _, time, _ in found] == sorted(START + at for _, at, _ in expected) and not reader.order.jumps


def test_what_gathered_across_the_moment_is_put_in_order_too(tmp_path):
    """As recorders write it that sort each batch by the time of its messages."""
    messages = set_by(story(), (140, -HOUR))
    batch = sorted(messages[144:152], key=lambda each: each[1])
    assert batch != messages[144:152]
    _, reader = read(bag(tmp_path / "bag", messages[:144] + batch + messages[152:]))
    assert reader.order.mixed and reader.order.jumps
    back, *others = reader.order.sentences()
    assert "set back by 3600" in back and len(others) == 1 and "step_id" in others[0]
    assert reader.span[1] - reader.span[0] == pytest.approx(239 * TICK, abs=3 * TICK)


def test_two_environments_at_once_are_told(tmp_path):
    both = sorted([*story(60), *story(60, session=10, with_timing=False)], key=lambda each: each[1])
    _, reader = read(bag(tmp_path / "bag", both))
    assert reader.order.beside and "two environments" in reader.order.sentences()[0]
    one_after_the_other = [*story(60), *((topic, at + 60 * TICK, data) for topic, at, data in story(60, session=10))]
    _, reader = read(bag(tmp_path / "other", one_after_the_other))
    assert not reader.order.beside and not reader.order.sentences()
