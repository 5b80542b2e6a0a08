"""The environment of what the learners are compared with: `.venv-sb3`, apart from the one that the stack runs in."""

from __future__ import annotations

import sys
from pathlib import Path

import prerequisites
from report import SetupError, discard, locked, run_logged
from workspace import digest


def prepare(root: Path) -> Path:
    """Make the environment where it is not done yet; one process at a time.

    Args:
        root: the checkout.

    Returns:
        Its Python.

    Raises:
        SetupError: something is missing or failed.
    """
    folder = root / ".venv-sb3"
    python, mark = folder / "bin" / "python", folder / "installed"
    requirements, constraints = (root / "requirements" / f"{name}.txt" for name in ("bench", "constraints"))
    wanted = digest(f"{folder} {sys.version} {sys.base_prefix}".encode(), requirements.read_bytes(),
                    constraints.read_bytes())

    def is_done() -> bool:
        return mark.exists() and mark.read_text() == wanted

    if is_done():
        return python
    with locked(Path(f"{folder}.lock")):
        if is_done():
            return python
        if folder.exists() and not (folder / "pyvenv.cfg").exists():
            raise SetupError(f"{folder} is not a Python environment: move it away and run again")
        discard(folder)
        needs = [need for need in prerequisites.missing(False) if need == prerequisites.VENV]
        prerequisites.provide(needs, Path(f"{folder}.apt.log"))
        log = Path(f"{folder}.log")
        run_logged(f"making {folder.name}", [prerequisites.base_python(), "-I", "-m", "venv", str(folder)], log)
        run_logged(f"installing PyTorch and stable-baselines3 into {folder.name} (1 GB; several where pip finds no "
                   "CPU build)", [str(python), "-I", "-m", "pip", "install", "--disable-pip-version-check",
                                  "--no-input", "-r", str(requirements), "-c", str(constraints)], log)
        log.replace(folder / "install.log")
        mark.write_text(wanted)
    return python
