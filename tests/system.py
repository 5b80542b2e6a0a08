"""What the whole-system tests share: real node processes, and a listener in a domain of the test's own."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import rclpy
from ant_rl_interfaces.msg import NodeTiming

from ant_rl.stack import NodeEntry
from ant_rl.supervisor import node_command
from ant_rl_ros import qos
from ant_rl_ros.wait_loop import WaitLoop

WAIT = 60.0  # [s] bound of every wait; what is waited for takes seconds at most
_domains = itertools.count(os.getpid())


def new_domain() -> int:
    """A ROS domain that no other test of this run uses."""
    return 64 + next(_domains) % 37


def command(*words: str, domain: int | None = None, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """`./run …`, as a process that has ended, with all it printed in `stdout`; in a domain of its own by default."""
    variables = {**os.environ, "ROS_DOMAIN_ID": str(domain or new_domain()), "TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.run([sys.executable, "-m", "ant_rl", *words], env=variables, cwd=folder, text=True, timeout=WAIT,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


class NodeProcess:
    """One node of the stack as a process of its own; what it prints goes to a file."""

    def __init__(self, domain: int, folder: Path, package: str, executable: str, name: str, namespace: str = "",
                 **parameters: Any) -> None:
        self.output = folder / f"{name}_{time.monotonic_ns()}.txt"
        command = node_command(NodeEntry(package, executable, name, namespace, parameters), [], {}).argv
        variables = {**os.environ, "ROS_DOMAIN_ID": str(domain), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
                     "ROS_PYTHON_CHECK_FIELDS": "1"}
        with open(self.output, "w") as output:
            self.process = subprocess.Popen(command, stdout=output, stderr=output, env=variables)

    def said(self) -> str:
        """Everything it printed so far."""
        return self.output.read_text()

    def kill(self) -> None:
        """End it at once, as a crash would."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(WAIT)

    def wait(self) -> int:
        """Exit code, once it ends by itself."""
        return self.process.wait(WAIT)

    def stop(self) -> int:
        """Ctrl-C; returns the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        try:
            return self.process.wait(WAIT)
        finally:
            if self.process.poll() is None:
                self.kill()


class System:
    """Processes and a listener of one test; everything ends with the `with` block."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.domain = new_domain()
        self.processes: list[NodeProcess] = []
        self.timings: dict[str, NodeTiming] = {}
        self._inboxes: list[tuple[deque[Any], deque[Any]]] = []

    def __enter__(self) -> System:
        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=self.domain)
        self.node = rclpy.create_node("listener", context=self.context)
        self.loop = WaitLoop(self.node)
        self._timing = self.loop.subscribe(NodeTiming, "timing", qos.profile("timing"))
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            process.stop()
        self.loop.close()
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)

    def start(self, package: str, executable: str, name: str, **parameters: Any) -> NodeProcess:
        """Start a node; parameters as in `NodeProcess`."""
        process = NodeProcess(self.domain, self.folder, package, executable, name, **parameters)
        self.processes.append(process)
        return process

    def env(self, **parameters: Any) -> NodeProcess:
        """Start an environment node."""
        return self.start("ant_env_node", "env_node", "env", **parameters)

    def policy(self, **parameters: Any) -> NodeProcess:
        """Start a policy node."""
        return self.start("policy_node", "policy_node", "policy", **parameters)

    def trainer(self, **parameters: Any) -> NodeProcess:
        """Start a trainer node."""
        return self.start("trainer", "trainer_node", "trainer", **parameters)

    def listen(self, kind: type, topic: str, mode: str = "lockstep", depth: int = 5000) -> deque[Any]:
        """Everything that comes on a topic while this object waits; deep enough to miss nothing."""
        profile = qos.profile(topic, mode)
        profile.depth = depth
        heard: deque[Any] = deque()
        self._inboxes.append((self.loop.subscribe(kind, topic, profile), heard))
        return heard

    def wait(self) -> None:
        """Wait a moment for messages; keeps the newest timing of each node."""
        self.loop.wait(0.1)
        for inbox, heard in self._inboxes:
            heard.extend(inbox)
            inbox.clear()
        while self._timing:
            message = self._timing.popleft()
            self.timings[message.node.rpartition("/")[2]] = message

    def until(self, condition: Callable[[], Any], what: str) -> Any:
        """Wait until `condition` gives something true, and return that."""
        end = time.monotonic() + WAIT
        while not (found := condition()):
            said = "\n".join(f"--- {p.output.name}\n{p.said()[-2000:]}" for p in self.processes)
            assert time.monotonic() < end, f"waited {WAIT} s for {what}; {said}"
            self.wait()
        return found

    def call(self, kind: type, service: str, request: Any) -> Any:
        """Call a service and return its answer."""
        client = self.node.create_client(kind, service)
        self.loop.refresh()
        self.until(client.service_is_ready, f"the service {service}")
        future = client.call_async(request)
        self.until(future.done, f"the answer of {service}")
        self.node.destroy_client(client)
        self.loop.refresh()
        return future.result()

    def counter(self, node: str, name: str) -> int:
        """A node's counter as last published."""
        timing = self.timings.get(node)
        return dict(zip(timing.counter_names, timing.counter_values)).get(name, 0) if timing else 0
