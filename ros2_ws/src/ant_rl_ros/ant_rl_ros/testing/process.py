"""Processes of tests, with bounded waits."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ant_rl_ros.process import LoggedProcess

TIMEOUT = 60.0  # [s] bound of every wait; what is waited for takes seconds at most
# Nodes stay on this machine, check every field that they set, and what they print is there at once.
LOCAL = {"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST", "ROS_PYTHON_CHECK_FIELDS": "1", "PYTHONUNBUFFERED": "1"}


class Timeout(AssertionError):
    """What was waited for did not come."""


class Process(LoggedProcess):
    """A process of a test; at the end of a `with` block it is gone, whatever happened."""

    def signal(self, number: int = signal.SIGINT) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def kill(self) -> None:
        """End it at once, as a crash would."""
        self.process.kill()
        self.process.wait()

    def wait(self, timeout_s: float = TIMEOUT) -> int:
        """Exit code, once it has ended by itself."""
        try:
            code = self.process.wait(timeout_s)
            return 0 if code == -signal.SIGALRM else code  # its work was done, see `ant_rl_ros.run`
        except subprocess.TimeoutExpired as error:
            raise Timeout(f"the process still runs after {timeout_s} s; it said:\n{self.said()}") from error

    def stop(self) -> int:
        """Ctrl-C; returns the exit code."""
        if not self.ended:
            self.signal()
        try:
            return self.wait()
        finally:
            self.kill()

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self.close()


class NodeProcess(Process):
    """A node of the stack, by the module of its `main`; a launch file would name its executable.

    Args:
        module: such as ant_env_node.node.
        namespace: of the node.
        parameters: by name.
        arguments: further ones for ROS.
        blocked: names of modules whose import shall fail in the process.
        log: as of `LoggedProcess`.
    """

    def __init__(self, module: str, namespace: str = "/", parameters: Mapping[str, Any] | None = None,
                 arguments: Iterable[str] = (), blocked: Iterable[str] = (), log: Path | None = None) -> None:
        block = "".join(f"sys.modules[{name!r}] = None; " for name in blocked)
        code = f"import sys; {block}from {module} import main; sys.exit(main())"
        command = [sys.executable, "-c", code, "--ros-args", "-r", f"__ns:={namespace}", *arguments]
        for name, value in (parameters or {}).items():
            command += ["-p", f"{name}:={str(value).lower() if isinstance(value, bool) else value}"]
        super().__init__(command, LOCAL, log)
