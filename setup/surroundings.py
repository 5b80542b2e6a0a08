"""What the shell that calls has set, and what of it is not taken over."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

# They decide which code Python runs and whether it does, or where pip and colcon put it: that is not for a user's other
# work to decide. What says to Python how it speaks (PYTHONUTF8, PYTHONDONTWRITEBYTECODE, …) stays.
NOT_TAKEN_OVER = (
    "PYTHONHOME", "PYTHONPLATLIBDIR", "PYTHONSTARTUP", "PYTHONUSERBASE", "PYTHONOPTIMIZE", "PYTHONINSPECT",
    "PYTHONCASEOK", "PYTHONSAFEPATH", "PYTHONHASHSEED", "PYTHONWARNINGS", "PYTHONDEVMODE", "PYTHONBREAKPOINT",
    "PYTHONMALLOC", "PIP_USER", "PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "COLCON_DEFAULTS_FILE",
    "COLCON_EXTENSION_BLOCKLIST")


def forget() -> None:
    """Take none of them over, in this process and in what it starts."""
    for name in NOT_TAKEN_OVER:
        os.environ.pop(name, None)


def entries(name: str) -> list[str]:
    """The folders in a variable such as PATH."""
    return list(filter(None, os.environ.get(name, "").split(":")))


def is_in(path: str, folders: Iterable[str]) -> bool:
    """Whether it is one of the folders, or below one."""
    return any(path == folder or path.startswith(f"{folder}/") for folder in folders)


def workspaces(prefixes: Iterable[str]) -> list[str]:
    """Folders of what is sourced: the prefixes, and beside an install folder the build folder that colcon links to."""
    found = []
    for prefix in map(Path, prefixes):
        installs = [folder for folder in (prefix, prefix.parent) if folder.name == "install"]
        found += [str(prefix), *(str(folder.with_name("build")) for folder in installs)]
    return found
