"""Bags as the rosbags library and the mcap package read them, whole, cut off, and on a disk that is full."""

import errno
import io
import itertools
import json
import sqlite3

import pytest
import yaml
from mcap.data_stream import ReadDataStream
from mcap.reader import make_reader
from mcap.records import Message as Record, MessageIndex
from rosbags.interfaces import QosDurability, QosReliability
from rosbags.rosbag2 import Reader, ReaderError

from recorder_node import mcap_storage
from recorder_node.bag import BagWriter
from recorder_node.definitions import Definition, read_definition
from recorder_node.repair.bag import repair
from recorder_node.storage import BagError, Message, Topic

FOREVER = {"sec": 9223372036, "nsec": 854775807}
LATCHED = {"history": "keep_last", "depth": 1, "reliability": "reliable", "durability": "transient_local",
           "deadline": FOREVER, "lifespan": FOREVER, "liveliness": "automatic", "liveliness_lease_duration": FOREVER,
           "avoid_ros_namespace_conventions": False}
TEXT = Definition("std_msgs/msg/String", "string data", "RIHS01_" + "5" * 64)
TICK = Definition("robot_msgs/msg/Tick", "std_msgs/String name\n" + "=" * 80 + "\nMSG: std_msgs/String\nstring data",
                  "RIHS01_" + "7" * 64)
STORAGES = ("mcap", "sqlite3")
BLOCK = bytes(range(256)) * 8


def numbered(topic_id, numbers):
    """A message for each number, 1 us apart, received 7 ns after it was sent."""
    return [Message(topic_id, 1000 * i + 7, 1000 * i, i, i.to_bytes(4, "little") + BLOCK) for i in numbers]


def begun(path, storage):
    writer = BagWriter(path, storage, "kilted")
    return writer, writer.add_topic(Topic("/text", TEXT, (LATCHED, LATCHED))), writer.add_topic(Topic("/tick", TICK))


def read(path):
    """Time and bytes of every message, by topic, in the reader's order."""
    with Reader(path) as reader:
        found = {connection.topic: [] for connection in reader.connections}
        for connection, stamp, data in reader.messages():
            found[connection.topic].append((stamp, data))
        assert reader.message_count == sum(map(len, found.values()))
    return found


def expected(numbers):
    return [(message.received, message.data) for message in numbered(0, numbers)]


@pytest.mark.parametrize("storage", STORAGES)
def test_what_was_written_is_read(tmp_path, storage):
    path = tmp_path / "runs" / "first"
    writer, text, tick = begun(path, storage)
    for start in range(0, 1200, 100):  # more than one chunk
        writer.write(numbered(text, range(start, start + 100)))
        writer.write(numbered(tick, range(start, start + 100, 2)))
    contents = writer.close()
    assert contents.counts == {text: 1200, tick: 600} and (contents.start, contents.end) == (7, 1_199_007)
    assert read(path) == {"/text": expected(range(1200)), "/tick": expected(range(0, 1200, 2))}
    with Reader(path) as reader:
        assert (reader.start_time, reader.end_time, reader.ros_distro) == (7, 1_199_008, "kilted")
        connections = {connection.topic: connection for connection in reader.connections}
        assert connections["/tick"].msgdef.data == TICK.text
        assert [connection.digest for connection in reader.connections] == [TEXT.type_hash, TICK.type_hash]
        offered = connections["/text"].ext.offered_qos_profiles
        assert len(offered) == 2 and offered[0].depth == 1
        assert (offered[0].reliability, offered[0].durability) == (QosReliability.RELIABLE,
                                                                   QosDurability.TRANSIENT_LOCAL)
        assert offered[0].deadline == (9223372036, 854775807)


def test_an_mcap_file_is_whole_without_its_folder(tmp_path):
    writer, text, tick = begun(tmp_path / "bag", "mcap")
    writer.write([*numbered(text, range(1200)), *numbered(tick, [1200])])
    writer.close()
    with open(tmp_path / "bag" / "bag_0.mcap", "rb") as file:
        reader = make_reader(file, validate_crcs=True)
        summary = reader.get_summary()
        assert summary.statistics.message_count == 1201 and len(summary.chunk_indexes) > 1
        assert {schema.name: schema.encoding for schema in summary.schemas.values()} == {
            TEXT.type_name: "ros2msg", TICK.type_name: "ros2msg"}
        assert yaml.safe_load(summary.channels[text].metadata["offered_qos_profiles"]) == [LATCHED, LATCHED]
        assert summary.channels[tick].metadata["topic_type_hash"] == TICK.type_hash
        messages = [message for _, _, message in reader.iter_messages(topics=["/text"])]
        assert [message.sequence for message in messages] == list(range(1200))
        assert {message.log_time - message.publish_time for message in messages} == {7}
        # An index names the place of each message in its chunk.
        for chunk in summary.chunk_indexes:
            for topic_id, offset in chunk.message_index_offsets.items():
                file.seek(offset + 9)
                index = MessageIndex.read(ReadDataStream(file))
                assert index.channel_id == topic_id
                for stamp, place in index.records:
                    file.seek(chunk.chunk_start_offset + chunk.chunk_length - chunk.uncompressed_size + place)
                    assert file.read(1) == b"\x05"
                    length = int.from_bytes(file.read(8), "little")
                    message = Record.read(ReadDataStream(file), length)
                    assert (message.channel_id, message.log_time) == (topic_id, stamp)
        described, = (record.metadata["serialized_metadata"] for record in reader.iter_metadata())
    whole = yaml.safe_load((tmp_path / "bag" / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
    assert yaml.safe_load(described) == whole and whole["version"] == 9


@pytest.mark.parametrize("storage", STORAGES)
def test_a_bag_without_messages(tmp_path, storage):
    BagWriter(tmp_path / "bag", storage, "kilted").close()
    assert read(tmp_path / "bag") == {}


@pytest.mark.parametrize("storage", STORAGES)
def test_a_bag_whose_writer_was_killed(tmp_path, storage):
    path = tmp_path / "bag"
    writer, text, tick = begun(path, storage)
    writer.write([*numbered(text, range(600)), *numbered(tick, range(10))])
    writer.flush()
    writer.write(numbered(text, range(600, 620)))  # in memory only
    writer.abandon()
    contents = repair(path).contents
    assert contents.counts[text] >= 600
    assert read(path) == {"/text": expected(range(contents.counts[text])), "/tick": expected(range(10))}
    before = (path / "metadata.yaml").read_text()
    again = repair(path)
    assert again.contents == contents and not again.is_changed and (path / "metadata.yaml").read_text() == before
    with Reader(path) as reader:
        assert [connection.digest for connection in reader.connections] == [TEXT.type_hash, TICK.type_hash]
        assert [len(connection.ext.offered_qos_profiles) for connection in reader.connections] == [2, 0]


def test_a_file_that_is_cut_off_anywhere_is_repaired(tmp_path):
    path = tmp_path / "bag"
    writer, text, _ = begun(path, "mcap")
    for start in range(0, 40, 10):
        writer.write(numbered(text, range(start, start + 10)))
        writer.flush()
    writer.close()
    file = path / "bag_0.mcap"
    whole = file.read_bytes()
    with pytest.raises(ReaderError):
        file.write_bytes(whole[:-1])
        read(path)
    counts = []
    for size in itertools.chain(range(60, len(whole), 1999), range(len(whole) - 9, len(whole) + 1)):
        file.write_bytes(whole[:size])
        try:
            count = sum(repair(path).contents.counts.values())
        except BagError as error:
            assert "holds no message that can be read" in str(error) and file.read_bytes() == whole[:size]
            count = 0
        else:
            assert read(path).get("/text", []) == expected(range(count))
        counts.append(count)
    assert counts == sorted(counts) and counts[0] == 0 and set(counts) == {0, 10, 20, 30, 40}


def test_a_chunk_that_did_not_all_reach_the_disk_ends_a_repaired_file(tmp_path):
    path = tmp_path / "bag"
    writer, text, _ = begun(path, "mcap")
    for start in (0, 10):
        writer.write(numbered(text, range(start, start + 10)))
        writer.flush()
    writer.abandon()
    file = path / "bag_0.mcap"
    data = bytearray(file.read_bytes())
    data[-9000:-5000] = bytes(4000)
    file.write_bytes(data)
    outcome = repair(path)
    assert outcome.contents.counts[text] == 10 and read(path)["/text"] == expected(range(10))
    assert outcome.lost.counts == {"/text": 10}  # as its index tells, which did reach the disk


class SmallDisk(io.FileIO):
    """A file on a disk of so many bytes."""

    room = 0

    def write(self, data):
        left = self.room - self.tell()
        if left <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(memoryview(data)[:left])


@pytest.mark.parametrize("room", [10_000, 60_000, 100_000])
def test_a_full_disk_leaves_a_bag_that_opens(tmp_path, monkeypatch, room):
    SmallDisk.room = room
    monkeypatch.setattr(mcap_storage, "open", lambda path, mode, buffering: SmallDisk(path, mode), raising=False)
    path = tmp_path / "bag"
    writer, text, _ = begun(path, "mcap")
    with pytest.raises(BagError, match=f"the bag {path} can't be written: No space left on device"):
        for start in itertools.count(0, 4):
            writer.write(numbered(text, range(start, start + 4)))
            writer.flush()
    count = writer.close().counts[text]
    assert (path / "bag_0.mcap").stat().st_size <= room
    assert read(path) == {"/text": expected(range(count)), "/tick": []}
    assert count >= (room - 20_000) // 2100


def test_room_that_is_made_in_time_saves_all_but_the_chunk_that_failed(tmp_path, monkeypatch):
    SmallDisk.room = 30_000
    monkeypatch.setattr(mcap_storage, "open", lambda path, mode, buffering: SmallDisk(path, mode), raising=False)
    path = tmp_path / "bag"
    writer, text, _ = begun(path, "mcap")
    flushed = 0
    with pytest.raises(BagError):
        while True:
            writer.write(numbered(text, range(flushed, flushed + 4)))
            writer.flush()
            flushed += 4
    SmallDisk.room = 10**9
    assert writer.close().counts[text] == flushed
    assert read(path) == {"/text": expected(range(flushed)), "/tick": []}


def test_an_error_of_the_disk_throws_nothing_away(tmp_path, monkeypatch):
    class Broken(SmallDisk):
        def write(self, data):
            if self.tell() > 20_000:
                raise OSError(errno.EIO, "Input/output error")
            return io.FileIO.write(self, data)
    monkeypatch.setattr(mcap_storage, "open", lambda path, mode, buffering: Broken(path, mode), raising=False)
    path = tmp_path / "bag"
    writer, text, _ = begun(path, "mcap")
    with pytest.raises(BagError, match="Input/output error"):
        for start in itertools.count(0, 4):
            writer.write(numbered(text, range(start, start + 4)))
            writer.flush()
    with pytest.raises(BagError, match="Input/output error"):
        writer.close()
    monkeypatch.undo()
    assert repair(path).contents.counts[text] >= 8


@pytest.mark.parametrize("storage", STORAGES)
def test_a_bag_is_never_written_over(tmp_path, storage):
    BagWriter(tmp_path / "bag", storage, "kilted").close()
    with pytest.raises(BagError, match="must be a folder that does not exist yet, found .*bag"):
        BagWriter(tmp_path / "bag", storage, "kilted")
    (tmp_path / "file").write_text("")
    with pytest.raises(BagError, match="can't be written: Not a directory"):
        BagWriter(tmp_path / "file" / "bag", storage, "kilted")


def test_what_can_not_be_repaired_gets_a_sentence(tmp_path):
    with pytest.raises(BagError, match="must be the folder of a recording with a metadata.yaml .* found none"):
        repair(tmp_path)
    BagWriter(tmp_path / "a", "mcap", "kilted").close()
    (tmp_path / "a" / "a_0.mcap").write_bytes(b"something else")
    with pytest.raises(BagError, match="must be an MCAP file"):
        repair(tmp_path / "a")
    (tmp_path / "a" / "metadata.yaml").write_text("a: [")
    with pytest.raises(BagError, match="must be an MCAP file"):
        repair(tmp_path / "a")
    BagWriter(tmp_path / "b", "sqlite3", "kilted").close()
    (tmp_path / "b" / "b_0.db3").unlink()
    sqlite3.connect(tmp_path / "b" / "b_0.db3").execute("CREATE TABLE other (id INTEGER)").connection.close()
    with pytest.raises(BagError, match="must be a bag of rosbag2, found the tables"):
        repair(tmp_path / "b")


def test_a_definition_has_all_types_within(tmp_path):
    def install(name, text, *inner):
        package, folder, short = name.split("/")
        (tmp_path / package / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / package / folder / f"{short}.msg").write_text(text)
        described = {"type_description_msg": {"referenced_type_descriptions": [{"type_name": i} for i in inner]},
                     "type_hashes": [{"type_name": i, "hash_string": f"RIHS01_of_{i}"} for i in (*inner, name)]}
        (tmp_path / package / folder / f"{short}.json").write_text(json.dumps(described))
    install("a/msg/Outer", "Middle one\n", "a/msg/Middle", "b/msg/Inner")
    install("a/msg/Middle", "b/Inner[3] two\n", "b/msg/Inner")
    install("b/msg/Inner", "float64 x # [m]\n")
    found = read_definition("a/msg/Outer", lambda package: str(tmp_path / package))
    line = "=" * 80
    assert found.text == (f"Middle one\n\n{line}\nMSG: a/Middle\nb/Inner[3] two\n\n"
                          f"{line}\nMSG: b/Inner\nfloat64 x # [m]\n")
    assert found.type_hash == "RIHS01_of_a/msg/Outer"
