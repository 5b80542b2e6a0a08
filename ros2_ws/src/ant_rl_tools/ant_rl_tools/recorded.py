"""Recordings of the stack, read as the messages and ticks that they hold."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from typing import Any, TypeVar

from ament_index_python.packages import get_package_share_directory
from ant_rl_interfaces.msg import JointTorques, Observation
from rclpy.serialization import deserialize_message

from ant_rl_core import settings
from ant_rl_core.settings import Settings
from ant_rl_core.spec import ANT
from ant_rl_core.tick import RowTasks, Tick
from ant_rl_ros.messages import decode_observation, decode_tasks
from ant_rl_ros.wire import FlatCodec, read_stamp
from recorder_node.bag_reader import BagReader
from recorder_node.codec import STATS, TOPICS, type_name
from recorder_node.definitions import read_definition
from recorder_node.storage import BagError

T = TypeVar("T")

_QUICKLY = (Observation, JointTorques)


class Recording(BagReader):
    """A bag of the stack; arguments, attributes and refusals as those of `BagReader`."""

    def messages(self, *topics: str) -> Iterator[tuple[str, int, Any]]:
        """Messages of these topics in the order in which they came: topic, time [ns since 1970], message.

        Those of `observation` and `joint_torques` have no header and memoryviews for arrays (see `FlatCodec.read`).

        Raises:
            BagError: as of `BagReader`, or the bag was recorded with another version of a message.
        """
        for topic, time_ns, _, message in self.stamped(*topics):
            yield topic, time_ns, message

    def stamped(self, *topics: str) -> Iterator[tuple[str, int, int, Any]]:
        """As `messages`, with the stamp of the header [ns since 1970] before the message."""
        readers = {topic: self.reader(topic) for topic in topics if topic in self.topics}
        for topic, time_ns, data in self.raw_messages(*topics):
            try:
                yield topic, time_ns, read_stamp(data), readers[topic](data)
            except ValueError as error:
                raise BagError(f"the bag {self.path} is damaged: {error}; `./run repair {self.path}` says whether it "
                               "can be mended") from error

    def ticks(self) -> Iterator[Tick]:
        """Observations in their order, each once: one that went unanswered was sent, and recorded, again.

        Raises:
            BagError: as of `messages`, or the observations are of another robot.
        """
        for _, _, tick in self.stamped_ticks():
            yield tick

    def tasks(self) -> list[RowTasks]:
        """What was told of the robots' tasks, in the order of their ticks; empty where there are none.

        Raises:
            BagError: as of `messages`.
        """
        if "task" not in self.topics:
            return []
        try:
            found = [decode_tasks(message) for _, _, message in self.messages("task")]
        except ValueError as error:
            raise BagError(f"the bag {self.path} is damaged: {error}") from error
        return list(self.in_order(found, lambda tasks: tasks))

    def stamped_ticks(self) -> Iterator[tuple[int, int, Tick]]:
        """As `ticks`, with when each came and its stamp [ns since 1970] before it."""
        newest: dict[int, int] = {}
        for _, time_ns, stamp_ns, message in self._observations():
            if message.step_id <= newest.get(message.session, -1):
                continue
            newest[message.session] = message.step_id
            try:
                tick = decode_observation(message, ANT)
            except ValueError as error:
                raise BagError(f"the bag {self.path} must be of an {ANT.name}: {error}") from error
            yield time_ns, stamp_ns, tick

    def _observations(self) -> Iterable[tuple[str, int, int, Any]]:
        """As `stamped`, in the order of their ticks."""
        return self.in_order(self.stamped("observation"), lambda found: found[3])

    def in_order(self, found: Iterable[T], tick: Callable[[T], Any]) -> Iterable[T]:
        """What was found of ticks, in the order of their sessions and step_ids; kept in memory where it lies otherwise.

        Args:
            found: as it lies in the bag.
            tick: what has session and step_id of one of these.
        """
        if not (self.order.mixed or self.order.beside):
            return found
        sessions: dict[int, int] = {}
        kept = [(sessions.setdefault(tick(each).session, len(sessions)), tick(each).step_id, each) for each in found]
        return [each for _, _, each in sorted(kept, key=lambda entry: entry[:2])]

    def reader(self, topic: str) -> Callable[[bytes], Any]:
        """What makes a message of its bytes, ValueError where they are damaged.

        Raises:
            BagError: the topic is none of the stack, or of another version of its message than this workspace's.
        """
        msg_type = STATS if topic.startswith("stats/") else TOPICS.get(topic)
        found, found_hash = self.types[topic]
        if msg_type is None or type_name(msg_type) != found:
            expected = "a topic of the stack" if msg_type is None else type_name(msg_type)
            raise BagError(f"{topic} of the bag {self.path} must be {expected}, found {found}")
        own_hash = self._hashes[found]
        if found_hash and found_hash != own_hash:
            raise BagError(f"{topic} of the bag {self.path} is of another version of {found} than this workspace's "
                           f"({found_hash[:15]}…, here {own_hash[:15]}…): record it anew, or use the version that "
                           "recorded it")
        if msg_type in _QUICKLY:
            return FlatCodec(msg_type).read
        return partial(_deserialized, msg_type)

    def named(self, what: str, names: Sequence[str], values: Sequence[Any]) -> dict[str, Any]:
        """The values by their names, of a message that holds both in two lists.

        Raises:
            BagError: there are more or fewer names than values; `what` are theirs.
        """
        if len(names) != len(values):
            raise BagError(f"the {what} of the bag {self.path} must each have a name and a value, found {len(names)} "
                           f"names and {len(values)} values")
        return dict(zip(names, values, strict=True))

    def settings(self, cls: type[Settings], what: str, values: Mapping[str, Any]) -> Any:
        """An instance of `cls` with these values; `what` is set by them.

        Raises:
            BagError: there is no such setting, or it can't have such a value.
        """
        try:
            (built,) = settings.build([cls], {name: settings.format_value(value) for name, value in values.items()})
        except settings.ArgumentError as error:
            raise BagError(f"{what} of the bag {self.path} can't be made again: {error}") from error
        return built

    def notes(self) -> list[str]:
        """Sentences about its order, where that is not what it seems."""
        return [f"the bag {self.path}: {sentence}" for sentence in self.order.sentences()]

    @cached_property
    def _hashes(self) -> dict[str, str]:
        """Hash of every type of the stack, by name."""
        names = map(type_name, (*TOPICS.values(), STATS))
        return {name: read_definition(name, get_package_share_directory).type_hash for name in names}


def _deserialized(msg_type: type, data: bytes) -> Any:
    try:
        return deserialize_message(data, msg_type)
    except (RuntimeError, MemoryError, UnicodeDecodeError) as error:  # of rclpy, whose reason is none of the data's
        raise ValueError(f"{msg_type.__name__} must be whole, found {len(data)} bytes that are not") from error
