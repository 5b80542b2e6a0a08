"""The files of a bag: which they are, and what each holds and gives when it is repaired."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path, PurePath
from typing import Any, BinaryIO, Protocol

from recorder_node.mcap_end import Damaged, open_data
from recorder_node.metadata import METADATA
from recorder_node.repair import mcap_recovery, sqlite_recovery
from recorder_node.repair.found import Found
from recorder_node.repair.mcap_scan import McapScan
from recorder_node.storage import BagError

KINDS = {".mcap": "mcap", ".db3": "sqlite3"}
COMPRESSED = ".zstd"  # of a file that is compressed as a whole
_NUMBERED = re.compile(r"(.*)_(\d+)")

Describe = Callable[[Found], str]


class BagFile(Protocol):
    """One file of a bag, examined.

    Attributes:
        path: of the file.
        found: what it holds.
        beside: further files that belong to it.
    """

    path: Path
    found: Found
    beside: list[Path]

    def recover(self, file: BinaryIO, describe: Describe) -> Found:
        """Write what can be kept into an empty file, which has a name; returns what that holds, and what was lost.

        Raises:
            OSError, sqlite3.Error: it can't be written.
            BagError: nothing of it can be kept.
        """


class McapFile:
    """See `BagFile`."""

    def __init__(self, path: Path) -> None:
        self.path, self.beside = path, list[Path]()
        with open_data(path) as data:
            scan = McapScan(data)
        if scan.unknown_compression:
            raise BagError(f"{path} holds chunks compressed by {scan.unknown_compression}, which repair does not know: "
                           "nothing was changed")
        if scan.is_unplaced:
            raise BagError(f"{path} is damaged where nothing tells the place ({scan.problems[0]}), so that any of its "
                           "messages may be wrong: it can't be repaired, nothing was changed")
        self.found, self._scan = mcap_recovery.found(scan), scan

    def recover(self, file: BinaryIO, describe: Describe) -> Found:
        """See `BagFile`."""
        with open_data(self.path) as data:
            mcap_recovery.recover(self._scan, data, file, describe(self.found))
        return self.found


class SqliteFile:
    """See `BagFile`."""

    def __init__(self, path: Path) -> None:
        self.path, self.found, self.beside = path, sqlite_recovery.examine(path), sqlite_recovery.sides(path)

    def recover(self, file: BinaryIO, describe: Describe) -> Found:
        """See `BagFile`."""
        target = Path(file.name)
        found = sqlite_recovery.recover(self.path, target)
        sqlite_recovery.describe(target, describe(found))
        return found


def opened(path: Path) -> BagFile:
    """Examine a file; BagError where it is none of a bag, or still written to."""
    if is_written(path):
        raise BagError(f"{path} is still written to: stop its recorder first")
    try:
        return examined(path, path.suffix)
    except Damaged as error:
        raise BagError(f"{path} must be {'an MCAP' if path.suffix == '.mcap' else 'an SQLite'} file, but {error}: it "
                       "can't be repaired") from error


def examined(path: Path, suffix: str) -> BagFile:
    """Examine a file of the kind that a suffix says; Damaged or BagError where it is none."""
    return McapFile(path) if suffix == ".mcap" else SqliteFile(path)


def is_written(path: Path) -> bool:
    """Whether a process has the file open to write to it, as far as the file system tells (fcntl(2), leases)."""
    with open(path, "rb") as file:
        try:
            fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        except OSError as error:
            return error.errno == errno.EAGAIN
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        return False


def files_of(folder: Path, told: Mapping[str, Any] | None) -> list[Path]:
    """The files of the bag in a folder, in their order.

    Args:
        folder: of the bag.
        told: its metadata; None where there are none that can be read.

    Raises:
        BagError: there is none, one is missing, or it can't be told which they are.
    """
    named = told.get("relative_file_paths") if told is not None else None
    names = [PurePath(name).name for name in named if isinstance(name, str)] if isinstance(named, list) else []
    missing = [name for name in names if not (folder / name).is_file()]
    if names and not missing:
        return [folder / name for name in names]
    there = sorted((path for path in folder.iterdir() if path.is_file() and _is_of_bag(path)), key=_number)
    if not there:
        raise BagError(f"{folder} must be the folder of a recording with a {METADATA} and a file of messages (.mcap, "
                       f".db3), found none of these{' files' if told is not None else ''}")
    if names and (len(missing) < len(names) or len(there) != len(names)):
        raise BagError(f"{folder} must hold {', '.join(missing)}, as its {METADATA} says, found "
                       f"{', '.join(path.name for path in there)}: put the file back")
    numbered = [_NUMBERED.fullmatch(path.name.removesuffix(COMPRESSED).removesuffix(path.suffix)) for path in there]
    alike = {(match and match[1], _kind(path)) for match, path in zip(numbered, there, strict=True)}
    if len(there) > 1 and (len(alike) > 1 or [_number(path)[0] for path in there] != list(range(len(there)))):
        raise BagError(f"{folder} must be the folder of one recording, found {', '.join(path.name for path in there)} "
                       f"and no {METADATA} that says which belong together")
    return there


def keep(path: Path, by_name: bool = True) -> Path:
    """Keep a file beside under a name of its own; returns that.

    Args:
        path: of the file; where it is a link, what that leads to is kept.
        by_name: give it a further name, which takes no room; it must not be written to then.
    """
    number = 1
    while (beside := path.with_name(f"{path.name}.damaged{'' if number == 1 else number}")).exists():
        number += 1
    try:
        if by_name:
            os.link(os.path.realpath(path), beside)
            return beside
    except OSError:  # another disk, or one whose files have one name each
        pass
    shutil.copy2(path, beside)
    return beside


def _is_of_bag(path: Path) -> bool:
    return not path.name.startswith(".") and _kind(path) in KINDS


def _kind(path: Path) -> str:
    return PurePath(path.name.removesuffix(COMPRESSED)).suffix


def _number(path: Path) -> tuple[int, str]:
    match = _NUMBERED.fullmatch(PurePath(path.name.removesuffix(COMPRESSED)).stem)
    return int(match[2]) if match else 0, path.name
