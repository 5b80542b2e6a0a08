"""Files that are written whole or not at all, folders that one process holds, and what is said of paths."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from ant_rl_core.settings import ArgumentError

# What flock says on a file system that has no locks for folders, such as NFS.
_NO_LOCKS = (errno.ENOLCK, errno.EBADF, errno.EOPNOTSUPP, errno.EINVAL)


def write_atomically(path: str | os.PathLike[str], data: bytes) -> None:
    """Write aside, flush to the disk, rename: a crash leaves the old file or the new one, whole."""
    with replacing(Path(path)) as file:
        file.write(data)


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file aside that takes the place of `path`, flushed to the disk, when the block ends without an exception."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with open(aside, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


class FolderBusyError(RuntimeError):
    """Another process holds the folder; the text is one sentence."""


class FolderLock:
    """Holds a folder until `close`, or until the process ends, however it ends; use it as a context manager.

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
        self._fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _holder(self._fd)
            os.close(self._fd)
            raise FolderBusyError(f"{what} must have its folder to itself, found {folder} in use"
                                  f"{f' by process {holder}' if holder else ''}: wait for its end, or name another "
                                  "folder") from None
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                os.close(self._fd)
                raise

    def close(self) -> None:
        """Let the folder go."""
        os.close(self._fd)

    def __enter__(self) -> FolderLock:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()


def check_new_folder(name: str, path: str) -> None:
    """ArgumentError unless a folder can be made at `path`, the value of argument `name`, where nothing is yet."""
    target = Path(path).absolute()
    if target.exists():
        raise ArgumentError(f"{name} must be a folder that does not exist yet, found {path}; name another or remove it")
    above = next(folder for folder in target.parents if folder.exists())
    if not above.is_dir() or not os.access(above, os.W_OK):
        raise ArgumentError(f"{name} must be in a folder that can be written, found {path}; {above} is none")


def check_writable(name: str, path: str) -> None:
    """ArgumentError unless a file can be written at `path`, the value of argument `name`."""
    target = Path(path)
    if target.is_dir():
        raise ArgumentError(f"{name} must be a file, found the folder {path}")
    folder = target.absolute().parent
    if not folder.is_dir():
        raise ArgumentError(f"{name} must be in a folder that exists, found {path}; make {folder} first")
    if not os.access(folder, os.W_OK) or (target.exists() and not os.access(target, os.W_OK)):
        raise ArgumentError(f"{name} must be a file that can be written, found {path}")


def _holder(fd: int) -> int | None:
    """The process that holds the lock of an open folder, where the kernel tells (proc_locks(5))."""
    found = os.fstat(fd)
    place = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
    try:
        rows = Path("/proc/locks").read_text().splitlines()
    except OSError:
        return None
    return next((int(row[4]) for row in map(str.split, rows) if row[1] == "FLOCK" and row[5] == place), None)
