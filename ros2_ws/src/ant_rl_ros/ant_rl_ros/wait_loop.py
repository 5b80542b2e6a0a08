"""How a node of the stack waits for its data: on one wait set that is kept, not on an executor that rebuilds one.

An executor of rclpy builds a wait set and wraps tasks around each callback for every message: a round trip between
two processes takes milliseconds. Here data subscriptions lie in a kept wait set together with everything else that
the node answers to (parameters, services, lifecycle, timers, plain subscriptions); their messages are taken straight
into an inbox, and an executor runs, for one callback, only when one of the others is ready.

This is the one module that touches rclpy's internals: `_rclpy.WaitSet` and the handles' `take_message`, used as
`rclpy.wait_for_message` of Jazzy (7.1) and Kilted (9.1) does. The mode `executor` does without them.
"""

from __future__ import annotations

import time
from collections import deque
from typing import Any, Callable

from rclpy.exceptions import InvalidHandle
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.impl.implementation_singleton import rclpy_implementation as _rclpy
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.subscription import Subscription

MODES = ("wait_set", "executor")

# A wait in C++ is not cut short by Python's signal handlers, so a long one is made of slices of this length [s].
_SLICE = 0.05
# Events of the middleware (e.g. QoS that doesn't match) are not in the kept wait set; they are served this often [s].
_FULL_SERVICE_PERIOD = {"wait_set": 1.0, "executor": 0.05}
# At most this many callbacks in a row before the data is looked at again.
_CALLBACKS_AT_ONCE = 8


class WaitLoop:
    """Waits for the data of one node and serves its other callbacks in between; everything in the calling thread.

    Never call `wait` from within a callback.

    Args:
        node: the node whose callbacks are served; it belongs to this loop from now on.
        mode: `wait_set`, or `executor` for plain rclpy, slower.
        stopped: asked at least every 50 ms while waiting; once true, `wait` returns.

    Raises:
        ValueError: for another mode.
    """

    def __init__(self, node: Node, mode: str = "wait_set", stopped: Callable[[], bool] = lambda: False) -> None:
        if mode not in MODES:
            raise ValueError(f"wait must be one of {', '.join(MODES)}, found {mode!r}")
        self.mode = mode
        self._node = node
        self._stopped = stopped
        self._executor = SingleThreadedExecutor(context=node.context)
        self._executor.add_node(node)
        self._data: list[tuple[Subscription, deque[Any]]] = []
        self._others: tuple[list[Any], list[Any], list[Any], list[Any]] = ([], [], [], [])
        self._wait_set: Any = None
        self._sizes: tuple[int, ...] = ()
        self._period = _FULL_SERVICE_PERIOD[mode]
        self._served = -self._period

    @property
    def running(self) -> bool:
        """Whether there is anything left to wait for: ROS is up and nobody asked to stop."""
        return not self._stopped() and self._node.context.ok()

    def subscribe(self, msg_type: type, topic: str, qos: QoSProfile,
                  options: QoSOverridingOptions | None = None) -> deque[Any]:
        """Subscribe to a topic whose messages `wait` waits for; returns the inbox into which they come in order.

        The inbox keeps the newest `qos.depth` messages. Take all of them out between two waits: `wait` returns at
        once while one is left in any inbox.
        """
        subscription = self._node.create_subscription(msg_type, topic, lambda message: inbox.append(message), qos,
                                                      qos_overriding_options=options)
        inbox: deque[Any] = deque(maxlen=max(1, qos.depth))  # after the overrides of `qos` have been applied
        self._data.append((subscription, inbox))
        self.refresh()
        return inbox

    def unsubscribe(self, inbox: deque[Any]) -> None:
        """End the subscription that fills `inbox`."""
        for subscription, other in self._data:
            if other is inbox:
                self._data.remove((subscription, other))
                self._node.destroy_subscription(subscription)
                self.refresh()
                return
        raise ValueError("unsubscribe: no subscription of this loop fills that inbox")

    def discard(self) -> None:
        """Drop all messages that wait in inboxes, as an inactive node does."""
        for _, inbox in self._data:
            inbox.clear()

    def wait(self, timeout_s: float) -> bool:
        """Wait until a message lies in an inbox, at most `timeout_s`; serve the node's other callbacks meanwhile.

        Returns:
            Whether a message is there. False after the timeout, and at once when `running` ends.
        """
        now = time.monotonic()
        end = now + timeout_s
        while True:
            if now - self._served >= self._period:
                self.serve()
            if any(inbox for _, inbox in self._data):
                return True
            remaining = end - now
            if not self.running:
                return False
            if self._wait_once(min(max(remaining, 0.0), _SLICE)):
                return True
            now = time.monotonic()
            if now >= end:
                return any(inbox for _, inbox in self._data)

    def serve(self) -> None:
        """Run the callbacks that are ready now (parameters, services, lifecycle, timers, events)."""
        self._served = time.monotonic()
        for _ in range(_CALLBACKS_AT_ONCE):
            self._spin(0.0)
            if not self.running or (self.mode == "wait_set" and not self._others_ready()):
                break
        self.refresh()

    def refresh(self) -> None:
        """Look again at which subscriptions, services and timers the node has; needed where they changed outside `wait`."""
        data = {subscription for subscription, _ in self._data}
        node = self._node
        self._others = ([s for s in node.subscriptions if s not in data], list(node.timers), list(node.clients),
                        list(node.services))

    def close(self) -> None:
        """Let go of the node, which may then be destroyed."""
        self._data.clear()
        self._others = ([], [], [], [])
        self._wait_set = None
        self._executor.remove_node(self._node)
        self._executor.shutdown(timeout_sec=0)

    def _wait_once(self, timeout_s: float) -> bool:
        """One wait of at most `timeout_s`; takes one message of each ready topic. True if one was taken."""
        if self.mode == "executor":
            self._spin(timeout_s)
            return any(inbox for _, inbox in self._data)
        ready = self._wait_on_set(timeout_s)
        taken = False
        if ready:
            for subscription, inbox in self._data:
                if subscription.handle.pointer in ready:
                    received = subscription.handle.take_message(subscription.msg_type, subscription.raw)
                    if received is not None:
                        inbox.append(received[0])
                        taken = True
        return taken

    def _wait_on_set(self, timeout_s: float) -> list[int]:
        """Wait on the kept set, serve others that are ready; returns the handles of ready subscriptions."""
        wait_set = self._armed()
        wait_set.wait(int(timeout_s * 1e9))
        ready = wait_set.get_ready_entities("subscription")
        if self._any_other(wait_set, ready):
            self.serve()
        return ready

    def _others_ready(self) -> bool:
        wait_set = self._armed()
        wait_set.wait(0)
        return self._any_other(wait_set, wait_set.get_ready_entities("subscription"))

    def _any_other(self, wait_set: Any, ready: list[int]) -> bool:
        if any(wait_set.get_ready_entities(kind) for kind in ("service", "timer", "client")):
            return True
        return bool(ready) and any(subscription.handle.pointer in ready for subscription in self._others[0])

    def _armed(self) -> Any:
        """The kept wait set, filled anew: waiting empties it of what is not ready."""
        try:
            return self._fill()
        except InvalidHandle:  # something was destroyed since the last look
            self.refresh()
            return self._fill()

    def _fill(self) -> Any:
        subscriptions, timers, clients, services = self._others
        sizes = (len(self._data) + len(subscriptions), 0, len(timers), len(clients), len(services), 0)
        if self._wait_set is None or sizes != self._sizes:
            self._wait_set = _rclpy.WaitSet(*sizes, self._node.context.handle)
            self._sizes = sizes
        wait_set = self._wait_set
        wait_set.clear_entities()
        for subscription, _ in self._data:
            wait_set.add_subscription(subscription.handle)
        for subscription in subscriptions:
            wait_set.add_subscription(subscription.handle)
        for timer in timers:
            wait_set.add_timer(timer.handle)
        for client in clients:
            wait_set.add_client(client.handle)
        for service in services:
            wait_set.add_service(service.handle)
        return wait_set

    def _spin(self, timeout_s: float) -> None:
        try:
            self._executor.spin_once(timeout_sec=timeout_s)
        except ExternalShutdownException:
            pass  # `running` says so
