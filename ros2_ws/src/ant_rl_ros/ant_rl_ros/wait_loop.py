"""How a node of the stack waits for its data: on one wait set that is kept, not on an executor that rebuilds one.

An executor of rclpy builds a wait set and wraps tasks around each callback for every message: a round trip between
two processes takes milliseconds. Here data subscriptions lie in a kept wait set together with everything else that
the node answers to (parameters, services, lifecycle, timers, plain subscriptions); their messages are taken straight
into an inbox, and an executor runs, for one callback, only when one of the others is ready.

Beside the end of a node (`lifecycle.py`) this is the one module that touches rclpy's internals: `_rclpy.WaitSet` and
the handles' `take_message`, used as `rclpy.wait_for_message` of Jazzy (7.1) and Kilted (9.1) does. The mode `executor`
does without them.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any

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
# While messages come fast, everything else is looked at this often [s].
_LOOK_PERIOD = 0.02
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
        self._fast = mode == "wait_set"
        self._node = node
        self._stopped = stopped
        self._executor = SingleThreadedExecutor(context=node.context)
        self._executor.add_node(node)
        self._data: list[tuple[Subscription[Any], deque[Any], bool]] = []  # with its inbox; whether info is wanted
        self._overheard: list[tuple[Subscription[Any], deque[Any]]] = []
        # Plain subscriptions, timers, clients and services of the node.
        self._others: tuple[list[Any], list[Any], list[Any], list[Any]] = ([], [], [], [])
        self._data_set: Any = None
        self._full_set: Any = None
        self._sizes: tuple[int, ...] = ()
        self._looked = -_LOOK_PERIOD
        self._quick = False  # the last message was waited for only shortly, so the next may come soon too
        self._period = _FULL_SERVICE_PERIOD[mode]
        self._served = -self._period
        self.refresh()

    @property
    def running(self) -> bool:
        """Whether there is anything left to wait for: ROS is up and nobody asked to stop."""
        return not self._stopped() and self._node.context.ok()

    def subscribe(self, msg_type: type, topic: str, qos: QoSProfile, options: QoSOverridingOptions | None = None,
                  raw: bool = False, info: bool = False) -> deque[Any]:
        """Subscribe to a topic whose messages `wait` waits for; returns the inbox into which they come in order.

        With `raw` they come as bytes, for a codec of `wire`; with `info` as pairs of message and rclpy's MessageInfo,
        which says when it was sent and received [ns], and as which of its publisher's messages.

        The inbox keeps the newest `qos.depth` messages. Take all of them out between two waits: `wait` returns at
        once while one is left in any inbox.
        """
        def with_info(message: Any, about: Any) -> None:
            inbox.append((message, about))

        callback = with_info if info else lambda message: inbox.append(message)
        subscription = self._node.create_subscription(msg_type, topic, callback, qos, qos_overriding_options=options,
                                                      raw=raw)
        inbox: deque[Any] = deque(maxlen=max(1, qos.depth))  # after the overrides of `qos` have been applied
        self._data.append((subscription, inbox, info))
        self.refresh()
        return inbox

    def overhear(self, msg_type: type, topic: str, qos: QoSProfile) -> deque[Any]:
        """Subscribe to what is looked at now and then, by `take_overheard`; returns the inbox.

        No wait ends because of such a message, so that it costs the loop nothing.
        """
        inbox: deque[Any] = deque(maxlen=max(1, qos.depth))
        subscription = self._node.create_subscription(msg_type, topic, lambda message: inbox.append(message), qos)
        self._overheard.append((subscription, inbox))
        self.refresh()
        return inbox

    def take_overheard(self, inbox: deque[Any]) -> None:
        """Fill the inbox of `overhear` with what has come."""
        if not self._fast:
            return  # the executor has
        (subscription,) = (subscription for subscription, other in self._overheard if other is inbox)
        while len(inbox) != inbox.maxlen and (
                received := subscription.handle.take_message(subscription.msg_type, subscription.raw)) is not None:
            inbox.append(received[0])

    def unsubscribe(self, inbox: deque[Any]) -> None:
        """End the subscription that fills `inbox`."""
        for index, (subscription, other, _) in enumerate(self._data):
            if other is inbox:
                del self._data[index]
                self._node.destroy_subscription(subscription)
                self.refresh()
                return
        raise ValueError("unsubscribe: no subscription of this loop fills that inbox")

    def drain(self) -> None:
        """Take every message that is there already, without a wait for each; inboxes that are full stay as they are."""
        if not self._fast:
            before = -1
            while (found := sum(len(inbox) for _, inbox, _ in self._data)) > before:
                before = found
                self._spin(0.0)
            return
        for subscription, inbox, info in self._data:
            take, msg_type, raw = subscription.handle.take_message, subscription.msg_type, subscription.raw
            while len(inbox) != inbox.maxlen and (received := take(msg_type, raw)) is not None:
                inbox.append(received if info else received[0])

    def discard(self) -> None:
        """Drop all messages that wait in inboxes, as an inactive node does."""
        for _, inbox, _ in self._data:
            inbox.clear()

    def wait(self, timeout_s: float) -> bool:
        """Wait until a message lies in an inbox, at most `timeout_s`; serve the node's other callbacks meanwhile.

        Returns:
            Whether a message is there. False after the timeout, and at once when `running` ends.
        """
        for _, inbox, _ in self._data:
            if inbox:
                return True
        begin = now = time.monotonic()
        end = now + timeout_s
        # The hot path: while messages come fast, only the data is waited for.
        if self._quick and self._fast and self._data and now - self._looked < _LOOK_PERIOD:
            self._wait_for_data(min(timeout_s, _LOOK_PERIOD))
            if self._take():
                return True
            now = time.monotonic()
        while self.running:
            self._wait_for_all(min(max(end - now, 0.0), _SLICE))
            now = time.monotonic()
            if any(inbox for _, inbox, _ in self._data):
                self._quick = now - begin < _LOOK_PERIOD
                return True
            if now >= end:
                break
        self._quick = False
        return False

    def serve(self) -> None:
        """Run the callbacks that are ready now (parameters, services, lifecycle, timers, events)."""
        for _ in range(_CALLBACKS_AT_ONCE):
            self._spin(0.0)
            if not self.running or (self._fast and not self._others_ready()):
                break
        self.refresh()
        self._served = time.monotonic()

    def refresh(self) -> None:
        """Look again at which subscriptions, services and timers the node has, where they changed outside `wait`."""
        data, node = [subscription for subscription, *_ in self._data], self._node
        apart = [*data, *(subscription for subscription, _ in self._overheard)]
        self._others = ([s for s in node.subscriptions if s not in apart], list(node.timers), list(node.clients),
                        list(node.services))
        timers, clients, services = map(len, self._others[1:])
        sizes = (len(data) + len(self._others[0]), timers, clients, services)
        if self._fast and sizes != self._sizes:
            context = self._node.context.handle
            assert context is not None  # of a node that was made
            self._data_set = _rclpy.WaitSet(len(data), 0, 0, 0, 0, 0, context)
            self._full_set = _rclpy.WaitSet(sizes[0], 0, timers, clients, services, 0, context)
            self._sizes = sizes

    def close(self) -> None:
        """Let go of the node, which may then be destroyed."""
        self._data.clear()
        self._overheard.clear()
        self._data_set = self._full_set = None
        self._executor.remove_node(self._node)
        self._executor.shutdown(timeout_sec=0)

    def _wait_for_data(self, timeout_s: float) -> None:
        wait_set = self._data_set
        wait_set.clear_entities()  # waiting empties a set of what is not ready
        for subscription, *_ in self._data:
            wait_set.add_subscription(subscription.handle)
        wait_set.wait(int(timeout_s * 1e9))

    def _take(self) -> bool:
        """Take the next message of each data subscription, if there is one."""
        taken = False
        for subscription, inbox, info in self._data:
            received = subscription.handle.take_message(subscription.msg_type, subscription.raw)
            if received is not None:
                inbox.append(received if info else received[0])
                taken = True
        return taken

    def _wait_for_all(self, timeout_s: float) -> None:
        """One wait for data and everything else; takes the data and serves the others."""
        now = time.monotonic()
        if now - self._served >= self._period:
            self.serve()
            timeout_s = 0.0 if any(inbox for _, inbox, _ in self._data) else timeout_s
        if not self._fast:
            self._spin(timeout_s)
            return
        others = self._others_ready(timeout_s)
        self._looked = time.monotonic()
        self._take()
        if others:
            self.serve()

    def _others_ready(self, timeout_s: float = 0.0) -> bool:
        """Wait for anything; whether something other than data is ready."""
        try:
            self._fill()
        except (InvalidHandle, _rclpy.RCLError):  # something was destroyed since the last look
            self.refresh()
            self._fill()
        full = self._full_set
        full.wait(int(timeout_s * 1e9))
        if any(full.get_ready_entities(kind) for kind in ("service", "timer", "client")):
            return True
        plain = self._others[0]
        if not plain:
            return False
        ready = full.get_ready_entities("subscription")
        return any(subscription.handle.pointer in ready for subscription in plain)

    def _fill(self) -> None:
        full = self._full_set
        subscriptions, timers, clients, services = self._others
        full.clear_entities()
        for subscription, *_ in self._data:
            full.add_subscription(subscription.handle)
        for subscription in subscriptions:
            full.add_subscription(subscription.handle)
        for timer in timers:
            full.add_timer(timer.handle)
        for client in clients:
            full.add_client(client.handle)
        for service in services:
            full.add_service(service.handle)

    def _spin(self, timeout_s: float) -> None:
        try:
            self._executor.spin_once(timeout_sec=timeout_s)
        except ExternalShutdownException:
            pass  # `running` says so
