"""The status node: listens to the stack, shows how it goes, and sums up at the end."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path

from ant_rl_interfaces.msg import EpisodeSummary, NodeStats, NodeTiming, RobotTasks

from ant_rl.console import frame_line
from ant_rl.settings import PERIODS, StatusSettings
from ant_rl.status import Record
from ant_rl_core.files import check_writable, write_atomically
from ant_rl_core.settings import split
from ant_rl_ros import qos
from ant_rl_ros.messages import decode_tasks
from ant_rl_ros.node import StackNode
from ant_rl_ros.run import run
from ant_rl_ros.stats_topics import StatsTopics
from ant_rl_ros.telemetry import decode_episode, decode_stats, decode_timing

_FAREWELL = 3.0  # [s] at most, for the last words of nodes that are stopped at the same time


class StatusNode(StackNode):
    """Hears `timing`, `stats/*`, `task` and `episode` of its namespace; asked to end, it hears the others out first."""

    settings: StatusSettings

    def __init__(self) -> None:
        super().__init__("status", StatusSettings)
        self._ending: float | None = None
        self._stats = StatsTopics(self, lambda topic: self.loop.subscribe(NodeStats, topic, qos.profile("stats")))

    def configure(self) -> None:
        """ValueError where the summary can't be written."""
        if self.settings.summary:
            check_writable("summary", self.settings.summary)
        self._arguments = split(filter(None, self.settings.arguments))
        self._record = Record(time.monotonic(), _title(self._arguments))
        self._timing_inbox = self.loop.subscribe(NodeTiming, "timing", qos.profile("timing"), qos.overriding())
        self._tasks = self.loop.subscribe(RobotTasks, "task", qos.profile("task"), qos.overriding())
        # The environment begins once it sees this subscription, so it comes last.
        self._episodes = self.loop.subscribe(EpisodeSummary, "episode", qos.profile("episode"), qos.overriding())
        self._shown = time.monotonic()

    def work(self) -> None:
        """Take what came, show it when it is time, end when nobody is left to hear."""
        self.loop.wait(0.1)
        self._take()
        now = time.monotonic()
        self._stats.look_if_due(now)
        if now - self._shown >= PERIODS[self.settings.style]:
            self._shown = now
            self._show(now)
        if self._ending is not None and (now > self._ending or not self._others()):
            while self.loop.wait(0.0):
                self._take()
            super().finish(0)

    def finish(self, exit_code: int = 0) -> None:
        """Asked to end: a refused configuration ends at once, a signal lets the others finish their last words."""
        if exit_code or not self.active:
            super().finish(exit_code)
        elif self._ending is None:
            self._ending = time.monotonic() + _FAREWELL

    def finished(self) -> None:
        """Print the summary and write it where a path was given."""
        if not self.active or self.exit_code:
            return
        summary = self._record.summary(time.monotonic(), self._arguments)
        if self.settings.style == "frames":
            print(frame_line([]), flush=True)
        if summary["ticks"] is not None:  # else there was nothing to see
            print("\n".join(self._record.table(summary)), flush=True)
        if self.settings.summary:
            text = json.dumps(summary, indent=2, allow_nan=False) + "\n"
            try:
                write_atomically(Path(self.settings.summary), text.encode())
            except OSError as error:
                self.get_logger().error(f"can't write the summary {self.settings.summary} ({error.strerror}): make "
                                        "room or choose another path")
                self.exit_code = 1

    def _others(self) -> bool:
        """Whether another node of the stack is still there; this one publishes `timing` as well."""
        return self.count_publishers("timing") > 1

    def _show(self, now: float) -> None:
        if self.settings.style == "frames":
            print(frame_line(self._record.frame(now)), flush=True)
        else:
            print(self._record.line(now), flush=True)

    def _take(self) -> None:
        for timing in self.take(self._timing_inbox, decode_timing, "timings"):
            self._record.add_timing(timing)
        for inbox in self._stats.inboxes.values():
            for stats in self.take(inbox, decode_stats, "stats"):
                self._record.add_stats(stats)
        for episode in self.take(self._episodes, decode_episode, "episodes"):
            self._record.add_episode(episode)
        for tasks in self.take(self._tasks, decode_tasks, "tasks"):
            self._record.add_tasks(tasks)
        if self._record.contested:
            self.contest("environments", "a second environment tells of itself under this one's name: its episodes and "
                         "figures are left out; stop one, or give each its own namespace:=")


def _title(arguments: dict[str, str]) -> str:
    shown = [f"{name}:={arguments[name]}" for name in ("policy", "backend", "mode", "num_envs", "tasks", "namespace")
             if arguments.get(name) and (name != "tasks" or arguments[name] != "none")]
    return "  ".join(["ant_rl", *shown])


def main(args: Sequence[str] | None = None) -> int:
    """Run the node; returns the exit code."""
    return run(StatusNode, args)
