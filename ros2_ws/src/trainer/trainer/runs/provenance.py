"""Where a policy came from: the code version that made it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path


def code_version() -> str:
    """Commit of the checkout this code runs from, with "+changes" where files differ from it; else "unknown"."""
    folder = Path(__file__).resolve().parent
    try:
        commit = _git(folder, "rev-parse", "--short=12", "HEAD")
        changed = _git(folder, "status", "--porcelain", "--", ":(top)ros2_ws/src")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return commit + ("+changes" if changed else "")


def _git(folder: Path, *arguments: object) -> str:
    command = ["git", "-C", str(folder), *map(str, arguments)]
    # GIT_DIR and its like name another repository, as they do in hooks.
    variables = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    return subprocess.run(command, check=True, capture_output=True, text=True, env=variables).stdout.strip()
