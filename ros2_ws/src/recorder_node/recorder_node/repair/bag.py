"""Finishes a bag whose recorder was killed, keeps what can be read of a damaged one, leaves a whole one as it is."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import zstandard

from ant_rl_core.files import FolderLock, replacing
from recorder_node import metadata
from recorder_node.bag import refusals
from recorder_node.metadata import METADATA
from recorder_node.repair.agreement import agrees, compression
from recorder_node.repair.files import COMPRESSED, KINDS, BagFile, examined, files_of, keep, opened
from recorder_node.repair.found import UNDESCRIBED, Found, Lost, joined
from recorder_node.repair.sqlite_recovery import promised
from recorder_node.storage import METADATA_VERSION, BagError, Contents

_MESSAGE, _FILE, _ZSTD = "MESSAGE", "FILE", "zstd"


@dataclass(frozen=True)
class Outcome:
    """What was found and done.

    Attributes:
        contents: what is in the bag now.
        is_changed: it was not whole before.
        lost: what could not be kept.
        unfinished: bytes left out of an end that was not finished.
        reason: why it was not whole.
        kept: the originals, where they lie beside now.
    """

    contents: Contents
    is_changed: bool = False
    lost: Lost = field(default_factory=Lost)
    unfinished: int = 0
    reason: str = ""
    kept: tuple[Path, ...] = ()

    def sentence(self) -> str:
        """The same in words."""
        contents = self.contents
        said = [f"{sum(contents.counts.values())} messages of {len(contents.topics)} topics, "
                f"{1e-9 * (contents.end - contents.start):.1f} s"]
        if not self.is_changed:
            return f"{said[0]}; it is whole and stays as it is"
        if self.unfinished:
            said.append(f"left out {self.unfinished} bytes of an end that was not finished")
        if self.lost:
            said.append(_lost(self.lost, contents))
        if not self.lost and not self.unfinished:
            said.append("nothing was lost")
        if self.kept:
            said.append(f"what was there is kept as {', '.join(map(str, self.kept))}")
        return "; ".join(said) + f" ({self.reason})" * bool(self.reason)


def repair(folder: Path) -> Outcome:
    """Repair a bag in its folder. One that is whole stays as it is, byte for byte.

    What can be read is written aside, read back, and takes the original's place then; where something is lost, the
    original is kept beside.

    Raises:
        BagError: it is no bag, it is still recorded, it can't be repaired, or it can't be written. Nothing was changed.
    """
    if folder.is_file():
        raise BagError(f"repair needs the folder of a recording, found the file {folder}: name {folder.parent}")
    if not folder.is_dir():
        raise BagError(f"{folder} must be the folder of a recording with a {METADATA} and a file of messages (.mcap, "
                       ".db3), found none")
    with refusals(folder, "repaired"), FolderLock(folder, "the repair of a recording"):
        told = metadata.read(folder)
        version = (told or {}).get("version", METADATA_VERSION)
        if type(version) is int and version > METADATA_VERSION:
            raise BagError(f"{folder} has metadata of version {version}, and repair knows versions up to "
                           f"{METADATA_VERSION}: nothing was changed")
        paths = files_of(folder, told)
        if told is not None and compression(told)[0] == _FILE or paths[0].name.endswith(COMPRESSED):
            return _leave_compressed(folder, paths, told)
        return _repair(folder, [opened(path) for path in paths], told)


def _repair(folder: Path, files: Sequence[BagFile], told: dict[str, Any] | None) -> Outcome:
    found = joined(file.found for file in files)
    right = _information(files[0].path, {file.path.name: file.found for file in files}, told)
    if not found.reason and told is not None and agrees(told, right):
        _check_sums(folder, found, told)
        return Outcome(found.contents())
    if not os.access(folder, os.W_OK):
        raise BagError(f"the bag {folder} can't be repaired: its folder can't be written")
    for leftover in folder.glob(".*.part"):  # of a repair that was killed
        shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
    now = {file.path.name: file.found for file in files}
    kept: dict[Path, Path] = {}
    try:
        with ExitStack() as stack:
            for file in files:
                if file.found.reason:
                    now[file.path.name] = _recover(file, stack, told)
            after = joined(now.values())
            _check_sums(folder, after, told)
            lost = _losses(after, told if found.reason else None)
            if found.reason and not after.total:
                raise BagError(f"{folder} holds no message that can be read ({found.reason}): there is nothing to "
                               "repair, and nothing was changed")
            changed = [file for file in files if file.found.reason]
            for path in (path for file in changed if lost or file.beside for path in (file.path, *file.beside)):
                kept[path] = keep(path)
            for path in (path for file in changed for path in file.beside):
                path.unlink()  # part of the database that goes: it would spoil the new one
            right = _information(files[0].path, now, told)
            is_told = told is not None and agrees(told, right)
            if not is_told and (folder / METADATA).exists() and (told is None or told.get("message_count")):
                kept[folder / METADATA] = keep(folder / METADATA, by_name=False)
    except BaseException:
        for path, beside in kept.items():
            beside.replace(path)
        raise
    if not is_told:
        metadata.write(folder, right)
    if not lost:
        for file in changed:
            for path in (file.path, *file.beside):
                if path in kept:
                    kept.pop(path).unlink()
    reason = found.reason or f"its {METADATA} {'could not be read' if told is None else 'told something else'}"
    return Outcome(after.contents(), True, lost, after.unfinished, reason, tuple(kept.values()))


def _check_sums(folder: Path, found: Found, told: dict[str, Any] | None) -> None:
    """BagError where messages are others than when they were recorded, which nothing else has shown."""
    before = told or metadata.parse(found.description or "") or {}
    custom = None if found.compressed else before.get("custom_data")
    for topic, total in found.sums.items():
        if metadata.is_other(custom, topic, found.counts[topic], total):
            raise BagError(f"{folder} is damaged where nothing tells the place: messages of {topic} are not what their "
                           "checksum says, and any of them may be wrong; it can't be repaired, nothing was changed")


def _recover(file: BagFile, stack: ExitStack, told: dict[str, Any] | None) -> Found:
    """Write what can be kept of a file aside, and read it back; it takes the file's place when the stack ends."""
    out = stack.enter_context(replacing(file.path, under_one_name=True))  # it may be kept beside by another
    found = file.recover(out, lambda held: metadata.text(_information(file.path, {file.path.name: held}, told)))
    out.flush()
    aside = Path(out.name)
    again = examined(aside, file.path.suffix).found
    if again.reason or (again.counts, again.start, again.end) != (+found.counts, found.start, found.end):
        raise BagError(f"{file.path} can't be repaired: what was written of it is not what was read "
                       f"({again.reason or 'other messages'}); nothing was changed")
    return found


def _information(path: Path, files: Mapping[str, Found], told: dict[str, Any] | None) -> dict[str, Any]:
    """The metadata of files, with what was told before of things that they do not tell."""
    found = joined(files.values())
    before = told or metadata.parse(found.description or "") or {}
    mode, kind = compression(before)
    if found.compressed and mode != _MESSAGE:
        mode, kind = _MESSAGE, _ZSTD
    elif found.compressed is False and mode == _MESSAGE:
        mode, kind = "", ""
    custom, distro = before.get("custom_data"), before.get("ros_distro")
    return metadata.information(
        KINDS[path.suffix], {name: file.contents() for name, file in files.items()}, found.contents(),
        distro if isinstance(distro, str) else "", mode, kind, custom if isinstance(custom, dict) else None)


def _losses(found: Found, told: dict[str, Any] | None) -> Lost:
    """What is lost: what damaged parts tell that they held, or what was promised and is not there."""
    lost, promise = found.lost, found.promised
    if promise is None:
        promise = promised(told) or Counter()
    missing = promise - found.counts
    if +promise:  # it counts all that there was, also of what nothing describes
        lost.is_more = False
        lost.counts.pop(UNDESCRIBED, None)
    if missing:
        if lost.start is None and found.start is not None and found.end is not None:
            lost.between(found.end, max(found.end, _end(told)))
    lost.counts |= missing
    return lost


def _end(told: dict[str, Any] | None) -> int:
    """Time of the last message that a bag's metadata tell [ns since 1970]; 0 where they do not."""
    try:
        return int(told["starting_time"]["nanoseconds_since_epoch"] + told["duration"]["nanoseconds"]) if told else 0
    except (KeyError, TypeError, ValueError):
        return 0


def _leave_compressed(folder: Path, paths: Sequence[Path], told: dict[str, Any] | None) -> Outcome:
    """A bag of files that are compressed as a whole: left as it is where it is whole, else refused."""
    refusal = (f"{folder} is compressed file by file, which repair does not mend: decompress its files (zstd -d), "
               f"remove {METADATA}, and repair again; nothing was changed")
    with tempfile.TemporaryDirectory() as scratch:
        files = []
        for path in paths:
            plain = Path(scratch, path.name.removesuffix(COMPRESSED))
            try:
                with open(path, "rb") as source, open(plain, "wb") as target:
                    zstandard.ZstdDecompressor().copy_stream(source, target)
                files.append(opened(plain))
            except (zstandard.ZstdError, BagError) as error:
                raise BagError(refusal) from error
        found = joined(file.found for file in files)
        right = _information(files[0].path, {path.name: file.found for path, file in zip(paths, files, strict=True)},
                             {**(told or {}), "compression_mode": "", "compression_format": ""})
    if found.reason or told is None or not agrees({**told, "compression_mode": "", "compression_format": ""}, right):
        raise BagError(refusal)
    return Outcome(found.contents())


def _lost(lost: Lost, contents: Contents) -> str:
    """What is lost, in words."""
    counts = [f"{count} of {topic}" for topic, count in sorted(lost.counts.items(), key=lambda row: -row[1]) if count]
    total = sum(lost.counts.values())
    parts = []
    if total or lost.is_more:
        number = f"{total} messages" + " and more" * lost.is_more if total else "messages, nothing tells how many,"
        span = ""
        if lost.start is not None and lost.end is not None:
            begin = min(lost.start, contents.start or lost.start)  # the beginning may be what is lost
            first, last = (f"{1e-9 * (time - begin):.3f} s" for time in (lost.start, lost.end))
            span = f" between {first} and {last} of the recording"
        topics = f" ({', '.join(counts)})" if counts else ""
        parts.append(f"{number}{span}{topics}")
    return f"LOST: {', '.join([*parts, *lost.others])}"
