"""What every `key:=value` argument has in common, whoever parses it."""

from __future__ import annotations

import os
from pathlib import Path


class ArgumentError(ValueError):
    """An argument that can't be used; the text is one sentence: what was expected, what was found."""


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
