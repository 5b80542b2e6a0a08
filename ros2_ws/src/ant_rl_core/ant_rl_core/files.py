"""Files that are written whole or not at all, folders that one process holds, and what is said of paths.

Whatever writes to a path that a user named does it here: through links, to devices and pipes directly, and to files by
a new one that takes the old one's place.
"""

from __future__ import annotations

import errno
import fcntl
import io
import os
import select
import shutil
import stat
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from ant_rl_core.settings import ArgumentError

# What flock says on a file system that has no locks for folders, such as NFS.
_NO_LOCKS = (errno.ENOLCK, errno.EBADF, errno.EOPNOTSUPP, errno.EINVAL)
# What rename says of a file that is mounted by itself, or that another user has in a folder such as /tmp.
_NOT_TO_BE_RENAMED = (errno.EBUSY, errno.EXDEV, errno.EPERM, errno.EACCES)
# [s] for a pipe's reader to come, and then to read on: the stack gives each of its nodes 6 s to end.
_READER_PATIENCE = 2.0


def write_atomically(path: str | os.PathLike[str], data: bytes) -> None:
    """Write aside, flush to the disk, rename: a crash leaves the old file or the new one, whole; see `replacing`."""
    with replacing(Path(path)) as file:
        file.write(data)


@contextmanager
def replacing(path: Path, under_one_name: bool = False) -> Iterator[BinaryIO]:
    """A file aside that takes the place of `path`, flushed to the disk, when the block ends without an exception.

    That place is where a link at `path` leads to, and the link stays. Of a file that was there, mode and owner stay
    where that is allowed. What can't be replaced, a device, a pipe or a file that has other names too or is mounted
    by itself, gets the bytes once they are all there.

    Args:
        path: of the file.
        under_one_name: a file that has other names too stays what it was under those.

    Raises:
        OSError: it can't be written; a pipe has had no reader for 2 s.
    """
    place = Path(os.path.realpath(path))
    if _has_no_place(path, place):
        gathered = io.BytesIO()
        yield gathered
        _pour(path, gathered.getbuffer())
        return
    aside = _aside(place)
    try:
        with open(aside, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        _move(aside, place, under_one_name)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    directory = os.open(place.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _aside(place: Path) -> Path:
    """What is written before it takes its place; a long name is cut, as it gets longer."""
    name = os.fsdecode(os.fsencode(place.name)[:200])
    return place.with_name(f".{name}.{os.getpid()}.part")


def _status(path: str | os.PathLike[str]) -> os.stat_result | None:
    """Of what a path leads to, None where there is nothing; OSError for a loop of links and what can't be looked at."""
    try:
        return os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None


def _has_no_place(path: Path, place: Path) -> bool:
    """Whether another file can't take the place of what is there."""
    found = _status(path)
    if found is None:
        return False
    return (not stat.S_ISREG(found.st_mode) or _own_descriptor(path) is not None
            or not os.access(place.parent, os.W_OK))


def _own_descriptor(path: str | os.PathLike[str]) -> int | None:
    """The open file of this process that a path such as /dev/stdout stands for."""
    for _ in range(40):  # as many links as Linux follows
        folder = os.path.realpath(os.path.dirname(os.path.abspath(path)))
        name = os.path.basename(path)
        if folder == f"/proc/{os.getpid()}/fd" and name.isdigit():
            return int(name)
        path = os.path.join(folder, name)
        if not os.path.islink(path):
            return None
        path = os.path.join(folder, os.readlink(path))
    return None


def _move(aside: Path, place: Path, under_one_name: bool) -> None:
    """Put a file in the place of another, or its bytes into the other where that has to stay."""
    found = _status(place)
    if found is None:
        os.replace(aside, place)
        return
    made = os.stat(aside)
    if (made.st_uid, made.st_gid) != (found.st_uid, found.st_gid):
        try:
            os.chown(aside, found.st_uid, found.st_gid)
        except PermissionError:
            pass  # only root may give files away; they are then this user's, as new ones are
    os.chmod(aside, stat.S_IMODE(found.st_mode))
    try:
        if found.st_nlink == 1 or under_one_name:
            os.replace(aside, place)
            return
    except OSError as error:
        if error.errno not in _NOT_TO_BE_RENAMED:
            raise
    with open(aside, "rb") as source, open(place, "r+b") as target:
        shutil.copyfileobj(source, target)
        target.truncate()
        target.flush()
        os.fsync(target.fileno())
    aside.unlink()


def _pour(path: Path, data: memoryview) -> None:
    """Write to what has no place that another file could take."""
    number = _own_descriptor(path)
    if number is not None:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()  # what was printed before comes first
        target = os.dup(number)
    else:
        target = _opened(path)
    try:
        is_pipe = number is None and stat.S_ISFIFO(os.fstat(target).st_mode)
        while data:
            if is_pipe and not select.select([], [target], [], _READER_PATIENCE)[1]:
                raise OSError(errno.ETIMEDOUT, "the reader of this pipe does not read on")
            data = data[os.write(target, data):]
        if stat.S_ISREG(os.fstat(target).st_mode) and number is None:
            os.fsync(target)
    finally:
        os.close(target)


def _opened(path: Path) -> int:
    """Open what is there for writing. Nothing says when a pipe's reader comes, so that it is asked for now and then."""
    mode = os.stat(path).st_mode
    if not stat.S_ISFIFO(mode):
        return os.open(path, os.O_WRONLY | os.O_TRUNC | os.O_NOCTTY)
    end = time.monotonic() + _READER_PATIENCE
    while True:
        try:
            return os.open(path, os.O_WRONLY | os.O_NONBLOCK)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            if time.monotonic() > end:
                raise OSError(errno.ENXIO, "nobody reads this pipe") from error
        time.sleep(0.02)


class FolderBusyError(RuntimeError):
    """Another process holds the folder; the text is one sentence."""


class FolderLock:
    """Holds a folder until `close`, or until this object or the process ends, however it ends; a context manager.

    The lock is the kernel's (flock) on the folder itself: it leaves no file behind and can't be left locked. On a file
    system without such locks (NFS) nothing is held and nothing refused.

    Args:
        folder: it exists.
        what: what it is for, in the refusal: "a recording", "a training".

    Raises:
        FolderBusyError: another process, or another object of this one, holds it.
        OSError: the folder can't be opened.
    """

    def __init__(self, folder: str | os.PathLike[str], what: str) -> None:
        self._fd = -1
        self._fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _holder(self._fd)
            self.close()
            raise FolderBusyError(f"{what} must have its folder to itself, found {folder} in use"
                                  f"{f' by process {holder}' if holder else ''}: wait for its end, or name another "
                                  "folder") from None
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                self.close()
                raise

    def close(self) -> None:
        """Let the folder go; once more does nothing."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __del__(self) -> None:
        self.close()

    def __enter__(self) -> FolderLock:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()


def check_new_folder(name: str, path: str) -> None:
    """ArgumentError unless a folder can be made at `path`, the value of argument `name`, where nothing is yet."""
    target = Path(path).absolute()
    try:
        found = os.lstat(target)
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:  # such as too long a name
        raise ArgumentError(f"{name} must be a folder that can be made, found {path} ({error.strerror})") from error
    else:
        what = ", a link" if stat.S_ISLNK(found.st_mode) else ""
        raise ArgumentError(f"{name} must be a folder that does not exist yet, found {path}{what}; name another or "
                            "remove it")
    above = next(folder for folder in target.parents if os.path.exists(folder))
    if not above.is_dir() or not os.access(above, os.W_OK):
        raise ArgumentError(f"{name} must be in a folder that can be written, found {path}; {above} is none")


def check_writable(name: str, path: str) -> None:
    """ArgumentError unless `replacing` can write to `path`, the value of argument `name`; a reader may come later."""
    place = Path(os.path.realpath(path))
    try:
        found = _status(path)
        if found is None:
            if not place.parent.is_dir():
                raise ArgumentError(f"{name} must be in a folder that exists, found {path}"
                                    f"{f', a link to {place}' if os.path.islink(path) else ''}; make {place.parent} "
                                    "first")
        elif stat.S_ISDIR(found.st_mode):
            raise ArgumentError(f"{name} must be a file, found the folder {path}")
        elif stat.S_ISBLK(found.st_mode) or stat.S_ISSOCK(found.st_mode):
            what = "disk" if stat.S_ISBLK(found.st_mode) else "socket"
            raise ArgumentError(f"{name} must be a file, found the {what} {path}")
        elif not os.access(path, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        if not _has_no_place(Path(path), place):
            aside = _aside(place)
            aside.touch()  # tried, as much stands in the way that nobody can ask for
            aside.unlink()
    except OSError as error:
        raise ArgumentError(f"{name} must be a file that can be written, found {path} ({error.strerror})") from error


def check_not_an_input(name: str, path: str, inputs: Iterable[str | os.PathLike[str]]) -> None:
    """ArgumentError where to write `path`, the value of argument `name`, would write over what is read.

    Args:
        name, path: of the output; empty: none.
        inputs: files, and folders in which no file may be written over; what is not there is none.
    """
    if not path or not os.path.exists(path):
        return
    place = Path(os.path.realpath(path))
    for each in inputs:
        if os.path.exists(each) and (os.path.samefile(each, path) or Path(os.path.realpath(each)) in place.parents):
            raise ArgumentError(f"{name} must not be what is read, found {path}; name another file")


def _holder(fd: int) -> int | None:
    """The process that holds the lock of an open folder, where the kernel tells (proc_locks(5))."""
    found = os.fstat(fd)
    place = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
    try:
        rows = Path("/proc/locks").read_text().splitlines()
    except OSError:
        return None
    return next((int(row[4]) for row in map(str.split, rows) if row[1] == "FLOCK" and row[5] == place), None)
