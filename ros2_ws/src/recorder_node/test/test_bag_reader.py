"""What is read of a bag is what was recorded, or one sentence says that it is not."""

import re
import shutil

import pytest
from damaged_bags import STORAGES, again, file_of, flip, message
from mcap.writer import CompressionType

from recorder_node.bag import BagWriter
from recorder_node.bag_reader import BagReader
from recorder_node.definitions import Definition
from recorder_node.storage import BagError, Message, Topic

OBSERVATION = Definition("ant_rl_interfaces/msg/Observation", "uint8 x", "RIHS01_" + "5" * 64)
TORQUES = Definition("ant_rl_interfaces/msg/JointTorques", "uint8 x", "RIHS01_" + "6" * 64)


@pytest.fixture(scope="module")
def bags(tmp_path_factory):
    """Whole bags of 60 messages in five chunks; not to be changed."""
    folder = tmp_path_factory.mktemp("bags")
    for storage in STORAGES:
        writer = BagWriter(folder / storage, storage, "kilted")
        ids = [writer.add_topic(Topic("/observation", OBSERVATION)), writer.add_topic(Topic("/joint_torques", TORQUES))]
        for chunk in range(5):
            writer.write([Message(ids[k % 2], *message(0, k)[1:]) for k in range(12 * chunk, 12 * chunk + 12)])
            writer.flush()
        writer.close()
    again(folder / "mcap", folder / "zstd", CompressionType.ZSTD)
    return folder


def everything(path):
    with BagReader(path) as reader:
        return reader.start, reader.end, reader.types, [*reader.raw_messages("observation"),
                                                        *reader.raw_messages("joint_torques")]


@pytest.mark.parametrize("name", [*STORAGES, "zstd"])
@pytest.mark.parametrize("of", ["file", "metadata.yaml"])
def test_a_flipped_byte_is_told_unless_nothing_depends_on_it(bags, tmp_path, name, of):
    path = shutil.copytree(bags / name, tmp_path / "bag")
    file = path / of if of == "metadata.yaml" else file_of(path)
    whole, expected, refused = file.read_bytes(), everything(path), 0
    for place in range(5, len(whole), len(whole) // 60):
        file.write_bytes(whole)
        flip(file, place, 0x02)
        try:
            # What a type is called and its hash are compared with this workspace's by whoever takes messages apart.
            found = everything(path)
            assert (found[:2], found[3]) == (expected[:2], expected[3])
        except BagError as error:
            assert re.match(f"the bag {path} (can't be (opened|read to its end) .*|is damaged: messages of /.* are not "
                            "what their checksum says, and nothing tells which, .*|must hold .*)$", str(error)), error
            refused += 1
    assert refused > 15, refused


def test_only_what_repair_can_mend_is_sent_there(bags, tmp_path):
    hint = f"if its recorder was killed, `./run repair {tmp_path}/bag` finishes it, and of a damaged one it keeps what"
    for name, of, edit, is_sent in [
            ("mcap", "metadata.yaml", (b"version: 9", b"version: 11"), False),
            ("mcap", "metadata.yaml", (b"serialization_format: cdr", b"serialization_format: xml"), False),
            ("mcap", "metadata.yaml", (b"compression_mode: ''", b"compression_mode: FILE\n  x: 1"), False),
            ("mcap", "file", (b"\x04\0\0\0ros2", b"\x04\0\0\0ros1"), False),
            ("mcap", "metadata.yaml", (b"message_count: 60", b"message_count: 61"), True),
            ("mcap", "metadata.yaml", (b"/joint_torques", b"/joint_torquez"), True),
            ("mcap", "file", (b"MCAP0\r\n\x01", b"MCAP0\r\n\x02"), True),
            ("mcap", "file", (b"MCAP0\r\n\x01", b"MCAP9\r\n\x01"), False),
            ("sqlite3", "file", (b"SQLite format 3", b"SQLite format 8"), False),
            ("sqlite3", "file", (b"INDEX timestamp_idx ON", b"INDEX timestamp_idx OM"), True)]:
        path = shutil.copytree(bags / name, tmp_path / "bag")
        file = path / of if of == "metadata.yaml" else file_of(path)
        assert edit[0] in file.read_bytes()
        file.write_bytes(file.read_bytes().replace(*edit))
        with pytest.raises(BagError, match=r"^the bag .* can't be (opened|read to its end) \(.*\)") as refused:
            everything(path)
        assert (hint in str(refused.value)) == is_sent and "\n" not in str(refused.value), refused.value
        shutil.rmtree(path)


def test_a_transaction_that_was_not_finished_is_told(bags, tmp_path):
    path = shutil.copytree(bags / "sqlite3", tmp_path / "bag")
    (path / "sqlite3_0.db3-journal").write_bytes(bytes.fromhex("d9d505f920a163d7") + bytes(504))
    with pytest.raises(BagError, match="a transaction was not finished.*`./run repair"):
        everything(path)
    (path / "sqlite3_0.db3-journal").write_bytes(bytes(512))  # as it stays where SQLite keeps it for the next one
    assert len(everything(path)[3]) == 60


def test_lost_metadata_send_to_repair(bags, tmp_path):
    path = shutil.copytree(bags / "mcap", tmp_path / "bag")
    (path / "metadata.yaml").unlink()
    with pytest.raises(BagError, match=f"with a metadata.yaml, found none in {path}; `./run repair {path}` makes it"):
        BagReader(path)
    flip(file_of(path), file_of(path).stat().st_size - 20)
    with pytest.raises(BagError, match=f"can't be opened .*`./run repair {path}` finishes it"):
        BagReader(file_of(path))
