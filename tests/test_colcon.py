"""`colcon test`, as it is done to ROS 2 packages: it runs the tests of a package, and says so where one fails."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

pytest.importorskip("colcon_core", reason="colcon is not installed")

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = Path("ros2_ws", "src", "ant_rl_core")


@pytest.fixture
def checkout(tmp_path):
    """A checkout with one package, built as by hand."""
    for name in ("pyproject.toml", "conftest.py"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / PACKAGE, tmp_path / PACKAGE, ignore=shutil.ignore_patterns("__pycache__"))
    done = colcon(tmp_path, "build")
    assert done.returncode == 0, done.stderr
    return tmp_path


def colcon(checkout, *words):
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COLCON_"))}
    return subprocess.run(["colcon", *words], cwd=checkout / "ros2_ws", env=environment, capture_output=True, text=True,
                          timeout=150)


def outcome(checkout):
    """Exit code of `colcon test-result`, and how many tests, errors, failures and skipped ones it counts."""
    done = colcon(checkout, "test", "--packages-select", "ant_rl_core")
    assert done.returncode == 0, done.stderr
    done = colcon(checkout, "test-result", "--all")
    counts = re.search(r"^Summary: (\d+) tests, (\d+) errors?, (\d+) failures?, (\d+) skipped$", done.stdout, re.M)
    assert counts, done.stdout + done.stderr
    return done.returncode, *map(int, counts.groups())


def test_colcon_runs_the_tests_of_a_package_and_fails_where_one_fails(checkout):
    code, tests, errors, failures, _ = outcome(checkout)
    assert (code, errors, failures) == (0, 0, 0) and tests > 50
    module = checkout / PACKAGE / "ant_rl_core" / "files.py"
    module.write_text(module.read_text().replace("must be a file, found", "must be a file, not"))
    code, again, errors, failures, _ = outcome(checkout)
    assert code != 0 and again == tests and errors == 0 < failures
