"""How the tests are shared out where several processes run them, as `./run test` does without arguments."""

import os
from pathlib import PurePath
from typing import Any

import pytest
from xdist.scheduler import LoadFileScheduling

if "PYTEST_XDIST_WORKER" in os.environ:
    # Of processes that share a machine none is faster with several threads for one operation, and all together slower.
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")

# Packages whose tests start no nodes, and such files of tests/.
_COMPUTING = {"ant_rl_core", "recorder_node", "trainer"}
_COMPUTING_FILES = {"test_colcon", "test_docs", "test_import_walls", "test_launch_arguments", "test_layouts",
                    "test_lint", "test_packages", "test_paths", "test_run", "test_yardsticks"}


class _NodesTogether(LoadFileScheduling):
    """One process takes all tests that start nodes, one after the other, so that no two of them are timed at once.

    Each file that only computes goes to whichever process is free.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        path = PurePath(file)
        of_system = path.parent.name == "tests"
        computes = path.stem in _COMPUTING_FILES if of_system else path.parent.parent.name in _COMPUTING
        return file if computes else "nodes"


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> _NodesTogether:
    return _NodesTogether(config, log)
