"""How a process of this project speaks and is asked to end: its streams, and the signals that mean the end.

For main functions: `speak` before anything is printed, and one of the others for the signals.
"""

from __future__ import annotations

import errno
import io
import os
import select
import signal
import sys
from collections.abc import Collection
from typing import Any, NoReturn

# By these a terminal, one that is closed, a service manager and batch systems ask for the end; each would kill.
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGXCPU, signal.SIGUSR1, signal.SIGUSR2)
INTERRUPTED = 130  # exit code of what a signal ended
# What a write says where nobody reads any more: `| head`, a terminal that was closed.
NOBODY_READS = (errno.EPIPE, errno.EIO)
_SECOND_SIGNAL = 1.0  # [s] after the first, another one insists: one wish to end may come as several signals

_unread: set[str] = set()
_lost: list[OSError] = []


def heard(always: Collection[int] = ()) -> list[signal.Signals]:
    """Signals that ask this process to end, without those that it was started to ignore, as by nohup.

    Args:
        always: those that count all the same.
    """
    return [number for number in ENDING if number in always or signal.getsignal(number) != signal.SIG_IGN]


def insists(number: int, seconds: float) -> bool:
    """Whether a further signal, so long after the first [s], asks to wait no longer; those that nobody sends don't.

    A closed terminal sends SIGHUP several times, and who has used up a limit of CPU time gets SIGXCPU every second.
    """
    return number not in (signal.SIGHUP, signal.SIGXCPU) and seconds > _SECOND_SIGNAL


def interrupt_on_signals() -> None:
    """Let every signal that asks for the end do what Ctrl-C does, so that what is half-done is closed and removed."""
    def stop(number: int, frame: object) -> NoReturn:
        raise KeyboardInterrupt

    for number in heard():
        if number != signal.SIGINT:
            signal.signal(number, stop)


def speak() -> None:
    """Make standard output and error such that nothing that is printed can end the process.

    What the terminal's encoding lacks is written as its code. Where nobody reads any more, or nothing can be written,
    what is printed is dropped, `is_read` and `not_written` tell it, and the work goes on.
    """
    for name, number in (("stdout", 1), ("stderr", 2)):
        stream = getattr(sys, name)
        if stream is None:  # closed by who started this
            setattr(sys, name, open(os.devnull, "w"))
        elif isinstance(stream, io.TextIOWrapper) and stream is getattr(sys, f"__{name}__"):
            outlet = io.BufferedWriter(_Outlet(name, number))
            setattr(sys, name, io.TextIOWrapper(outlet, stream.encoding, "backslashreplace", None,
                                                stream.line_buffering, stream.write_through))


def is_read() -> bool:
    """Whether somebody may still read standard output."""
    return "stdout" not in _unread


def not_written() -> OSError | None:
    """Why something on standard output could not be written; None where all was, or nobody wanted to read on."""
    sys.stdout.flush()
    return _lost[0] if _lost else None


class _Outlet(io.FileIO):
    """Standard output or error, to which a write never fails."""

    def __init__(self, name: str, number: int) -> None:
        super().__init__(number, "w", closefd=False)
        self._stream = name

    def write(self, data: Any, /) -> int:
        try:
            while (written := super().write(data)) is None:  # full, where who started this made it non-blocking
                select.select([], [self], [])
            return written
        except OSError as error:
            if error.errno in NOBODY_READS:
                _unread.add(self._stream)
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, self.fileno())  # for libraries and processes that write there too
                os.close(nowhere)
            elif self._stream == "stdout":
                _lost.append(error)
            return memoryview(data).nbytes
