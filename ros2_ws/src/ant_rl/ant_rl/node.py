"""The status node: listens to the stack, shows how it goes, and sums up at the end."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import rclpy
from ant_rl_core.bundle import write_atomically
from ant_rl_interfaces.msg import EpisodeSummary, NodeStats, NodeTiming
from ant_rl_ros import qos
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from rcl_interfaces.msg import ParameterDescriptor, ParameterType

from ant_rl.console import frame_line
from ant_rl.stack import CONFIGURATION_ERROR, ArgumentError, check_writable, split
from ant_rl.status import Episode, Record, Stats, Timing

_PERIODS = {"frames": 0.5, "lines": 5.0}  # [s] between two views
_FAREWELL = 3.0  # [s] at most, for the last words of nodes that are stopped at the same time


class StatusNode(Node):
    """Hears `timing`, `stats/*` and `episode` of its namespace.

    Raises:
        ArgumentError: the summary can't be written where it should be.
    """

    def __init__(self) -> None:
        super().__init__("status")
        self._summary: str = self._parameter("summary", "", "Path for the summary as JSON; empty: none.")
        self._style: str = self._parameter("style", "lines", "How the status is shown: lines, or frames for a terminal.")
        words = self._parameter("arguments", [""], "Launch arguments of the run, for the summary.")
        self._arguments = split(word for word in words if word)
        if self._summary:
            check_writable("summary", self._summary)
        self._record = Record(time.monotonic(), self._title())
        self._stats_topics: set[str] = set()
        self._subscribe(NodeTiming, "timing", self._on_timing)
        self._find_stats()
        # The environment starts once it sees this subscription, so it comes last.
        self._subscribe(EpisodeSummary, "episode", self._on_episode)
        self.create_timer(1.0, self._find_stats)
        self.create_timer(_PERIODS[self._style], self._show)

    def sum_up(self) -> None:
        """Print the summary and write it where a path was given."""
        summary = self._record.summary(time.monotonic(), self._arguments)
        if self._style == "frames":
            print(frame_line([]))
        print("\n".join(self._record.table(summary)), flush=True)
        if self._summary:
            text = json.dumps(summary, indent=2, allow_nan=False) + "\n"
            write_atomically(Path(self._summary), text.encode())

    def someone_speaks(self) -> bool:
        """Whether a node of the stack is still there."""
        return self.count_publishers("timing") > 0

    def _parameter(self, name: str, default: Any, description: str) -> Any:
        return self.declare_parameter(
            name, default, ParameterDescriptor(description=description, read_only=True)).value

    def _title(self) -> str:
        shown = [f"{name}:={self._arguments[name]}" for name in ("policy", "backend", "mode", "num_envs")
                 if self._arguments.get(name)]
        return "  ".join(["ant_rl", *shown])

    def _subscribe(self, msg_type: type, topic: str, callback: Any) -> None:
        self.create_subscription(msg_type, topic, callback, qos.profile(topic), qos_overriding_options=qos.overriding())

    def _find_stats(self) -> None:
        """`stats/<node>` topics come with their nodes."""
        prefix = self.resolve_topic_name("stats") + "/"
        for topic, _ in self.get_topic_names_and_types():
            if topic.startswith(prefix) and topic not in self._stats_topics:
                self._stats_topics.add(topic)
                self.create_subscription(NodeStats, topic, self._on_stats, qos.profile("stats"))

    def _show(self) -> None:
        now = time.monotonic()
        if self._style == "frames":
            print(frame_line(self._record.frame(now)), flush=True)
        else:
            print(self._record.line(now), flush=True)

    def _on_timing(self, message: NodeTiming) -> None:
        figures = zip(message.stage_p50, message.stage_p99, message.stage_max)
        self._record.add_timing(Timing(
            message.node, message.host, message.pid, message.state, message.detail, message.loop_rate,
            dict(zip(message.stage_names, figures)), dict(zip(message.counter_names, message.counter_values)),
            dict(zip(message.value_names, message.value_values))))

    def _on_stats(self, message: NodeStats) -> None:
        self._record.add_stats(Stats(message.node, message.host, message.pid, message.alive, message.cpu_percent,
                                     message.rss_mib, message.uss_mib, message.threads, message.temperature))

    def _on_episode(self, message: EpisodeSummary) -> None:
        self._record.add_episode(Episode(
            message.seed, message.row, message.episode_id, message.session, message.episode_return, message.length,
            message.distance, message.duration, message.terminated, message.policy_version))


def main() -> int:
    """Listen until SIGINT or SIGTERM, then until the others have said their last words; returns the exit code."""
    signals: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: signals.append(number))
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    try:
        node = StatusNode()
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        while not signals:
            executor.spin_once(timeout_sec=0.1)
        end = time.monotonic() + _FAREWELL
        while node.someone_speaks() and time.monotonic() < end and len(signals) == 1:
            executor.spin_once(timeout_sec=0.1)
        # What came in with the last goodbye.
        while time.monotonic() < end and _work_left(executor):
            pass
        node.sum_up()
    except ArgumentError as error:
        print(error, file=sys.stderr)
        return CONFIGURATION_ERROR
    except OSError as error:
        print(f"the summary can't be written: {error}", file=sys.stderr)
        return 1
    finally:
        rclpy.try_shutdown()
    return 0
