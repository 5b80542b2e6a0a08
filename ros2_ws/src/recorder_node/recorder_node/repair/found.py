"""What was found in the files of a bag, of either storage."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from recorder_node.storage import Contents, Topic

UNDESCRIBED = "topics that nothing describes any more"
HEAD = 4  # [bytes] of a message that tell whether it is compressed
_ZSTD = b"\x28\xb5\x2f\xfd"


def is_compressed(head: bytes) -> bool | None:
    """Whether a message that begins so was compressed by itself, as none in CDR does; None where it can't be told."""
    return True if head == _ZSTD else False if head[:1] == b"\0" else None


@dataclass
class Lost:
    """What can't be read any more.

    Attributes:
        counts: messages by topic, as far as something tells.
        start, end: between which times [ns since 1970]; None where nothing tells.
        is_more: there may be more than `counts`, and nothing tells how many.
        others: what else is gone, in words.
    """

    counts: Counter[str] = field(default_factory=Counter)
    start: int | None = None
    end: int | None = None
    is_more: bool = False
    others: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(+self.counts) or self.is_more or bool(self.others)

    def between(self, start: int, end: int) -> None:
        """Something is lost between these times."""
        self.start = start if self.start is None else min(self.start, start)
        self.end = end if self.end is None else max(self.end, end)

    def add(self, other: Lost) -> None:
        """Take what another file lost."""
        self.counts += other.counts
        if other.start is not None and other.end is not None:
            self.between(other.start, other.end)
        self.is_more |= other.is_more
        self.others += other.others


@dataclass
class Found:
    """What one file or all of a bag hold.

    Attributes:
        topics: by name.
        counts: messages by topic.
        start, end: time of the first and the last message [ns since 1970]; None without any.
        compressed: whether each message is compressed by itself; None without any.
        description: text of the bag's metadata that the file holds; None where it holds none.
        reason: why it is not whole; empty: it is.
        lost: what can't be read.
        unfinished: bytes at the end that a recorder had not finished.
        promised: messages by topic that the file says it holds; None where it does not say.
        sums: checksum of all messages by topic, of a storage that has none of its own.
    """

    topics: dict[str, Topic] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    start: int | None = None
    end: int | None = None
    compressed: bool | None = None
    description: str | None = None
    reason: str = ""
    lost: Lost = field(default_factory=Lost)
    unfinished: int = 0
    promised: Counter[str] | None = None
    sums: Counter[str] = field(default_factory=Counter)

    @property
    def total(self) -> int:
        """How many messages."""
        return sum(self.counts.values())

    def contents(self) -> Contents:
        """The same as the storages tell it: topics numbered from 1."""
        return Contents(tuple(self.topics.values()),
                        {number: self.counts[name] for number, name in enumerate(self.topics, 1)},
                        self.start or 0, self.end or 0, dict(self.sums))


def joined(files: Iterable[Found]) -> Found:
    """What the files of a bag hold together."""
    whole = Found(promised=Counter())
    for file in files:
        for name, topic in file.topics.items():
            whole.topics.setdefault(name, topic)
        whole.counts += file.counts
        times = [time for time in (whole.start, whole.end, file.start, file.end) if time is not None]
        whole.start, whole.end = (min(times), max(times)) if times else (None, None)
        whole.compressed = file.compressed if whole.compressed is None else whole.compressed
        whole.description = file.description or whole.description
        whole.reason = whole.reason or file.reason
        whole.lost.add(file.lost)
        whole.unfinished += file.unfinished
        for name, total in file.sums.items():
            whole.sums[name] += total
        if whole.promised is not None:
            whole.promised = None if file.promised is None else whole.promised + file.promised
    return whole
