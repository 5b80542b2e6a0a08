"""ruff and mypy, set up in pyproject.toml, find nothing in the whole checkout; and they do find what is wrong."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SETTINGS = ROOT / "pyproject.toml"
# What they know of files that did not change lies in the environment's folder and goes with it.
RUFF = ["ruff", "check", f"--config={SETTINGS}", f"--cache-dir={sys.prefix}/ruff_cache"]
MYPY = ["mypy", f"--config-file={SETTINGS}", f"--cache-dir={sys.prefix}/mypy_cache"]

pytestmark = pytest.mark.timeout(320)  # mypy reads 200 modules, and numpy's, where it knows nothing yet
typed_arrays = pytest.mark.skipif(sys.version_info < (3, 11), reason="the numpy of Python 3.10 wants to be told the "
                                  "shape of every array")


def look(*words: str) -> tuple[int, str]:
    """Exit code and output of a module of this Python, run in the checkout's root."""
    done = subprocess.run([sys.executable, "-m", *words], cwd=ROOT, text=True, timeout=300, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)
    return done.returncode, done.stdout


def test_ruff_finds_nothing() -> None:
    code, said = look(*RUFF, "--output-format=concise", ".")
    assert code == 0, said


@typed_arrays
def test_mypy_finds_nothing() -> None:
    code, said = look(*MYPY)
    assert code == 0, said


@pytest.mark.parametrize(("line", "rule"), [
    ("import os", "F401"), ("list(zip([1], [2]))", "B905"), (f"name = '{'x' * 112}'", "E501"),
    ("from typing import List\n\nnames: List[int] = []", "UP006"), ("import sys\nimport os\n\nprint(os, sys)", "I001")])
def test_ruff_finds_what_is_wrong(tmp_path: Path, line: str, rule: str) -> None:
    file = tmp_path / "module.py"
    file.write_text(f"{line}\n")
    code, said = look(*RUFF, "--output-format=concise", str(file))
    assert code == 1 and f" {rule} " in said, said


ACTOR = """import numpy as np

from ant_rl_core.contracts import Actor
from ant_rl_core.step import Previous


class Still:
    version = {version}

    def initial_state(self, num_envs: int) -> tuple[()]:
        return ()

    def act(self, observation: np.ndarray, previous: Previous, state: tuple[()],
            reset_mask: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray], tuple[()]]:
        return np.zeros((len(observation), 8), np.float32), {{}}, state


actor: Actor = Still()
"""


@typed_arrays
def test_mypy_finds_a_broken_contract(tmp_path: Path) -> None:
    file = tmp_path / "module.py"
    file.write_text(ACTOR.format(version=3))
    code, said = look(*MYPY, str(file))
    assert code == 0, said
    file.write_text(ACTOR.format(version="'3'"))
    code, said = look(*MYPY, str(file))
    assert code == 1 and 'expression has type "Still", variable has type "Actor"' in said, said
    assert "version: expected" in said and "Found 1 error" in said, said
