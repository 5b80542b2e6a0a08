"""Files that are written whole or not at all, and what is said of paths that can't be written."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from ant_rl_core.settings import ArgumentError


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
