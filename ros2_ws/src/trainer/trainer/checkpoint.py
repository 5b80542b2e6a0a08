"""Checkpoints that survive being killed at any moment: named arrays in one file, without pickle."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ant_rl_core.bundle import write_atomically


class CheckpointError(RuntimeError):
    """A checkpoint that can't be read or written; the text says what was expected and what to do."""


def save(path: str | os.PathLike[str], arrays: Mapping[str, np.ndarray]) -> None:
    """Write `arrays` to `path` (.npz), whole or not at all; CheckpointError if the folder can't be written."""
    for name, array in arrays.items():
        if np.asarray(array).dtype.hasobject:
            raise TypeError(f"{name} must hold numbers or text, found Python objects, which `load` refuses")
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        write_atomically(Path(path), buffer.getvalue())
    except OSError as error:
        raise CheckpointError(f"can't write the checkpoint {path} ({error.strerror}); the one before it is kept: "
                              "make room or choose another folder") from error


def load(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Read what `save` wrote; CheckpointError if there is none or it is damaged."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: expected a checkpoint, found no file of that name") from error
    except Exception as error:  # zipfile and numpy answer damage with many types, from struct.error to EOFError
        raise CheckpointError(f"{path}: expected a checkpoint, found none that can be read ({error})") from error


def pack_generator(rng: np.random.Generator) -> np.ndarray:
    """State of a random generator as a uint8 array."""
    return np.frombuffer(json.dumps(rng.bit_generator.state).encode(), np.uint8)


def unpack_generator(rng: np.random.Generator, packed: np.ndarray) -> None:
    """Put `rng` into the state that `pack_generator` saved."""
    rng.bit_generator.state = json.loads(packed.tobytes())
