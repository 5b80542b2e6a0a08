"""ROS domains that no two tests on a machine use at the same time."""

from __future__ import annotations

import fcntl
import itertools
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Those that fit below Linux's ephemeral ports, but for 0, in which the nodes of a user meet who names none.
DOMAINS = range(1, 102)
# One after the other, so that the next test does not hear the last words of nodes of the one before.
_turns = itertools.count(os.getpid())


@contextmanager
def own_domain() -> Iterator[int]:
    """A domain that no other test uses until the block ends, of this process or of another on this machine.

    Whoever uses a domain holds the lock on a file in the temporary folder; a killed process holds none.

    Raises:
        RuntimeError: all of them are in use.
    """
    for _ in DOMAINS:
        domain = DOMAINS[next(_turns) % len(DOMAINS)]
        lock = _locked(Path(tempfile.gettempdir()) / f"ant_rl_ros_domain_{domain}.lock")
        if lock is not None:
            break
    else:
        raise RuntimeError(f"each of the ROS domains {DOMAINS[0]} to {DOMAINS[-1]} is in use by another test: wait for "
                           "one to end")
    try:
        yield domain
    finally:
        os.close(lock)


def _locked(path: Path) -> int | None:
    """The file, open and locked; None where somebody else has it."""
    try:
        try:
            file = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            file = os.open(path, os.O_RDONLY | os.O_CREAT, 0o644)
    except PermissionError:  # of a user who does not share it
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        return None
    return file
