"""Messages in an SQLite file, as rosbag2's sqlite3 storage lays them out (schema 4)."""

from __future__ import annotations

import sqlite3
from collections import Counter
from pathlib import Path

import yaml

from recorder_node.definitions import Definition
from recorder_node.storage import METADATA_VERSION, Contents, Describe, Topic, checksum

_SCHEMA_VERSION = 4
_TABLES = """
CREATE TABLE schema(schema_version INTEGER PRIMARY KEY, ros_distro TEXT NOT NULL);
CREATE TABLE metadata(id INTEGER PRIMARY KEY, metadata_version INTEGER NOT NULL, metadata TEXT NOT NULL);
CREATE TABLE topics(id INTEGER PRIMARY KEY, name TEXT NOT NULL, type TEXT NOT NULL,
  serialization_format TEXT NOT NULL, offered_qos_profiles TEXT NOT NULL, type_description_hash TEXT NOT NULL);
CREATE TABLE message_definitions(id INTEGER PRIMARY KEY, topic_type TEXT NOT NULL, encoding TEXT NOT NULL,
  encoded_message_definition TEXT NOT NULL, type_description_hash TEXT NOT NULL);
CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id INTEGER NOT NULL, timestamp INTEGER NOT NULL,
  data BLOB NOT NULL);
CREATE INDEX timestamp_idx ON messages (timestamp ASC);
"""


class SqliteStorage:
    """Writes one SQLite file.

    Args:
        path: the file, which does not exist yet.
        distro: ROS distribution that the file names.

    Raises:
        sqlite3.Error: the file can't be made.
    """

    suffix = ".db3"

    def __init__(self, path: Path, distro: str = "") -> None:
        self._database = sqlite3.connect(path, isolation_level=None)
        self._pending: list[tuple[int, int, bytes]] = []
        self._sums: Counter[int] = Counter()
        # A process that is killed loses nothing that was committed; only a power failure could.
        self._database.execute("PRAGMA synchronous = OFF")
        self._database.executescript(_TABLES)
        self._database.execute("INSERT INTO schema VALUES (?, ?)", (_SCHEMA_VERSION, distro))

    def add_topic(self, topic: Topic) -> int:
        """As `Storage.add_topic`."""
        definition = topic.definition
        known = self._database.execute("SELECT 1 FROM message_definitions WHERE topic_type = ?",
                                       (definition.type_name,)).fetchone()
        if not known:
            self._database.execute(
                "INSERT INTO message_definitions (topic_type, encoding, encoded_message_definition, "
                "type_description_hash) VALUES (?, 'ros2msg', ?, ?)",
                (definition.type_name, definition.text, definition.type_hash))
        made = self._database.execute(
            "INSERT INTO topics (name, type, serialization_format, offered_qos_profiles, type_description_hash) "
            "VALUES (?, ?, 'cdr', ?, ?)",
            (topic.name, definition.type_name, topic.qos_text(), definition.type_hash))
        assert made.lastrowid is not None  # after an INSERT
        return made.lastrowid

    def write(self, topic_id: int, received: int, sent: int, sequence: int, data: bytes) -> None:
        """As `Storage.write`; this storage has no place for `sent` and `sequence`."""
        self._pending.append((topic_id, received, data))

    def flush(self) -> None:
        """As `Storage.flush`: one transaction."""
        if not self._pending:
            return
        pending, self._pending = self._pending, []
        self._database.execute("BEGIN")
        try:
            self._database.executemany("INSERT INTO messages (topic_id, timestamp, data) VALUES (?, ?, ?)", pending)
            self._database.execute("COMMIT")
            for topic_id, received, data in pending:
                self._sums[topic_id] += checksum(received, data)
        except sqlite3.Error:
            if self._database.in_transaction:  # on a full disk SQLite has ended it already
                self._database.execute("ROLLBACK")
            raise

    def close(self, describe: Describe) -> Contents:
        """As `Storage.close`."""
        try:
            self.flush()
            contents = self.contents()
            text = describe(contents)
            self._database.execute("DELETE FROM metadata")
            self._database.execute("INSERT INTO metadata (metadata_version, metadata) VALUES (?, ?)",
                                   (METADATA_VERSION, text))
            return contents
        finally:
            self._database.close()

    def abandon(self) -> None:
        """As `Storage.abandon`."""
        self._database.close()

    def contents(self) -> Contents:
        """What is in the file."""
        texts = dict(self._database.execute("SELECT topic_type, encoded_message_definition FROM message_definitions"))
        topics, counts = [], {}
        for topic_id, name, kind, offered_qos, type_hash in self._database.execute(
                "SELECT id, name, type, offered_qos_profiles, type_description_hash FROM topics ORDER BY id"):
            topics.append(Topic(name, Definition(kind, texts[kind], type_hash), tuple(yaml.safe_load(offered_qos))))
            counts[topic_id] = 0
        counts.update(self._database.execute("SELECT topic_id, COUNT(*) FROM messages GROUP BY topic_id"))
        start, end = self._database.execute("SELECT MIN(timestamp), MAX(timestamp) FROM messages").fetchone()
        return Contents(tuple(topics), counts, start or 0, end or 0,
                        {topic.name: self._sums[topic_id] for topic_id, topic in enumerate(topics, 1)})
