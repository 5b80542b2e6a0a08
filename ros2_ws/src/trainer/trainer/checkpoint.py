"""Checkpoints that survive being killed at any moment: named arrays in one file, without pickle.

A replay buffer makes them as large as half the memory that a training may take, so they are written and read array by
array.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from ant_rl_core.files import replacing


def path_in(folder: Path) -> Path:
    """Where the checkpoint of the run in this folder is, if there is one."""
    return folder / "checkpoint.npz"


class CheckpointError(RuntimeError):
    """A checkpoint that can't be read or written; the text says what was expected and what to do."""


def save(path: str | os.PathLike[str], arrays: Mapping[str, np.ndarray]) -> None:
    """Write `arrays` to `path` (.npz), whole or not at all; CheckpointError if the folder can't be written."""
    for name, array in arrays.items():
        if np.asarray(array).dtype.hasobject:
            raise TypeError(f"{name} must hold numbers or text, found Python objects, which `load` refuses")
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with replacing(Path(path)) as file, zipfile.ZipFile(file, "w") as archive:
            for name, array in arrays.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)
    except OSError as error:
        raise CheckpointError(f"can't write the checkpoint {path} ({error.strerror}); the one before it is kept: "
                              "make room or choose another folder") from error


class _LacksArray(CheckpointError, KeyError):
    __str__ = RuntimeError.__str__  # that of KeyError would put the sentence in quotes


class Checkpoint(Mapping[str, np.ndarray]):
    """The arrays of a checkpoint by name, each read from the disk whenever it is asked for; see `load`.

    Args:
        path: where it was found.
        archive: the open file.
    """

    def __init__(self, path: str | os.PathLike[str], archive: np.lib.npyio.NpzFile) -> None:
        self._path, self._archive = path, archive

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._archive.files:
            raise _LacksArray(f"{self._path}: expected {name} in it, found none: it is of another method or of another "
                              "version of this program; begin anew in another folder")
        try:
            return self._archive[name]
        except Exception as error:  # zipfile and numpy answer damage with many types, from struct.error to EOFError
            raise _damaged(self._path, error) from error

    def __iter__(self) -> Iterator[str]:
        return iter(self._archive.files)

    def __len__(self) -> int:
        return len(self._archive.files)


class Part(Mapping[str, np.ndarray]):
    """The arrays whose names begin with `prefix`, by the rest of their names; none is read before it is asked for."""

    def __init__(self, arrays: Mapping[str, np.ndarray], prefix: str) -> None:
        self._arrays, self._prefix = arrays, prefix

    def __getitem__(self, name: str) -> np.ndarray:
        return self._arrays[self._prefix + name]

    def __iter__(self) -> Iterator[str]:
        return (name[len(self._prefix):] for name in self._arrays if name.startswith(self._prefix))

    def __len__(self) -> int:
        return sum(1 for _ in self)


def load(path: str | os.PathLike[str]) -> Checkpoint:
    """Check and open what `save` wrote; CheckpointError if there is none or it is damaged."""
    try:
        archive = np.load(path, allow_pickle=False)
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: expected a checkpoint, found no file of that name") from error
    except Exception as error:
        raise _damaged(path, error) from error
    if not isinstance(archive, np.lib.npyio.NpzFile):
        raise _damaged(path, "a single array")
    saved = Checkpoint(path, archive)
    for name in saved:
        saved[name]  # damage is found here, before anything was restored; the array is dropped at once
    return saved


def _damaged(path: str | os.PathLike[str], reason: object) -> CheckpointError:
    return CheckpointError(f"{path}: expected a checkpoint, found none that can be read ({reason}): put a copy of it "
                           "back, or begin anew in another folder")


def pack_generator(rng: np.random.Generator) -> np.ndarray:
    """State of a random generator as a uint8 array."""
    return np.frombuffer(json.dumps(rng.bit_generator.state).encode(), np.uint8)


def unpack_generator(rng: np.random.Generator, packed: np.ndarray) -> None:
    """Put `rng` into the state that `pack_generator` saved."""
    rng.bit_generator.state = json.loads(packed.tobytes())
