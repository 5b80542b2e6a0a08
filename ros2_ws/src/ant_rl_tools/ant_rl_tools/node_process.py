"""One node of the stack as a process, for as long as a command needs it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import psutil

from ant_rl import stack
from ant_rl.node_commands import NotBuiltError, node_command, share_folder
from ant_rl.supervisor import die_with
from ant_rl_ros.process import LoggedProcess
from ant_rl_tools.unavailable import Unavailable

_PATIENCE = 6.0  # [s] from SIGINT to SIGKILL


def ros_variables() -> dict[str, str]:
    """The environment variables with which the arrangement `sim` runs ROS; NotBuiltError if it is not built."""
    return stack.environment("sim", os.environ, share_folder() / "config")


class NodeProcess(LoggedProcess):
    """One node of the arrangement `sim`, with the parameters that `sim` gives it; a context manager that ends it.

    Args:
        name: env or policy.
        namespace: apart from any stack that runs on this machine already.
        arguments: launch arguments that differ from the defaults.

    Raises:
        Unavailable: the node is not built.
    """

    def __init__(self, name: str, namespace: str, arguments: Mapping[str, Any]) -> None:
        values = {**stack.parse("sim", {"namespace": namespace, "status": "false"}), **arguments}
        (entry,) = (entry for entry in stack.nodes("sim", values) if entry.name == name)
        self.name = f"{namespace}/{name}"
        try:
            config = share_folder() / "config"
            command = node_command(replace(entry, log_level="warn"), [str(config / "stack.yaml")], ros_variables())
        except NotBuiltError as error:
            raise Unavailable(str(error)) from error
        super().__init__(command.argv, command.environment, start_new_session=True, preexec_fn=die_with(os.getpid()))
        self._statistics = psutil.Process(self.pid)

    def check(self) -> None:
        """Unavailable, with its last words, if the process has ended."""
        if self.ended:
            words = self.said().strip().splitlines()[-1:] or ["nothing"]
            raise Unavailable(f"the node {self.name} ended with exit code {self.process.returncode}; its last words: "
                              f"{words[0]}")

    def resident_mb(self) -> float:
        """Resident memory [10^6 bytes]."""
        return self._statistics.memory_info().rss / 1e6

    def cpu_seconds(self) -> float:
        """Processor time of all its threads since its start [s]."""
        times = self._statistics.cpu_times()
        return times.user + times.system

    def __enter__(self) -> NodeProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.end(_PATIENCE)
        self.close()
