"""A rosbag2: a folder with one file of messages and a metadata.yaml, as `ros2 bag` writes it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from ant_rl_core.files import FolderBusyError, FolderLock
from recorder_node import metadata
from recorder_node.mcap_storage import McapStorage
from recorder_node.sqlite_storage import SqliteStorage
from recorder_node.storage import BagError, Contents, Message, Storage, Topic

STORAGES: Mapping[str, type[McapStorage] | type[SqliteStorage]] = {"mcap": McapStorage, "sqlite3": SqliteStorage}

_LONGEST = 120  # characters of what SQLite says, which may quote a damaged text


class BagWriter:
    """Writes a bag, and holds its folder. What was flushed outlives this process; `repair` finishes a bag whose
    writer was killed.

    Args:
        path: folder to make, with those above it.
        storage: mcap or sqlite3.
        distro: ROS distribution that the bag names.

    Raises:
        BagError: there is something at `path` already, or the folder can't be made.
    """

    def __init__(self, path: Path, storage: str, distro: str) -> None:
        self._path, self._kind, self._distro = path, storage, distro
        self._file = path / f"{path.absolute().name}_0{STORAGES[storage].suffix}"
        with refusals(path):
            path.mkdir(parents=True)
            self._lock = FolderLock(path, "a recording")
            try:
                self._storage: Storage = STORAGES[storage](self._file, distro)
                self._describe(Contents((), {}, 0, 0))
            except BaseException:
                self._lock.close()
                raise

    def add_topic(self, topic: Topic) -> int:
        """Register a topic; returns its id for messages. BagError where the bag can't be written."""
        with refusals(self._path):
            return self._storage.add_topic(topic)

    def write(self, messages: Iterable[Message]) -> None:
        """Keep messages, in memory at first. BagError where the bag can't be written."""
        keep = self._storage.write
        with refusals(self._path):
            for message in messages:
                keep(*message)

    def flush(self) -> None:
        """Hand what is in memory to the operating system. BagError where the bag can't be written."""
        with refusals(self._path):
            self._storage.flush()

    def close(self) -> Contents:
        """Finish the bag, after a BagError too: what was written before it can then be read.

        Returns:
            What is in the bag.

        Raises:
            BagError: the bag can't be finished; `repair` may do so later.
        """
        try:
            with refusals(self._path):
                return self._storage.close(self._describe)
        finally:
            self._lock.close()

    def abandon(self) -> None:
        """Leave the bag as it is, without what is in memory."""
        self._storage.abandon()
        self._lock.close()

    def _describe(self, contents: Contents) -> str:
        """Write metadata.yaml; returns the text that storages keep."""
        told = metadata.information(self._kind, {self._file.name: contents}, contents, self._distro)
        metadata.write(self._path, told)
        return metadata.text(told)


@contextmanager
def refusals(path: Path, what: str = "written") -> Iterator[None]:
    """What the file system or SQLite refuses, as one sentence: the bag can't be `what`."""
    try:
        yield
    except FolderBusyError as error:
        raise BagError(str(error)) from error
    except FileExistsError as error:
        raise BagError(f"the bag must be a folder that does not exist yet, found {path}") from error
    except OSError as error:
        raise BagError(f"the bag {path} can't be {what}: {error.strerror}") from error
    except (sqlite3.Error, UnicodeDecodeError) as error:  # the latter of what SQLite says of a damaged text
        said = " ".join(str(error).split())[:_LONGEST]
        raise BagError(f"the bag {path} can't be {what}: {said}") from error
