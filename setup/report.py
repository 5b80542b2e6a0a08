"""What the person who waits sees: lines, errors in one sentence, progress of long commands; and the lock."""

from __future__ import annotations

import fcntl
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

LINES_OF_A_FAILURE = 15
LONGEST_LINE = 300


class SetupError(Exception):
    """What is missing or failed, in one sentence that says what to do."""


def say(text: str) -> None:
    """Print one line; to stderr, as stdout belongs to the shell."""
    print(f"run: {text}", file=sys.stderr, flush=True)


def run_logged(
    what: str, command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None
) -> None:
    """Run a command with its output in a log; on a terminal show its latest line.

    Args:
        what: what it does, for the person who waits.
        command: program and arguments.
        log: file to append the output to.
        environment: variables to add to this process's.

    Raises:
        SetupError: the command failed; its last lines were printed.
    """
    say(what)
    begin = time.monotonic()
    last: list[str] = []
    # The lock is passed on (close_fds), see locked().
    with open(log, "a") as file, subprocess.Popen(
        command, env={**os.environ, **(environment or {})}, close_fds=False, text=True, errors="replace",
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as process:
        try:
            for line in process.stdout:
                file.write(line)
                last = [*last[1 - LINES_OF_A_FAILURE:], line]
                _show(f"{time.monotonic() - begin:6.0f} s  {line.strip()}")
        except BaseException:
            process.terminate()
            raise
        finally:
            _show("")
    if process.returncode:
        print(*(line.rstrip()[:LONGEST_LINE] for line in last), sep="\n", file=sys.stderr)
        raise SetupError(f"{what} failed: {shlex.join(command[:4])} … exited with {process.returncode}; "
                         f"all that it printed is in {log}")
    say(f"  done in {time.monotonic() - begin:.0f} s")


def discard(folder: Path) -> None:
    """Delete a folder at once, as seen from outside: it is renamed first.

    A compiler that outlived a killed build may still write into it, and a deletion that is cut short leaves
    nothing that looks like the folder; what is left of it goes with the next one.
    """
    if folder.exists():
        folder.rename(folder.with_name(f"{folder.name}.removed-{os.getpid()}"))
    for rest in folder.parent.glob(f"{folder.name}.removed-*"):
        shutil.rmtree(rest, ignore_errors=True)


def _show(line: str) -> None:
    """Replace the line at the cursor, on a terminal."""
    if sys.stderr.isatty():
        width = shutil.get_terminal_size().columns - 1
        print(f"\r{line[:width]}\033[K", end="", file=sys.stderr, flush=True)


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Hold a lock that programs started meanwhile inherit, so that it lasts until the last of them has ended.

    A set-up that is killed may leave its pip running: the next one waits for it.
    """
    with open(file, "w") as handle:
        os.set_inheritable(handle.fileno(), True)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another ./run sets up this checkout; waiting for it")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
