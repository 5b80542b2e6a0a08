"""A process whose words are kept, and which ends when it is told to."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


class LoggedProcess:
    """A process of its own; both its streams go to a file.

    Args:
        command: program and arguments.
        variables: environment variables that differ from this process's.
        log: the file; None: a temporary one.
        options: further ones of `subprocess.Popen`.
    """

    def __init__(self, command: Sequence[str], variables: Mapping[str, str], log: Path | None = None,
                 **options: Any) -> None:
        self._log = open(log, "w+b") if log else tempfile.TemporaryFile()
        self._last_words = ""
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log,
                                        env={**os.environ, **variables}, **options)

    @property
    def pid(self) -> int:
        """Process id."""
        return self.process.pid

    @property
    def ended(self) -> bool:
        """Whether it is gone."""
        return self.process.poll() is not None

    def said(self) -> str:
        """What it has printed so far."""
        if self._log.closed:
            return self._last_words
        file = self._log.fileno()  # its offset is the process's
        return os.pread(file, os.fstat(file).st_size, 0).decode(errors="replace")

    def end(self, patience: float) -> int:
        """SIGINT, and SIGKILL where it has not ended after so long [s]; returns the exit code."""
        if not self.ended:
            self.process.send_signal(signal.SIGINT)
        try:
            return self.process.wait(patience)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()

    def close(self) -> None:
        """Keep its last words and close the file; it must have ended."""
        self._last_words = self.said()
        self._log.close()
