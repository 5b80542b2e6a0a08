"""The Python that has stable-baselines3; made on first use, apart from the environment of the stack."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from ant_rl_tools.unavailable import Unavailable

# Of this environment and of ROS: another interpreter must not see them.
_OURS = ("PYTHONPATH", "PYTHONHOME", "PYTHONSAFEPATH", "LD_LIBRARY_PATH", "VIRTUAL_ENV")


def reference_python() -> Path:
    """The interpreter; Unavailable where the code does not lie in a checkout, or where it can't be installed."""
    root = Path(__file__).resolve().parents[6]
    if not (root / "setup" / "comparison.py").exists():
        raise Unavailable("stable-baselines3 is installed into a checkout of this project: use its ./run bench learn")
    done = subprocess.run([sys.executable, "-IS", str(root / "setup"), str(root), "comparison"],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise Unavailable("stable-baselines3 could not be installed into .venv-sb3: what was printed above says why")
    return Path(done.stdout.strip())


def reference_environment() -> dict[str, str]:
    """The variables to run it with."""
    return {name: value for name, value in os.environ.items() if name not in _OURS}
