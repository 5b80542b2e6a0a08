"""Programs as a terminal starts them, for tests with and without ROS."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil

from ant_rl_ros.testing.process import TIMEOUT


def command(*words: str, folder: Path | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
    """`./run …`, as a process that has ended, with all it printed in `stdout`."""
    return subprocess.run([sys.executable, "-m", "ant_rl", *words], cwd=folder, text=True, timeout=TIMEOUT,
                          env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **variables}, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)


def start(argv: list[str], **variables: str) -> subprocess.Popen[str]:
    """A process and its children as a terminal would start them, both streams to read from `stdout`.

    They heed all signals, also where the tests were started to ignore some, as by nohup or "&" in a script.
    """
    return subprocess.Popen(["env", "--default-signal", *argv], env={**os.environ, **variables}, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)


def read_until(process: subprocess.Popen[str], *texts: str) -> str:
    """Read lines until each of the texts was seen; what was read."""
    seen = ""
    while not all(text in seen for text in texts):
        line = process.stdout.readline()
        assert line, f"ended before {texts} came:\n{seen}"
        seen += line
    return seen


def finish(process: subprocess.Popen[str], number: signal.Signals | None = None,
           timeout_s: float = TIMEOUT) -> tuple[int, str]:
    """Exit code and the rest of the output, after `number` or after the process has ended by itself."""
    if number is not None:
        process.send_signal(number)
    output, _ = process.communicate(timeout=timeout_s)
    return process.returncode, output


def descendants(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """All that a process has started, and that has started more."""
    return psutil.Process(process.pid).children(recursive=True)


def assert_gone(processes: list[psutil.Process]) -> None:
    """All of them end within seconds."""
    _, alive = psutil.wait_procs(processes, timeout=10)
    assert not alive
