"""For tests of nodes: processes with bounded waits, and a peer that plays the other side by hand."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ant_rl_interfaces.msg import NodeTiming
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile

from ant_rl_ros import qos

TIMEOUT = 30.0  # [s] after which a wait fails; a busy machine needs no more


class Timeout(AssertionError):
    """What was waited for did not come."""


class NodeProcess:
    """A node of the stack in a process of its own.

    Args:
        module: module with a `main`, e.g. ant_env_node.node.
        namespace: namespace of the node.
        parameters: parameters by name.
        blocked: names of modules whose import shall fail in the process.

    Use it as a context manager: at the end the process is gone, whatever happened.
    """

    def __init__(self, module: str, namespace: str, parameters: Mapping[str, Any] | None = None,
                 arguments: Iterable[str] = (), blocked: Iterable[str] = ()) -> None:
        block = "".join(f"sys.modules[{name!r}] = None; " for name in blocked)
        code = f"import sys; {block}from {module} import main; sys.exit(main())"
        command = [sys.executable, "-c", code, "--ros-args", "-r", f"__ns:={namespace}", *arguments]
        for name, value in (parameters or {}).items():
            command += ["-p", f"{name}:={str(value).lower() if isinstance(value, bool) else value}"]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                         env={**os.environ, "PYTHONUNBUFFERED": "1"})
        self._lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self._process.stdout:
            self._lines.append(line)

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def ended(self) -> bool:
        """Whether it is gone."""
        return self._process.poll() is not None

    @property
    def output(self) -> str:
        """What it has printed so far, both streams."""
        return "".join(self._lines)

    def signal(self, number: int = signal.SIGINT) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def wait(self, timeout_s: float = TIMEOUT) -> int:
        """Exit code, once it has ended."""
        try:
            code = self._process.wait(timeout_s)
        except subprocess.TimeoutExpired as error:
            raise Timeout(f"the process still runs after {timeout_s} s; it said:\n{self.output}") from error
        self._reader.join(timeout_s)
        return code

    def __enter__(self) -> NodeProcess:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._reader.join(5.0)
        self._process.stdout.close()


class Peer:
    """A plain ROS node in the test's own process, in a context of its own.

    Use it as a context manager.
    """

    def __init__(self, namespace: str = "", name: str = "peer") -> None:
        self.context = Context()
        self.context.init()
        self.node = Node(name, namespace=namespace, context=self.context)
        self._executor = SingleThreadedExecutor(context=self.context)
        self._executor.add_node(self.node)

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        self._executor.shutdown()
        self.node.destroy_node()
        self.context.try_shutdown()

    def collect(self, msg_type: type, topic: str, profile: QoSProfile | None = None) -> list[Any]:
        """Subscribe; the list fills while the peer spins."""
        received: list[Any] = []
        self.node.create_subscription(msg_type, topic, received.append, profile or qos.profile(topic))
        return received

    def publisher(self, msg_type: type, topic: str, profile: QoSProfile | None = None) -> Any:
        """A publisher with the QoS of the stack's table."""
        return self.node.create_publisher(msg_type, topic, profile or qos.profile(topic))

    def until(self, condition: Callable[[], Any], what: str = "", timeout_s: float = TIMEOUT) -> Any:
        """Spin until the condition is true; its value. Timeout if it does not become so."""
        end = time.monotonic() + timeout_s
        while not (value := condition()):
            if time.monotonic() > end:
                raise Timeout(f"waited {timeout_s} s in vain for {what or condition}")
            self._executor.spin_once(timeout_sec=0.02)
        return value

    def call(self, srv_type: type, name: str, request: Any, timeout_s: float = TIMEOUT) -> Any:
        """Call a service; its response."""
        client = self.node.create_client(srv_type, name)
        try:
            self.until(client.service_is_ready, f"service {name}", timeout_s)
            future = client.call_async(request)
            self.until(future.done, f"an answer of {name}", timeout_s)
            return future.result()
        finally:
            self.node.destroy_client(client)

    def timings(self, node: str) -> Timings:
        """The timing messages of the node with this name, as they come."""
        return Timings(self, node)


class Timings:
    """What a node tells of itself once per second."""

    def __init__(self, peer: Peer, node: str) -> None:
        self._peer, self._node = peer, node
        self._messages: list[NodeTiming] = peer.collect(NodeTiming, "timing")

    @property
    def messages(self) -> list[NodeTiming]:
        """All of them so far."""
        return [message for message in self._messages if message.node.endswith("/" + self._node)]

    def counter(self, name: str) -> int:
        """Newest count of an event."""
        newest = self.messages[-1] if self.messages else NodeTiming()
        return dict(zip(newest.counter_names, newest.counter_values)).get(name, 0)

    def until_counter(self, name: str, at_least: int = 1) -> int:
        """Wait until an event was counted so often."""
        self._peer.until(lambda: self.counter(name) >= at_least, f"counter {name} >= {at_least}")
        return self.counter(name)

    def until_state(self, state: str) -> NodeTiming:
        """Wait until the newest message says this state."""
        self._peer.until(lambda: self.messages and self.messages[-1].state == state, f"state {state}")
        return self.messages[-1]


def fresh_namespace() -> str:
    """A namespace that no other test uses, so that tests that run at once don't meet."""
    return f"/test_{uuid.uuid4().hex[:12]}"
