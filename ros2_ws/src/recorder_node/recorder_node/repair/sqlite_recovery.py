"""What an SQLite file of a bag holds, and a whole file of what can be kept of it."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from recorder_node import metadata
from recorder_node.definitions import Definition
from recorder_node.mcap_end import Damaged
from recorder_node.repair.found import UNDESCRIBED, Found, Lost, is_compressed
from recorder_node.storage import METADATA_VERSION, BagError, Topic, checksum

_UNREADABLE = (sqlite3.Error, UnicodeDecodeError)  # the latter of what SQLite says of a damaged text
_MAGIC = b"SQLite format 3\0"
_LARGEST_PAGE = 65536  # [bytes], which the file's head calls 1
_WRONG = ("SELECT 1 FROM messages WHERE typeof(topic_id) != 'integer' OR typeof(timestamp) != 'integer' "
          "OR typeof(data) != 'blob' LIMIT 1")
_ASKED = "SELECT * FROM messages NOT INDEXED"
_WITH_DEFINITIONS = 4  # version of the layout of tables that has definitions of messages
_ROW = 16  # [bytes] at least, of a message in the file


def sides(path: Path) -> list[Path]:
    """Files beside a database that hold a part of it: a transaction that was not finished, or not yet taken in."""
    beside = [file for file in (Path(f"{path}-journal"), Path(f"{path}-wal")) if file.exists()]
    return [file for file in beside if file.read_bytes()[:8].strip(b"\0")]  # zeros: a journal that is done with


def damage(path: Path) -> str:
    """Why a database is not whole; empty: it is. OSError where it can't be read."""
    with open(path, "rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            return "it does not begin as an SQLite file"
    if sides(path):
        return "a transaction was not finished"
    if _torn(path):
        return "it ends within a page"
    try:
        with closing(_opened(path)) as database:
            said, = database.execute("PRAGMA integrity_check(1)").fetchone()
            if said != "ok":
                return " ".join(str(said).split())
            if not {"topics", "messages"} <= _tables(database):
                return ""  # whole, but none of a bag
            return "a message is none" if database.execute(_WRONG).fetchone() else ""
    except _UNREADABLE as error:
        return str(error)


def examine(path: Path) -> Found:
    """What a database holds.

    Raises:
        Damaged: it is no SQLite file.
        BagError: it is one of something else.
    """
    reason = damage(path)
    if reason.startswith("it does not begin"):
        raise Damaged(reason)
    if reason:
        return Found(reason=reason)
    with closing(_opened(path)) as database:
        found = _contents(database, path)
        found.promised = found.counts + found.lost.counts
        return found


def recover(path: Path, target: Path) -> Found:
    """Copy what can be read of a database into the empty file `target`; returns what that holds, and what was lost.

    Raises:
        BagError: what describes its messages can't be read.
    """
    with _finished(path) as source, closing(sqlite3.connect(target, isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode = OFF")
        database.execute("PRAGMA synchronous = OFF")  # whoever made the file sees to that
        lost = Lost()
        if _is_intact(source):
            source.backup(database)
            database.execute("PRAGMA journal_mode = DELETE")
        else:
            _copy(source, database, path, lost)
        found = _contents(database, path)
        if found.description is not None:
            found.promised = promised(metadata.parse(found.description))
        found.lost.add(lost)
        return found


def describe(path: Path, description: str) -> None:
    """Put the text of the bag's metadata into a database, where its layout has a place for it."""
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode = MEMORY")
        if "metadata" in _tables(database):
            database.execute("DELETE FROM metadata")
            database.execute("INSERT INTO metadata (metadata_version, metadata) VALUES (?, ?)",
                             (METADATA_VERSION, description))
        database.execute("PRAGMA journal_mode = DELETE")


def promised(told: dict[str, Any] | None) -> Counter[str] | None:
    """Messages by topic, as a bag's metadata tell; None where they do not."""
    try:
        rows = (told or {})["topics_with_message_count"]
        return Counter({str(row["topic_metadata"]["name"]): int(row["message_count"]) for row in rows})
    except (KeyError, TypeError, ValueError):
        return None


def _opened(path: Path) -> sqlite3.Connection:
    """To read, with no file made beside and nothing changed."""
    return sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode=ro&immutable=1", uri=True, isolation_level=None)


@contextmanager
def _finished(path: Path) -> Iterator[sqlite3.Connection]:
    """A database as it was after its last whole transaction: of a copy, where another was begun, or the file ends
    within a page, which SQLite would take to go on with zeros."""
    beside, torn = sides(path), _torn(path)
    if not beside and not torn:
        with closing(_opened(path)) as database:
            yield database
        return
    with tempfile.TemporaryDirectory(prefix=".", suffix=".part", dir=path.parent) as folder:
        for found in (path, *beside):
            shutil.copyfile(found, os.path.join(folder, found.name))
        os.truncate(os.path.join(folder, path.name), path.stat().st_size - torn)
        with closing(sqlite3.connect(os.path.join(folder, path.name), isolation_level=None)) as database:
            yield database


def _torn(path: Path) -> int:
    """How many bytes of its last page a database has, where these are not all."""
    with open(path, "rb") as file:
        page = int.from_bytes(file.read(18)[16:], "big")
        return file.seek(0, os.SEEK_END) % (_LARGEST_PAGE if page == 1 else max(page, 1))


def _is_intact(database: sqlite3.Connection) -> bool:
    try:
        return (database.execute("PRAGMA integrity_check(1)").fetchone() == ("ok",)
                and database.execute(_WRONG).fetchone() is None)
    except _UNREADABLE:
        return False


def _tables(database: sqlite3.Connection) -> set[str]:
    return {name for name, in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def _contents(database: sqlite3.Connection, path: Path) -> Found:
    """What an intact database holds. BagError where it is of something else."""
    tables = _tables(database)
    if not {"topics", "messages"} <= tables:
        raise BagError(f"{path} must be a bag of rosbag2, found the tables {sorted(tables)}")
    layout = database.execute("SELECT schema_version FROM schema").fetchone() if "schema" in tables else None
    if layout and layout[0] >= _WITH_DEFINITIONS and "message_definitions" not in tables:
        raise BagError(f"{path} is damaged where it describes its messages (there is no table message_definitions): it "
                       "can't be repaired")
    found, names = Found(), {}
    texts = {} if "message_definitions" not in tables else dict(database.execute(
        "SELECT topic_type, encoded_message_definition FROM message_definitions"))
    for row in _named(database, "SELECT * FROM topics ORDER BY id"):
        names[row["id"]] = name = str(row["name"])
        found.topics.setdefault(name, Topic(
            name, Definition(str(row["type"]), texts.get(row["type"], ""), row.get("type_description_hash") or ""),
            metadata.parse_qos(row.get("offered_qos_profiles") or ""), str(row["serialization_format"])))
    for topic_id, count in database.execute("SELECT topic_id, COUNT(*) FROM messages GROUP BY topic_id"):
        if topic_id in names:
            found.counts[names[topic_id]] += count
        else:
            found.lost.counts[UNDESCRIBED] += count
    for topic_id, time, data in database.execute("SELECT topic_id, timestamp, data FROM messages"):
        if topic_id in names:
            found.sums[names[topic_id]] += checksum(time, data)
    found.start, found.end = database.execute("SELECT MIN(timestamp), MAX(timestamp) FROM messages").fetchone()
    first = database.execute("SELECT substr(data, 1, 4) FROM messages LIMIT 1").fetchone()
    if first is not None:
        found.compressed = is_compressed(bytes(first[0]))
    if "metadata" in tables:
        kept = database.execute("SELECT metadata FROM metadata ORDER BY id DESC LIMIT 1").fetchone()
        found.description = kept and str(kept[0])
    return found


def _named(database: sqlite3.Connection, query: str) -> Iterator[dict[str, Any]]:
    cursor = database.execute(query)
    names = [column[0] for column in cursor.description]
    for row in cursor:
        yield dict(zip(names, row, strict=True))


def _copy(source: sqlite3.Connection, database: sqlite3.Connection, path: Path, lost: Lost) -> None:
    """Copy row by row what can be read."""
    source.execute("PRAGMA writable_schema = ON")  # SQLite then reads a file of fewer pages than it should have, too
    try:
        made = source.execute("SELECT type, name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%' "
                              "ORDER BY type = 'table' DESC").fetchall()
        topics = {topic_id for topic_id, in source.execute("SELECT id FROM topics NOT INDEXED")}
        columns = [name for _, name, *_ in source.execute("PRAGMA table_info(messages)")]
        places = [columns.index(name) for name in ("id", "topic_id", "timestamp", "data")]
    except (sqlite3.Error, ValueError) as error:
        said = " ".join(str(error).split())
        raise BagError(f"{path} is damaged where it describes its messages ({said}): it can't be repaired") from error
    database.execute("BEGIN")
    for kind, name, text in made:
        if not text:
            continue
        database.execute(text)
        if kind == "table":
            rows = _messages(source, topics, places, path.stat().st_size // _ROW, lost) if name == "messages" else (
                _rows(source, name, lost))
            for row in rows:
                database.execute(f'INSERT INTO "{name}" VALUES ({", ".join("?" * len(row))})', row)
    database.execute("COMMIT")


def _rows(source: sqlite3.Connection, table: str, lost: Lost) -> Iterator[Sequence[Any]]:
    """The rows of another table that can be read, up to the first one that can't."""
    try:
        yield from source.execute(f'SELECT * FROM "{table}" NOT INDEXED')
    except _UNREADABLE:
        if table != "metadata":  # which is made anew
            lost.others.append(f"rows of the table {table}")


def _messages(source: sqlite3.Connection, topics: set[int], places: Sequence[int], most: int,
              lost: Lost) -> Iterator[Sequence[Any]]:
    """The messages that can be read, at most `most`; `places`: columns of id, topic, time and bytes."""
    last, time, is_gap = 0, None, False
    rows = _after(source, last)
    while True:
        try:
            row = next(rows, None)
            if row is None:
                return
        except _UNREADABLE:  # read them one by one, up to one that can be read
            lost.is_more = is_gap = True
            row = next(filter(None, (_message(source, number) for number in range(last + 1, most + 1))), None)
            if row is None:
                return
            rows = _after(source, row[places[0]])
        last, topic, newest, data = (row[place] for place in places)
        if type(newest) is not int or type(data) is not bytes or topic not in topics:
            lost.is_more = is_gap = True
            continue
        if is_gap and time is not None:
            lost.between(time, newest)
        time, is_gap = newest, False
        yield row


def _after(source: sqlite3.Connection, number: int) -> Iterator[Sequence[Any]]:
    yield from source.execute(f"{_ASKED} WHERE id > ? ORDER BY id", (number,))


def _message(source: sqlite3.Connection, number: int) -> Sequence[Any] | None:
    """The one message of this id; None where it can't be read."""
    try:
        row: Sequence[Any] | None = source.execute(f"{_ASKED} WHERE id = ?", (number,)).fetchone()
        return row
    except _UNREADABLE:
        return None
