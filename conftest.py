"""How the tests are shared out where several processes run them, as `./run test` does without arguments."""

from pathlib import PurePath
from typing import Any

import pytest
from xdist.scheduler import LoadFileScheduling

# Packages whose tests start no nodes.
_COMPUTING = {"ant_rl_core", "trainer"}


class _NodesTogether(LoadFileScheduling):
    """One process takes all tests that start nodes, one after the other, so that no two of them are timed at once.

    Each file of the packages that only compute goes to whichever process is free.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return file if PurePath(file).parent.parent.name in _COMPUTING else "nodes"


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> _NodesTogether:
    return _NodesTogether(config, log)
