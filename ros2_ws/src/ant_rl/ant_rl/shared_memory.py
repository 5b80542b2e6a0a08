"""What Fast DDS leaves in shared memory where one of several processes is killed, and how to take it away.

Each process holds a lock on the files that it owns (flock on NAME_el); the files of one that was killed, and those
that others had opened together with it, are left for ever. `fastdds shm clean` goes by the same locks, but takes away
what all programs of the machine have left.
"""

from __future__ import annotations

import fcntl
import os
import re
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

FOLDER = Path("/dev/shm")
_OURS = re.compile(r"fast(dds|rtps)_([0-9a-f]{16}|port\d+)")  # Fast DDS 3 and 2: of a process, of one of its ports
_MAPPED = re.compile(r"^\S+ \S+ \S+ (\w+):(\w+) (\d+) +/", re.MULTILINE)  # proc(5)
_IN_THE_MAKING = 1.0  # [s] a younger file may not be locked yet


def inodes(folder: Path = FOLDER) -> set[int]:
    """Of the segments that are there already, and so are none of our business."""
    return {about.st_ino for about in _segments(folder).values()}


def remove_unused(before: Collection[int], folder: Path = FOLDER) -> list[str]:
    """Delete this user's segments that no process uses any more; returns their names.

    Args:
        before: inodes of those that stay in any case.
        folder: where they are.
    """
    latest = time.time() - _IN_THE_MAKING
    candidates = {name: about for name, about in _segments(folder).items()
                  if about.st_ino not in before and about.st_uid == os.getuid() and about.st_ctime < latest}
    used = _mapped() if candidates else set()
    return [name for name, about in candidates.items()
            if (about.st_dev, about.st_ino) not in used and _remove(folder / name)]


def _segments(folder: Path) -> dict[str, os.stat_result]:
    found = {}
    for name in filter(_OURS.fullmatch, os.listdir(folder) if folder.is_dir() else ()):
        try:
            found[name] = (folder / name).lstat()
        except FileNotFoundError:
            continue  # its owner has just ended
    return found


def _remove(segment: Path) -> bool:
    """Delete a segment and what belongs to it, unless somebody holds its lock."""
    lock, shared = (segment.with_name(segment.name + suffix) for suffix in ("_el", "_sl"))
    with _held(lock) as first, _held(shared) as second:
        if not (first and second):
            return False
        for file in (segment, segment.with_name(f"sem.{segment.name}_mutex"), lock, shared):
            file.unlink(missing_ok=True)
    return True


@contextmanager
def _held(lock: Path) -> Iterator[bool]:
    """Hold a lock file, where there is one; False where somebody else does."""
    try:
        fd = os.open(lock, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        yield True
        return
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
    finally:
        os.close(fd)


def _mapped() -> set[tuple[int, int]]:
    """Device and inode of each file that a process of this user has mapped."""
    found = set()
    for maps in Path("/proc").glob("[0-9]*/maps"):
        try:
            text = maps.read_text(errors="replace")
        except OSError:
            continue  # it has just ended, or is another user's, who can't write to these files
        for major, minor, inode in _MAPPED.findall(text):
            found.add((os.makedev(int(major, 16), int(minor, 16)), int(inode)))
    return found
