"""A rosbag2: a folder with one file of messages and a metadata.yaml, as `ros2 bag` writes it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from ant_rl_core.files import write_atomically
from recorder_node.mcap_storage import McapStorage
from recorder_node.sqlite_storage import SqliteStorage
from recorder_node.storage import METADATA_VERSION, BagError, Contents, Message, Storage, Topic

STORAGES: Mapping[str, type[McapStorage] | type[SqliteStorage]] = {"mcap": McapStorage, "sqlite3": SqliteStorage}
METADATA = "metadata.yaml"


class BagWriter:
    """Writes a bag. What was flushed outlives this process; `repair` finishes a bag whose writer was killed.

    Args:
        path: folder to make, with those above it.
        storage: mcap or sqlite3.
        distro: ROS distribution that the bag names.

    Raises:
        BagError: there is something at `path` already, or the folder can't be made.
    """

    def __init__(self, path: Path, storage: str, distro: str) -> None:
        self._path = path
        with _refusals(path):
            path.mkdir(parents=True)
            file = path / f"{path.absolute().name}_0{STORAGES[storage].suffix}"
            self._storage: Storage = STORAGES[storage](file, distro)
            self._describe = partial(_write_metadata, path, storage, file.name, distro)
            self._describe(Contents((), {}, 0, 0))

    def add_topic(self, topic: Topic) -> int:
        """Register a topic; returns its id for messages. BagError where the bag can't be written."""
        with _refusals(self._path):
            return self._storage.add_topic(topic)

    def write(self, messages: Iterable[Message]) -> None:
        """Keep messages, in memory at first. BagError where the bag can't be written."""
        keep = self._storage.write
        with _refusals(self._path):
            for message in messages:
                keep(*message)

    def flush(self) -> None:
        """Hand what is in memory to the operating system. BagError where the bag can't be written."""
        with _refusals(self._path):
            self._storage.flush()

    def close(self) -> Contents:
        """Finish the bag, after a BagError too: what was written before it can then be read.

        Returns:
            What is in the bag.

        Raises:
            BagError: the bag can't be finished; `repair` may do so later.
        """
        with _refusals(self._path):
            return self._storage.close(self._describe)


def repair(path: Path) -> Contents:
    """Finish a bag whose writer was killed; what was flushed stays. A bag that is whole stays as it is.

    Args:
        path: the bag's folder.

    Returns:
        What is in the bag.

    Raises:
        BagError: there is no bag of the recorder, or it can't be written.
    """
    try:
        information = yaml.safe_load((path / METADATA).read_text())["rosbag2_bagfile_information"]
        storage, (name,), distro = (information[key] for key in ("storage_identifier", "relative_file_paths",
                                                                 "ros_distro"))
    except (OSError, ValueError, TypeError, KeyError, yaml.YAMLError) as error:
        raise BagError(f"{path} must be the folder of a recording with a {METADATA} that names one file, found "
                       f"{'none' if isinstance(error, OSError) else 'another'}") from error
    if storage not in STORAGES:
        raise BagError(f"{path} must be a bag of {' or '.join(STORAGES)}, found {storage}")
    with _refusals(path):
        return STORAGES[storage](path / name, resume=True).close(
            partial(_write_metadata, path, storage, name, distro))


def _write_metadata(path: Path, storage: str, file_name: str, distro: str, contents: Contents) -> str:
    """Write metadata.yaml; returns the text that storages keep."""
    span = {"starting_time": {"nanoseconds_since_epoch": contents.start},
            "duration": {"nanoseconds": contents.end - contents.start},
            "message_count": sum(contents.counts.values())}
    information: dict[str, Any] = {
        "version": METADATA_VERSION, "storage_identifier": storage, "relative_file_paths": [file_name], **span,
        "topics_with_message_count": [
            {"topic_metadata": {
                "name": topic.name, "type": topic.definition.type_name, "serialization_format": "cdr",
                "offered_qos_profiles": [dict(profile) for profile in topic.offered_qos],
                "type_description_hash": topic.definition.type_hash},
             "message_count": contents.counts[topic_id]} for topic_id, topic in enumerate(contents.topics, 1)],
        "compression_format": "", "compression_mode": "", "files": [{"path": file_name, **span}],
        "custom_data": None, "ros_distro": distro}
    write_atomically(path / METADATA, _text({"rosbag2_bagfile_information": information}).encode())
    return _text(information)


class _PlainDumper(yaml.SafeDumper):
    """Without anchors, which not every reader of bags knows."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(data: Any) -> str:
    return yaml.dump(data, Dumper=_PlainDumper, sort_keys=False)


@contextmanager
def _refusals(path: Path) -> Iterator[None]:
    """What the file system or SQLite refuses, as one sentence."""
    try:
        yield
    except FileExistsError as error:
        raise BagError(f"the bag must be a folder that does not exist yet, found {path}") from error
    except OSError as error:
        raise BagError(f"the bag {path} can't be written: {error.strerror}") from error
    except sqlite3.Error as error:
        raise BagError(f"the bag {path} can't be written: {error}") from error
