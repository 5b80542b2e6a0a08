"""Reads the messages of one robot or fleet out of a bag, as bytes; of this recorder or any other that makes rosbag2s.

The library `rosbags` does the reading, which the recorder itself does without.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from rosbags.interfaces import Connection
from rosbags.rosbag2 import Reader
from rosbags.rosbag2.reader import DirectoryReader

from recorder_node import metadata
from recorder_node.mcap_end import Damaged, check_end
from recorder_node.metadata import METADATA
from recorder_node.order import Order, find_order, written
from recorder_node.repair import sqlite_recovery
from recorder_node.storage import BagError, checksum

_TICKS, _TICK_TYPE = "observation", "ant_rl_interfaces/msg/Observation"
_ROOT = "/"
# What is said of files of a kind that is not known, where repair is of no help.
_UNKNOWN = ("not supported", "Unsupported", "Profile is not ros2", "Unrecognized storage", "File magic is invalid",
            "does not begin as", "file is not a database")

_Reader = TypeVar("_Reader", bound="BagReader")


class BagReader:
    """A bag that is open for reading; use it as a context manager.

    Args:
        path: the bag's folder, or its one file.
        namespace: of the robots; None: that of the only `observation` in the bag.

    Attributes:
        path: as given.
        namespace: empty, or such as /robot1.
        topics: number of messages by topic, relative to the namespace where it lies in it, such as observation,
            stats/policy, /diagnostics.
        types: type name and hash (RIHS01, empty where the bag has none) by topic.
        start, end: time of the first and of the last message [ns since 1970].

    Raises:
        BagError: there is no bag, or it is empty, not whole, or has not the observations of one namespace. Damage that
            shows only where it is read is raised by what reads.
    """

    def __init__(self, path: Path, namespace: str | None = None) -> None:
        self.path = path
        _check_place(path)
        with self._reading("opened"):
            self._reader = Reader(path)
            self._reader.open()
            try:
                self._check_files()
            except Exception:
                self.close()
                raise
        try:
            if not self._reader.message_count:
                raise BagError(f"the bag {path} must hold messages, found none")
            self.namespace = self._find_namespace(namespace)
            self._connections = {self._relative(found.topic): found for found in self._reader.connections}
            self.topics = {name: found.msgcount for name, found in self._connections.items()}
            self.types = {name: (found.msgtype, found.digest) for name, found in self._connections.items()}
        except BagError:
            self.close()
            raise

    @cached_property
    def order(self) -> Order:
        """In which order and at which times its messages are read: the whole bag is looked through for that once."""
        if self._reader.compression_mode == "message":  # whose order in the file nobody has looked at
            return Order()
        try:
            return find_order(self._files(), f"{self.namespace}/{_TICKS}", f"{self.namespace}/timing")
        except Exception:  # of a damaged bag: whoever reads its messages is told of it
            return Order()

    @property
    def span(self) -> tuple[int, int]:
        """Time of the first and of the last message as `raw_messages` has them [ns since 1970]."""
        return self.order.start or self.start, self.order.end or self.end

    def raw_messages(self, *topics: str) -> Iterator[tuple[str, int, bytes]]:
        """Messages of these topics in the order in which they came: topic, time [ns since 1970], serialized (CDR).

        Where the clock that stamped them was set, times go on evenly from there.

        Raises:
            BagError: the bag has no such topic, or is damaged where it is read.
        """
        self.require(*topics)
        if not topics:  # the library takes that for all of them
            return
        missing = Counter({self._connections[topic].topic: self.topics[topic] for topic in topics})
        totals = dict.fromkeys(missing, 0)
        with self._reading("read to its end"):
            found = self._as_written(topics) if self.order.jumps else self._by_time(topics)
            for topic, time_ns, set_by, data in found:
                missing[topic] -= 1
                if self._custom:
                    totals[topic] += checksum(time_ns, data)
                yield self._relative(topic), time_ns - set_by, data
            for topic, count in missing.items():
                if metadata.is_other(self._custom, topic, self.topics[self._relative(topic)] - count, totals[topic]):
                    raise BagError(f"the bag {self.path} is damaged: messages of {topic} are not what their checksum "
                                   "says, and nothing tells which, so that none of them can be trusted")
                if count:
                    raise Damaged(f"{topic} must have {self.topics[self._relative(topic)]} messages as the bag says, "
                                  f"found {self.topics[self._relative(topic)] - count}")

    def _by_time(self, topics: Sequence[str]) -> Iterator[tuple[str, int, int, bytes]]:
        """Messages in the order of their times: topic, time, how far the clock was set until then [ns], bytes."""
        for connection, time_ns, data in self._reader.messages(self._asked(topics)):
            yield connection.topic, time_ns, 0, data

    def _as_written(self, topics: Sequence[str]) -> Iterator[tuple[str, int, int, bytes]]:
        """The same in the order of the file."""
        wanted = {self._connections[topic].topic for topic in topics}
        jumps = list(reversed(self.order.jumps))
        set_by = 0
        for place, (topic, time_ns, data) in enumerate(written(self._files())):
            while jumps and jumps[-1].place <= place:
                set_by += jumps.pop().by
            if topic in wanted:
                yield topic, time_ns, set_by, data

    def _files(self) -> list[Path]:
        """The files with the messages, as the library reads them: it unpacks those that are compressed."""
        return [Path(file.path) for file in self._storages]

    def require(self, *topics: str) -> None:
        """BagError unless the bag has all of these topics."""
        for topic in topics:
            if topic not in self.topics:
                raise BagError(f"the bag {self.path} must hold {topic}, found {', '.join(sorted(self.topics))}")

    def close(self) -> None:
        """Close the file."""
        if self._reader.is_open:
            self._reader.close()

    def __enter__(self: _Reader) -> _Reader:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    def _check_files(self) -> None:
        """Look at what the library does not: Damaged where what the bag says of its files is not what they say."""
        storage: Any = self._reader.storage
        self._storages = list[Any](storage.storages if isinstance(storage, DirectoryReader) else [storage])
        counts: Counter[tuple[str, str]] = Counter()
        for file in self._storages:
            if file.path.suffix == ".db3":
                if damage := sqlite_recovery.damage(file.path):
                    raise Damaged(damage)
            else:
                check_end(file.path)
            for connection in file.connections:
                counts[connection.topic, connection.msgtype] += connection.msgcount
        told = Counter({(connection.topic, connection.msgtype): connection.msgcount
                        for connection in self._reader.connections})
        if isinstance(storage, DirectoryReader) and +told != +counts:
            topic, kind = min((+told - +counts) + (+counts - +told))
            raise Damaged(f"{METADATA} must tell what is in the files, found {told[topic, kind]} messages of {topic} "
                          f"({kind}) instead of {counts[topic, kind]}")
        if self._reader.message_count != sum(counts.values()):
            raise Damaged(f"it must tell of {sum(counts.values())} messages, found {self._reader.message_count}")
        # Of messages as they were recorded; of such as were compressed since, nothing tells.
        self._custom = None if self._reader.compression_mode else storage.metadata.custom
        self.start = min((file.metadata.start_time for file in self._storages), default=0)
        self.end = max((file.metadata.end_time for file in self._storages), default=1) - 1

    def _asked(self, topics: Sequence[str]) -> list[Connection]:
        """The connections of these topics as the files have them, also where the metadata tell of another QoS."""
        names = {self._connections[topic].topic for topic in topics}
        return [found for file in self._storages for found in file.connections if found.topic in names]

    def _find_namespace(self, wanted: str | None) -> str:
        here = [found.topic.removesuffix(f"/{_TICKS}") for found in self._reader.connections
                if found.msgtype == _TICK_TYPE and found.topic.endswith(f"/{_TICKS}")]
        if wanted is not None:
            here = [namespace for namespace in here if namespace.strip("/") == wanted.strip("/")]
        if len(here) > 1:
            raise BagError(f"the bag {self.path} holds several robots: say which by namespace:= "
                           f"{' or '.join(namespace or _ROOT for namespace in sorted(here))}")
        if not here:
            place = "" if wanted is None else f" in the namespace {wanted or _ROOT}"
            found = ", ".join(sorted({found.topic for found in self._reader.connections})) or "no topic"
            raise BagError(f"the bag {self.path} must hold {_TICKS} ({_TICK_TYPE}){place}, found {found}")
        return here[0]

    def _relative(self, topic: str) -> str:
        inside = topic.startswith(f"{self.namespace}/") and topic != "/diagnostics"
        return topic[len(self.namespace) + 1:] if inside else topic

    @contextmanager
    def _reading(self, what: str) -> Iterator[None]:
        """Whatever a damaged file makes the library raise, as one sentence."""
        try:
            yield
        except (BagError, GeneratorExit):
            raise
        except Exception as error:
            said = f"the bag {self.path} can't be {what} ({_first_line(error)})"
            folder = self.path if self.path.is_dir() else self.path.parent
            if isinstance(error, OSError) or any(
                    word in str(error) for word in _UNKNOWN):
                raise BagError(said) from error
            raise BagError(f"{said}; if its recorder was killed, `./run repair {folder}` finishes it, and of a damaged "
                           "one it keeps what can be read") from error


def _check_place(path: Path) -> None:
    """Raises BagError where there can't be a bag."""
    if not path.exists():
        raise BagError(f"the bag must be the folder of a recording, found nothing at {path}")
    if path.is_dir() and not (path / METADATA).exists():
        bags = sorted(found.parent.name for found in path.glob(f"*/{METADATA}"))
        if bags:
            raise BagError(f"the bag must be the folder of one recording, and {path} holds {len(bags)}: name one of "
                           f"{', '.join(bags)}")
        files = sorted(found.name for found in path.iterdir() if found.suffix in (".mcap", ".db3"))
        raise BagError(f"the bag must be the folder of a recording with a {METADATA}, found none in {path}"
                       f"{f'; `./run repair {path}` makes it of {files[0]}' if files else ''}")


def _first_line(error: Exception) -> str:
    said = str(error) if isinstance(error, Damaged) else f"{type(error).__name__}: {error}"
    return said.splitlines()[0].rstrip(".: ")
