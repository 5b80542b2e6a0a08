"""The other side of a node, in the test's own process."""

from __future__ import annotations

import math
import time
import uuid
from collections import deque
from collections.abc import Callable
from typing import Any

from ant_rl_interfaces.msg import NodeTiming
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile
from rclpy.task import Future

from ant_rl_ros import qos
from ant_rl_ros.testing.process import TIMEOUT, Timeout
from ant_rl_ros.wait_loop import WaitLoop

# How long an answer may take before the question is taken for lost: longer than any node of ours is busy. s
ASK_AGAIN = 15.0


class Party:
    """A node in a context of its own, and bounded waits; a context manager.

    Args:
        namespace, name: of the node.
        domain: None: that of the environment variable.
    """

    def __init__(self, namespace: str, name: str, domain: int | None = None) -> None:
        self.context = Context()
        self.context.init(domain_id=domain)
        self.node = Node(name, namespace=namespace, context=self.context)

    def spin(self) -> None:
        """Wait a moment, and serve what comes."""
        raise NotImplementedError

    def serve_anew(self) -> None:
        """What is to be served has changed."""

    def situation(self) -> str:
        """What else there is to say of a wait that was in vain."""
        return ""

    def close(self) -> None:
        """Leave the graph."""
        self.node.destroy_node()
        self.context.try_shutdown()

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def publisher(self, msg_type: type, topic: str, profile: QoSProfile | None = None) -> Publisher[Any]:
        """A publisher with the QoS of the stack's table."""
        return self.node.create_publisher(msg_type, topic, profile or qos.profile(topic))

    def until(self, condition: Callable[[], Any], what: str = "", timeout_s: float = TIMEOUT) -> Any:
        """Spin until the condition is true; its value. Timeout if it does not become so."""
        end = time.monotonic() + timeout_s
        while not (value := condition()):
            if time.monotonic() > end:
                raise Timeout(f"waited {timeout_s} s in vain for {what or condition}{self.situation()}")
            self.spin()
        return value

    def call(self, srv_type: type, name: str, request: Any, timeout_s: float = TIMEOUT) -> Any:
        """Call a service; its response.

        A server that has not yet found this side's reader answers to nobody, and nothing on this side tells: the
        client is ready as soon as *it* has found the server. So a question that stays unanswered is asked again.
        """
        client: Any = self.node.create_client(srv_type, name)
        self.serve_anew()
        try:
            self.until(client.service_is_ready, f"service {name}", timeout_s)
            end, asked = time.monotonic() + timeout_s, -math.inf
            future: Future[Any] = Future()
            while not future.done():
                if time.monotonic() > end:
                    raise Timeout(f"waited {timeout_s} s in vain for an answer of {name}{self.situation()}")
                if time.monotonic() > asked + ASK_AGAIN:
                    asked, future = time.monotonic(), client.call_async(request)
                self.spin()
            return future.result()
        finally:
            self.node.destroy_client(client)
            self.serve_anew()


class Peer(Party):
    """A party as anybody writes it, with an executor of rclpy: nothing of the stack's own loop is in it."""

    def __init__(self, namespace: str = "", name: str = "peer") -> None:
        super().__init__(namespace, name)
        self._executor = SingleThreadedExecutor(context=self.context)
        self._executor.add_node(self.node)

    def spin(self) -> None:
        """Serve one callback, or wait 20 ms."""
        self._executor.spin_once(timeout_sec=0.02)

    def close(self) -> None:
        """Leave the graph."""
        self._executor.shutdown()
        super().close()

    def collect(self, msg_type: type, topic: str, profile: QoSProfile | None = None) -> list[Any]:
        """Subscribe; the list fills while the peer spins."""
        received: list[Any] = []
        self.node.create_subscription(msg_type, topic, received.append, profile or qos.profile(topic))
        return received

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
        return _counter(self.messages[-1] if self.messages else None, name)

    def until_counter(self, name: str, at_least: int = 1) -> int:
        """Wait until an event was counted so often."""
        self._peer.until(lambda: self.counter(name) >= at_least, f"counter {name} >= {at_least}")
        return self.counter(name)

    def until_state(self, state: str) -> NodeTiming:
        """Wait until the newest message says this state."""
        self._peer.until(lambda: self.messages and self.messages[-1].state == state, f"state {state}")
        return self.messages[-1]


class Listener(Party):
    """A party with the wait set that the nodes keep: fast enough to miss nothing of a stack at full speed.

    Attributes:
        loop: for subscriptions of one's own.
        timings: newest message of each node, by its name without the namespace.
    """

    def __init__(self, namespace: str = "", name: str = "listener", domain: int | None = None) -> None:
        super().__init__(namespace, name, domain)
        self.loop = WaitLoop(self.node)
        self.timings: dict[str, NodeTiming] = {}
        self._timing = self.loop.subscribe(NodeTiming, "timing", qos.profile("timing"))
        self._inboxes: list[tuple[deque[Any], deque[Any]]] = []

    def spin(self, timeout_s: float = 0.1) -> None:
        """Wait a moment for messages."""
        self.loop.wait(timeout_s)
        for inbox, heard in self._inboxes:
            heard.extend(inbox)
            inbox.clear()
        while self._timing:
            message = self._timing.popleft()
            self.timings[message.node.rpartition("/")[2]] = message

    def serve_anew(self) -> None:
        """What is to be served has changed."""
        self.loop.refresh()

    def close(self) -> None:
        """Leave the graph."""
        self.loop.close()
        super().close()

    def listen(self, msg_type: type, topic: str, mode: str = "lockstep", depth: int = 5000) -> deque[Any]:
        """Everything that comes on a topic while this object spins; deep enough to miss nothing."""
        profile = qos.profile(topic, mode)
        profile.depth = depth
        heard: deque[Any] = deque()
        self._inboxes.append((self.loop.subscribe(msg_type, topic, profile), heard))
        return heard

    def counter(self, node: str, name: str) -> int:
        """A node's counter as last published."""
        return _counter(self.timings.get(node), name)


def fresh_namespace() -> str:
    """A namespace that no other test uses, so that tests that run at once don't meet."""
    return f"/test_{uuid.uuid4().hex[:12]}"


def _counter(timing: NodeTiming | None, name: str) -> int:
    return dict(zip(timing.counter_names, timing.counter_values, strict=True)).get(name, 0) if timing else 0
