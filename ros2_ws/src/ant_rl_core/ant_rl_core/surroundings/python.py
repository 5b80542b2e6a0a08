"""Pythons of our own that take nothing from the folder in which somebody happens to be."""

from __future__ import annotations

import sys

# What -P does, and PYTHONSAFEPATH, which Python 3.10 does not know yet.
_SAFELY = """import sys
sys.path[:] = filter(None, sys.path)
sys.argv.pop(0)
import runpy
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)"""


def module_command(module: str) -> list[str]:
    """As `python -m`, without the current folder, where a `random.py` would be taken for Python's."""
    return [sys.executable, "-c", _SAFELY, module]
