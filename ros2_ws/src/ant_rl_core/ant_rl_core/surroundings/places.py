"""Folders for what libraries write beside our results: below HOME, or where there is none that can be written."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def can_be_made(folder: Path) -> bool:
    """Whether files can be written in a folder, which is made where it is missing."""
    folder = folder.expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK | os.X_OK)


def instead(name: str) -> Path | None:
    """A folder of this user in the one for temporary files; None where that can't be written either."""
    try:
        folder = Path(tempfile.gettempdir(), f"ant_rl-{os.getuid()}", name)
    except FileNotFoundError:
        return None
    return folder if can_be_made(folder) else None
