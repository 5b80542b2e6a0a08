"""Processes in which some packages can't be imported, as if they were not installed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

LEARNING = {"tensorflow", "keras"}
SIMULATION = {"mujoco", "gymnasium"}
# What a robot has no use for, and what requirements/pi.txt therefore leaves out.
DESKTOP = LEARNING | SIMULATION | {"matplotlib", "scipy", "plotly", "tqdm", "rich", "ai_edge_quantizer", "rosbags",
                                   "rerun", "av", "PIL", "trainer", "ant_env_node", "viewer_node", "ant_rl_tools"}


def wall(blocked: Iterable[str]) -> str:
    """Code after which importing any of these packages fails."""
    return ("import sys\nclass Wall:\n    def find_spec(self, name, path=None, target=None):\n"
            f"        if name.partition('.')[0] in {sorted(blocked)!r}:\n"
            "            raise ImportError(f'{name} is behind the wall')\n"
            "sys.meta_path.insert(0, Wall())\n")


def run_blocked(blocked: Iterable[str], code: str) -> subprocess.CompletedProcess[str]:
    """Run code in a process in which importing any of the blocked packages fails."""
    return subprocess.run([sys.executable, "-c", wall(blocked) + code], capture_output=True, text=True, timeout=120)


def behind_wall(blocked: Iterable[str], folder: Path) -> dict[str, str]:
    """Environment variables with which a Python process, and what it starts, has the wall; its code is in `folder`."""
    (folder / "sitecustomize.py").write_text(wall(blocked))
    return {"PYTHONPATH": os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])}
