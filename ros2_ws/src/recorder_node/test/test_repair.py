"""Whole bags stay as they are, whoever wrote them; what can be read of damaged ones is kept, and the rest is told."""

import itertools
import resource
import shutil
import sqlite3
from pathlib import Path

import pytest
import yaml
import zstandard
from damaged_bags import (
    CHUNKS,
    PER_CHUNK,
    START,
    STORAGES,
    again,
    chunks,
    expected,
    file_of,
    flip,
    make,
    message,
    raw_chunks,
    read,
    records,
    state,
)
from mcap.data_stream import RecordBuilder
from mcap.reader import make_reader
from mcap.records import Chunk
from mcap.stream_reader import StreamReader
from mcap.writer import CompressionType, IndexType
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer as RosbagsWriter
from rosbags.typesys import Stores, get_typestore

from recorder_node.bag import BagWriter
from recorder_node.repair import mcap_recovery
from recorder_node.repair.bag import repair
from recorder_node.repair.files import is_written
from recorder_node.storage import BagError
from recorder_node.verbs import REPAIR

TOTAL = CHUNKS * PER_CHUNK
WRITERS = {
    "lz4": {"compression": CompressionType.LZ4}, "zstd": {"compression": CompressionType.ZSTD},
    "no chunk crc": {"crcs": False}, "zstd without crc": {"compression": CompressionType.ZSTD, "crcs": False},
    "data crc": {"enable_data_crcs": True}, "no chunks": {"use_chunking": False},
    "no index": {"index_types": IndexType.NONE},
    "no summary": {"index_types": IndexType.NONE, "use_statistics": False, "use_summary_offsets": False,
                   "repeat_channels": False, "repeat_schemas": False},
    "no chunks, no summary": {"use_chunking": False, "index_types": IndexType.NONE, "use_statistics": False,
                              "use_summary_offsets": False, "repeat_channels": False, "repeat_schemas": False}}


@pytest.fixture(scope="module")
def bags(tmp_path_factory):
    """Whole bags by what wrote them; not to be changed."""
    folder = tmp_path_factory.mktemp("bags")
    made = {storage: make(folder / storage, storage) for storage in STORAGES}
    made |= {name: again(made["mcap"], folder / name.replace(", ", "_"), **options)
             for name, options in WRITERS.items()}
    return made


def copied(bag, tmp_path):
    return Path(shutil.copytree(bag, tmp_path / "bag"))


def names(path):
    return {entry.name for entry in path.iterdir()}


def unchanged(path, before):
    """The bag is as it was and there is nothing new beside it."""
    return state(path) == before


@pytest.mark.parametrize("name", [*STORAGES, *WRITERS])
def test_a_whole_bag_stays_byte_for_byte(bags, name, capsys):
    before = state(bags[name])
    assert REPAIR.run([str(bags[name])]) == 0
    assert capsys.readouterr().out == (f"{bags[name]}: 72 messages of 2 topics, 0.7 s; it is whole and stays as it "
                                       "is\n")
    assert unchanged(bags[name], before)


@pytest.mark.parametrize("compression", [CompressionMode.NONE, CompressionMode.STORAGE, CompressionMode.MESSAGE,
                                         CompressionMode.FILE])
@pytest.mark.parametrize("plugin", list(StoragePlugin))
def test_a_whole_bag_of_the_library_rosbags_stays_byte_for_byte(tmp_path, plugin, compression):
    if (plugin, compression) == (StoragePlugin.SQLITE3, CompressionMode.STORAGE):
        return  # there is no such thing
    path, types = tmp_path / "bag", get_typestore(Stores.ROS2_KILTED)
    writer = RosbagsWriter(path, version=9, storage_plugin=plugin)
    if compression != CompressionMode.NONE:
        writer.set_compression(compression, CompressionFormat.ZSTD)
    with writer:
        connection = writer.add_connection("/a", "std_msgs/msg/String", typestore=types)
        for number in range(30):
            writer.write(connection, START + number, message(0, number).data)
    before, whole = state(path), read(path)
    assert not repair(path).is_changed and unchanged(path, before)
    (path / "metadata.yaml").unlink()
    if compression == CompressionMode.FILE:  # where it can't be made anew
        with pytest.raises(BagError, match="compressed file by file, which repair does not mend: decompress"):
            repair(path)
        return
    outcome = repair(path)
    assert not outcome.lost and read(path) == whole and not outcome.kept
    assert file_of(path).read_bytes() == before[file_of(path).name][0]


def test_a_whole_bag_of_several_files_stays_and_gets_lost_metadata_back(bags, tmp_path):
    path = split(bags["mcap"], bags["zstd"], tmp_path / "bag")
    before, whole = state(path), read(path)
    assert not repair(path).is_changed and unchanged(path, before)
    (path / "metadata.yaml").unlink()
    assert not repair(path).lost and read(path) == whole
    assert {file.name: file.read_bytes() for file in path.glob("*.mcap")} == {
        name: data for name, (data, _) in before.items() if name.endswith(".mcap")}


def split(first, second, path):
    """A bag of two files, as rosbag2 splits them; both hold the same messages here."""
    path.mkdir()
    shutil.copy(file_of(first), path / "bag_0.mcap")
    shutil.copy(file_of(second), path / "bag_1.mcap")
    told = yaml.safe_load((first / "metadata.yaml").read_text())
    information = told["rosbag2_bagfile_information"]
    one, = information["files"]
    information["files"] = [{**one, "path": "bag_0.mcap"}, {**one, "path": "bag_1.mcap"}]
    information["relative_file_paths"] = ["bag_0.mcap", "bag_1.mcap"]
    for row in (information, *information["topics_with_message_count"]):
        row["message_count"] *= 2
    (path / "metadata.yaml").write_text(yaml.safe_dump(told))
    return path


@pytest.mark.parametrize("name", ["mcap", "lz4", "zstd", "data crc"])
@pytest.mark.parametrize("chunk", [0, 3, 5])
def test_a_bad_chunk_is_stepped_over_and_what_was_lost_is_told(bags, tmp_path, name, chunk, capsys):
    path = copied(bags[name], tmp_path)
    file = file_of(path)
    places, other = chunks(file), raw_chunks(file)
    start, end = places[chunk]
    flip(file, (start + end) // 2)
    damaged = file.read_bytes()
    before, told = [n for n in range(TOTAL)], (path / "metadata.yaml").read_bytes()
    lost = [n for n in before if n // PER_CHUNK == chunk] if name == "mcap" else None
    assert REPAIR.run([str(path)]) == 1
    said = capsys.readouterr().out
    found = read(path)
    kept = sorted(found["/a"] + found["/b"])
    if lost is not None:
        assert kept == expected([n for n in before if n not in lost])
        first, last = lost[0], lost[-1]
        assert (f"; LOST: 12 messages between {0.01 * first:.3f} s and {0.01 * last:.3f} s of the recording "
                "(6 of /a, 6 of /b); ") in said, said
    else:
        assert kept == [row for row in expected(before) if row in kept] and TOTAL - 20 <= len(kept) < TOTAL
        assert f"LOST: {TOTAL - len(kept)} messages between " in said
    # The other chunks are the same bytes, compressed as they were.
    assert raw_chunks(file) == [found for number, found in enumerate(other) if number != chunk]
    if name != "mcap":
        assert {"Attachment", "Metadata", "Chunk", "MessageIndex", "Statistics"} <= set(records(file))
        with open(file, "rb") as source:
            assert [(a.name, a.data) for a in make_reader(source).iter_attachments()] == [
                ("notes.txt", b"a windy day" * 20)]
    beside = [path / f"{file.name}.damaged", path / "metadata.yaml.damaged"]
    assert f"what was there is kept as {beside[0]}, {beside[1]} (" in said
    assert beside[0].read_bytes() == damaged and beside[1].read_bytes() == told
    after = state(path)
    assert not repair(path).is_changed and unchanged(path, after)


def spots(path):
    """Bytes all over the file of a bag, and what lies there."""
    size = file_of(path).stat().st_size
    return [*range(9, size, size // 14), *range(size - 40, size, 4)]


@pytest.mark.parametrize("name", [*STORAGES, "zstd", "data crc", "no chunks"])
def test_a_flipped_byte_anywhere_loses_no_more_than_its_chunk_and_never_silently(bags, tmp_path, name):
    path = copied(bags[name], tmp_path)
    file, whole = file_of(path), set(expected(range(TOTAL)))
    original, told = file.read_bytes(), (path / "metadata.yaml").read_bytes()
    kinds = set()
    for place in spots(path):
        for beside in path.glob("*.damaged*"):
            beside.unlink()
        (path / "metadata.yaml").write_bytes(told)
        file.write_bytes(original)
        flip(file, place, 0x10)
        before = state(path)
        try:
            outcome = repair(path)
        except BagError as error:
            assert unchanged(path, before) and "\n" not in str(error)
            kinds.add("refused")
            continue
        if not outcome.is_changed:
            assert unchanged(path, before)
            kinds.add("whole")
            continue
        found = read(path)
        kept = [row for rows in found.values() for row in rows]
        wrong = set(kept) - whole
        # Nothing tells that bytes of a message have changed where no checksum is over them.
        assert len(wrong) <= (name == "no chunks"), place
        assert outcome.lost or len(kept) == TOTAL, place
        assert sum(outcome.lost.counts.values()) == TOTAL - len(kept), (place, outcome)
        assert len(kept) >= TOTAL - 2 * PER_CHUNK, (place, outcome)
        assert bool(outcome.kept) == bool(outcome.lost) or "metadata" in str(outcome.kept)
        kinds.add("lost" if outcome.lost else "mended")
        assert not repair(path).is_changed
    assert {"lost", "mended"} <= kinds or name in ("sqlite3", "no chunks"), kinds


@pytest.mark.parametrize("name", [*STORAGES, "lz4", "no chunks", "no summary"])
def test_a_bag_cut_off_anywhere_keeps_what_is_before_the_cut(bags, tmp_path, name):
    path = copied(bags[name], tmp_path)
    file, told = file_of(path), (path / "metadata.yaml").read_bytes()
    whole = file.read_bytes()
    counts = []
    for size in [0, 60, *range(len(whole) // 7, len(whole), len(whole) // 7), len(whole) - 1]:
        for beside in path.glob("*.damaged*"):
            beside.unlink()
        (path / "metadata.yaml").write_bytes(told)
        file.write_bytes(whole[:size])
        before = state(path)
        try:
            outcome = repair(path)
        except BagError as error:
            assert unchanged(path, before) and "\n" not in str(error)
            continue
        found = read(path)
        kept = sorted(row for rows in found.values() for row in rows)
        assert set(kept) <= set(expected(range(TOTAL)))
        assert sum(outcome.lost.counts.values()) == TOTAL - len(kept)  # metadata.yaml tells how many there were
        assert (path / f"{file.name}.damaged").exists() == bool(outcome.lost)
        counts.append(len(kept))
    assert counts == sorted(counts)
    if name == "sqlite3":  # the first third describes the messages, and a page that is cut is lost
        assert len(set(counts)) >= 2 and counts[-1] > TOTAL // 2
    else:
        assert len(set(counts)) >= 4 and counts[-1] == TOTAL


def test_a_file_that_has_other_names_stays_what_it_was_under_those(bags, tmp_path):
    path = copied(bags["mcap"], tmp_path)
    file, elsewhere = file_of(path), tmp_path / "elsewhere.mcap"
    start, end = chunks(file)[2]
    flip(file, (start + end) // 2)
    damaged = file.read_bytes()
    file.rename(elsewhere)
    file.symlink_to(elsewhere)
    (tmp_path / "backup.mcap").hardlink_to(elsewhere)
    assert repair(path).lost
    assert file.is_symlink() and sum(map(len, read(path).values())) == TOTAL - PER_CHUNK
    assert (tmp_path / "backup.mcap").read_bytes() == (path / f"{file.name}.damaged").read_bytes() == damaged
    assert not (path / f"{file.name}.damaged").is_symlink()


@pytest.mark.parametrize("storage", STORAGES)
def test_a_killed_recorder_loses_nothing_but_its_unfinished_end(tmp_path, storage, capsys):
    chunk, _ = chunks(file_of(make(tmp_path / "whole")))[1]
    path = make(tmp_path / "bag", storage, closed=False)
    file = file_of(path)
    if storage == "mcap":
        with open(file, "ab") as more:
            more.write(file.read_bytes()[chunk:chunk + 1940])
    assert REPAIR.run([str(path)]) == 0
    said = capsys.readouterr().out
    assert ("left out 1940 bytes of an end that was not finished" in said) == (storage == "mcap")
    assert "LOST" not in said and "kept as" not in said
    assert sorted(itertools.chain(*read(path).values())) == expected(range(TOTAL))
    assert names(path) == {file.name, "metadata.yaml"}


def test_a_bag_that_is_still_recorded_is_refused(tmp_path):
    writer = BagWriter(tmp_path / "bag", "mcap", "kilted")
    before = state(tmp_path / "bag")
    with pytest.raises(BagError, match=f"^the repair of a recording must have its folder to itself, found "
                       f"{tmp_path}/bag in use.*: wait for its end"):
        repair(tmp_path / "bag")
    assert unchanged(tmp_path / "bag", before)
    writer.close()
    assert not repair(tmp_path / "bag").is_changed


@pytest.mark.parametrize("storage", STORAGES)
def test_a_file_that_another_recorder_writes_is_refused(tmp_path, storage):
    path = make(tmp_path / "bag", storage, closed=False)
    with open(file_of(path), "ab"):
        if not is_written(file_of(path)):
            pytest.skip("this file system tells nobody who writes")
        before = state(path)
        with pytest.raises(BagError, match="is still written to: stop its recorder first"):
            repair(path)
        assert unchanged(path, before)
    assert not repair(path).lost


@pytest.mark.parametrize("storage", STORAGES)
def test_without_room_the_original_stays_and_nothing_is_left_beside(tmp_path, storage):
    path = make(tmp_path / "bag", storage)
    data = file_of(path).read_bytes()
    file_of(path).write_bytes(data[:-50])
    before = state(path)
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (9_000, limit[1]))
    try:
        with pytest.raises(BagError, match=f"the bag {path} can't be repaired: (File too large|disk I/O error|database "
                           "or disk is full)"):
            repair(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert unchanged(path, before)
    assert repair(path).is_changed and sum(map(len, read(path).values())) > TOTAL // 2


def test_what_was_written_is_read_back_before_it_takes_the_place(tmp_path, monkeypatch):
    path = make(tmp_path / "bag", closed=False)
    before = state(path)
    monkeypatch.setattr(mcap_recovery, "_copy_chunk", lambda out, *_: out.write(b""))
    with pytest.raises(BagError, match="what was written of it is not what was read"):
        repair(path)
    assert unchanged(path, before)


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("edit", [
    None, lambda text: "a: [", lambda text: text.replace("message_count: 72", "message_count: 73"),
    lambda text: text.replace("name: /a", "name: /x"), lambda text: text.replace("keep_last", "keep_lasu"),
    lambda text: text.replace("starting_time", "startinf_time"), lambda text: text.replace("_0.", "_1."),
    lambda text: text.replace("nanoseconds_since_epoch: 1", "nanoseconds_since_epoch: 3"),
    lambda text: text.replace("version: 9", "version: x"), lambda text: text.replace("cdr", "cds"),
    lambda text: text.replace("compression_mode: ''", "compression_mode: MESSAGE\n  x: ''")])
def test_metadata_that_are_lost_or_wrong_are_made_anew(bags, tmp_path, storage, edit):
    path = copied(bags[storage], tmp_path)
    told, text = path / "metadata.yaml", (path / "metadata.yaml").read_text()
    told.unlink() if edit is None else told.write_text(edit(text))
    before = state(path)
    outcome = repair(path)
    assert outcome.is_changed and not outcome.lost and told.read_text() == text
    assert state(path)[file_of(path).name] == before[file_of(path).name]
    if edit is not None:
        assert outcome.kept == (path / "metadata.yaml.damaged",) and outcome.kept[0].read_text() == edit(text)


@pytest.mark.parametrize("with_metadata", [True, False])
def test_compression_of_messages_is_kept_and_found(bags, tmp_path, with_metadata):
    path = copied(bags["sqlite3"], tmp_path)
    with sqlite3.connect(file_of(path)) as database:
        for number, data in database.execute("SELECT id, data FROM messages").fetchall():
            database.execute("UPDATE messages SET data = ? WHERE id = ?", (zstandard.compress(data), number))
        database.execute("DELETE FROM metadata")
    database.close()
    told = path / "metadata.yaml"
    text = told.read_text().replace("compression_mode: ''", "compression_mode: MESSAGE").replace(
        "compression_format: ''", "compression_format: zstd")
    told.write_text(text)
    before = state(path)
    assert not repair(path).is_changed and unchanged(path, before)
    told.unlink() if not with_metadata else told.write_text(text.replace("message_count: 72", "message_count: 9"))
    assert not repair(path).lost
    information = yaml.safe_load(told.read_text())["rosbag2_bagfile_information"]
    assert (information["compression_mode"], information["compression_format"]) == ("MESSAGE", "zstd")
    assert sorted(itertools.chain(*read(path).values())) == expected(range(TOTAL))


def test_a_transaction_that_was_not_finished_is_taken_back(bags, tmp_path):
    path = copied(bags["sqlite3"], tmp_path)
    file = file_of(path)
    database = sqlite3.connect(file, isolation_level=None)
    database.execute("PRAGMA cache_size = 1")
    database.execute("BEGIN")
    database.execute("UPDATE messages SET timestamp = timestamp + 1, data = zeroblob(190)")  # spills into the file
    torn = {found.name: found.read_bytes() for found in path.iterdir()}
    database.execute("ROLLBACK")
    database.close()
    assert f"{file.name}-journal" in torn
    for name, data in torn.items():
        (path / name).write_bytes(data)
    assert not repair(path).lost
    assert names(path) == {file.name, "metadata.yaml"}
    assert sorted(itertools.chain(*read(path).values())) == expected(range(TOTAL))


def test_a_write_ahead_log_is_taken_in(bags, tmp_path):
    path = copied(bags["sqlite3"], tmp_path)
    file = file_of(path)
    database = sqlite3.connect(file, isolation_level=None)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA wal_autocheckpoint = 0")
    database.execute("INSERT INTO messages (topic_id, timestamp, data) VALUES (1, ?, ?)", message(0, TOTAL)[1::3])
    torn = {found.name: found.read_bytes() for found in path.iterdir() if not found.name.endswith("-shm")}
    database.close()
    for name, data in torn.items():
        (path / name).write_bytes(data)
    assert not repair(path).lost
    assert names(path) == {file.name, "metadata.yaml", "metadata.yaml.damaged"}
    assert sorted(itertools.chain(*read(path).values())) == expected(range(TOTAL + 1))


def test_definitions_that_were_in_a_lost_chunk_come_from_the_end_of_the_file(tmp_path):
    """Or their messages are lost, where that is gone too."""
    path = make(tmp_path / "bag")
    file = file_of(path)
    start, end = chunks(file)[0]
    flip(file, (start + end) // 2)
    whole_end = file.read_bytes()
    assert sum(repair(path).contents.counts.values()) == TOTAL - PER_CHUNK
    flip_end = make(tmp_path / "other", closed=False)
    flip(file_of(flip_end), (start + end) // 2)
    with pytest.raises(BagError, match="holds no message that can be read"):  # of neither topic is the type known
        repair(flip_end)
    assert whole_end != file.read_bytes()


def test_what_can_not_be_repaired_is_refused_and_stays(bags, tmp_path):
    def check(path, sentence):
        before = state(path) if path.is_dir() else path.read_bytes()
        with pytest.raises(BagError, match=sentence) as refused:
            repair(path)
        assert "\n" not in str(refused.value)
        assert (state(path) if path.is_dir() else path.read_bytes()) == before

    unknown = again(bags["mcap"], tmp_path / "unknown")
    data = file_of(unknown).read_bytes()
    builder = RecordBuilder()
    with open(file_of(unknown), "rb") as source:
        for record in StreamReader(source, emit_chunks=True).records:
            if isinstance(record, Chunk):
                record.compression = "snappy"
            record.write(builder)
    file_of(unknown).write_bytes(data[:8] + builder.end() + data[-8:])
    check(unknown, "chunks compressed by snappy, which repair does not know: nothing was changed")
    newer = copied(bags["mcap"], tmp_path)
    text = (newer / "metadata.yaml").read_text()
    (newer / "metadata.yaml").write_text(text.replace("version: 9", "version: 10"))
    check(newer, "has metadata of version 10, and repair knows versions up to 9")
    check(file_of(bags["mcap"]), f"repair needs the folder of a recording, found the file .*: name {bags['mcap']}")
    (tmp_path / "several").mkdir()
    for name in ("one.mcap", "two.mcap"):
        shutil.copy(file_of(bags["mcap"]), tmp_path / "several" / name)
    check(tmp_path / "several", "must be the folder of one recording, found one.mcap, two.mcap and no metadata.yaml")
    missing = split(bags["mcap"], bags["zstd"], tmp_path / "missing")
    (missing / "bag_1.mcap").unlink()
    check(missing, "must hold bag_1.mcap, as its metadata.yaml says, found bag_0.mcap: put the file back")
    changed = again(bags["mcap"], tmp_path / "changed", crcs=False, enable_data_crcs=True)
    flip(file_of(changed), chunks(file_of(changed))[2][0] + 900)
    check(changed, "is damaged where nothing tells the place .*: it can't be repaired, nothing was changed")


def test_the_file_that_is_damaged_of_several_is_repaired(bags, tmp_path):
    path = split(bags["mcap"], bags["zstd"], tmp_path / "bag")
    start, end = chunks(path / "bag_1.mcap")[1]
    flip(path / "bag_1.mcap", (start + end) // 2)
    first = (path / "bag_0.mcap").read_bytes()
    outcome = repair(path)
    assert (path / "bag_0.mcap").read_bytes() == first
    assert 0 < sum(outcome.lost.counts.values()) <= 20
    assert sum(map(len, read(path).values())) == 2 * TOTAL - sum(outcome.lost.counts.values())


def test_its_help_tells_the_exit_codes():
    said = REPAIR.help([])
    assert "Exit code 0:" in said and "1: something was lost" in said and "2: it is still recorded" in said
