"""The monitor: one per host, finds the stack's processes on it, publishes `stats/<node>` and `/diagnostics`."""

from __future__ import annotations

import socket
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

from ant_rl_interfaces.msg import NodeStats, NodeTiming
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.publisher import Publisher

from ant_rl_core.telemetry import Timing
from ant_rl_ros import qos
from ant_rl_ros.node import StackNode
from ant_rl_ros.run import run
from ant_rl_ros.telemetry import decode_timing, encode_stats
from monitor_node.codec import encode_status
from monitor_node.health import Figures, judge
from monitor_node.settings import MonitorSettings
from monitor_node.thermal import conditions, read_host
from monitor_node.watch import Watch


class MonitorNode(StackNode):
    """Hears `timing` of each node, looks at the process behind it once per period."""

    settings: MonitorSettings
    per_host = True

    def __init__(self) -> None:
        super().__init__("monitor", MonitorSettings)
        self._host = socket.gethostname()
        self._inboxes: list[deque[NodeTiming]] = []
        self._watches: dict[str, Watch] = {}
        self._outlets: dict[str, Publisher[Any]] = {}

    def configure(self) -> None:
        """Join the graph."""
        prefixes = [f"/{name.strip('/')}/" if name else "" for name in self.settings.namespaces]
        self._inboxes = [self.loop.subscribe(NodeTiming, prefix + "timing", qos.profile("timing"), qos.overriding())
                         for prefix in prefixes]
        self._diagnostics = self.publisher(DiagnosticArray, "/diagnostics")

    def activate(self) -> None:
        """Look at once."""
        self._due = time.monotonic()

    def cleanup(self) -> None:
        """Leave the graph."""
        while self._inboxes:
            self.loop.unsubscribe(self._inboxes.pop())
        for node in list(self._watches):
            self._forget(node)

    def work(self) -> None:
        """Take what was said, look when it is time."""
        self.loop.wait(min(0.1, max(0.0, self._due - time.monotonic())))
        for inbox in self._inboxes:
            for timing in self.take(inbox, decode_timing, "timings"):
                self._hear(timing)
        now = time.monotonic()
        if now >= self._due:
            self._due = now + self.settings.period
            with self.stages.stage("look"):
                self._look(now)
            self.ticks += 1

    def _hear(self, timing: Timing) -> None:
        if timing.host != self._host:
            return  # that host has a monitor of its own
        now = time.monotonic()
        watch = self._watches.get(timing.node)
        if watch is None or watch.pid != timing.pid:
            self._watches[timing.node] = Watch(timing, now)
        else:
            watch.hear(timing, now)

    def _look(self, now: float) -> None:
        """Publish the figures of each process, once more when it is gone, and how all of them are."""
        stamp = self.get_clock().now().to_msg()
        host = read_host()
        array = DiagnosticArray()
        array.header.stamp = stamp
        level, sentence = judge(Figures.of_host(host), self.settings)
        throttling = host.throttling
        array.status.append(encode_status(f"host {self._host}", self._host, level, sentence, {
            "temperature [degC]": host.temperature, "cpu frequency [MHz]": host.frequency,
            "cpu frequency cap [%]": host.frequency_cap,
            "throttling": conditions(throttling.now) if throttling else "unknown",
            "throttling since boot": conditions(throttling.since_boot) if throttling else "unknown"}))
        for node, watch in list(self._watches.items()):
            known_dead = watch.died is not None
            sample = watch.sample(now)
            if not known_dead:
                self._publisher(node).publish(encode_stats(sample.stats(host), stamp))
            level, sentence = judge(sample.figures(), self.settings, sample.timing.state, sample.timing.detail)
            array.status.append(encode_status(node, self._host, level, sentence, {
                "pid": watch.pid, "cpu [%]": sample.cpu_percent, "rss [MiB]": sample.rss_mib,
                "loop rate [1/s]": sample.timing.loop_rate,
                "round trip p99 [ms]": 1e3 * sample.timing.round_trip[1], **sample.timing.counters}))
            if watch.died is not None and now - watch.died >= self.settings.forget_after:
                self._forget(node)
        self._diagnostics.publish(array)

    def _publisher(self, node: str) -> Publisher[Any]:
        """Publisher of the figures of `node`: /robot/env has them on /robot/stats/env."""
        if node not in self._outlets:
            namespace, _, name = node.rpartition("/")
            self._outlets[node] = self.create_publisher(NodeStats, f"{namespace}/stats/{name}",
                                                           qos.profile("stats"))
        return self._outlets[node]

    def _forget(self, node: str) -> None:
        del self._watches[node]
        if node in self._outlets:
            self.destroy_publisher(self._outlets.pop(node))


def main(args: Sequence[str] | None = None) -> int:
    """Run the node; returns the exit code."""
    return run(MonitorNode, args)
