"""What the whole-system tests share: real node processes, and a listener in a domain of the test's own."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from ant_rl.node_commands import node_command
from ant_rl.stack import NodeEntry
from ant_rl_ros.testing.domain import own_domain
from ant_rl_ros.testing.peer import Listener
from ant_rl_ros.testing.process import LOCAL, Process


class System(Listener):
    """Processes and a listener of one test; everything ends with the `with` block.

    Args:
        folder: for what the processes print.

    Attributes:
        domain: in which all of them are.
        processes: all that were started.
    """

    def __init__(self, folder: Path) -> None:
        self._exits = ExitStack()
        self.domain = self._exits.enter_context(own_domain())
        super().__init__(domain=self.domain)
        self.folder = folder
        self.processes: list[Process] = []

    def close(self) -> None:
        """End all of it."""
        for process in self.processes:
            process.stop()
            process.close()
        super().close()
        self._exits.close()

    def situation(self) -> str:
        """What the processes said last."""
        return "".join(f"\n--- {' '.join(map(str, process.process.args))[-200:]}\n{process.said()[-2000:]}"
                       for process in self.processes)

    def start(self, package: str, executable: str, name: str, namespace: str = "", **parameters: Any) -> Process:
        """Start a node of the stack by its executable, as a launch file does."""
        entry = NodeEntry(package, executable, name, namespace, parameters)
        process = Process(node_command(entry, [], {}).argv, {**LOCAL, "ROS_DOMAIN_ID": str(self.domain)},
                          self.folder / f"{name}_{time.monotonic_ns()}.txt")
        self.processes.append(process)
        return process

    def env(self, **parameters: Any) -> Process:
        """Start an environment node."""
        return self.start("ant_env_node", "env_node", "env", **parameters)

    def policy(self, **parameters: Any) -> Process:
        """Start a policy node."""
        return self.start("policy_node", "policy_node", "policy", **parameters)

    def trainer(self, **parameters: Any) -> Process:
        """Start a trainer node."""
        return self.start("trainer", "trainer_node", "trainer", **parameters)
