"""What nodes and environment tell of themselves once in a while, for a view."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ant_rl_interfaces.msg import EpisodeSummary, NodeStats, NodeTiming, RobotTasks

from ant_rl_core.telemetry import Episode, Stats, Timing
from ant_rl_ros import qos
from ant_rl_ros.stats_topics import StatsTopics
from ant_rl_ros.telemetry import decode_episode, decode_stats, decode_timing
from viewer_node import series
from viewer_node.codec import decode_task
from viewer_node.mirror import Mirror
from viewer_node.view import View

if TYPE_CHECKING:
    from ant_rl_ros.node import StackNode


class Told:
    """Hears `timing`, `stats/*`, `task` and `episode` from the moment it is made.

    Args:
        node: that listens.
    """

    def __init__(self, node: StackNode) -> None:
        self._node, loop = node, node.loop
        self._shown: tuple[str, tuple[float, ...]] | None = None  # name and gear of the first robot's task
        self._timings = loop.subscribe(NodeTiming, "timing", qos.profile("timing"), qos.overriding())
        self._stats = StatsTopics(node, lambda topic: loop.subscribe(NodeStats, topic, qos.profile("stats")))
        self._tasks = loop.subscribe(RobotTasks, "task", qos.profile("task"), qos.overriding())
        # The environment begins once it sees this subscription, so it comes last.
        self._episodes = loop.subscribe(EpisodeSummary, "episode", qos.profile("episode"), qos.overriding())

    def close(self) -> None:
        """Listen no more."""
        for inbox in (self._timings, self._episodes, self._tasks, *self._stats.inboxes.values()):
            self._node.loop.unsubscribe(inbox)

    def look_if_due(self, now: float) -> None:
        """Find out now and then who tells `stats/*`."""
        self._stats.look_if_due(now)

    def show(self, view: View | None, mirror: Mirror) -> None:
        """Show what came: the first robot's task in the mirror and in the view, figures in the view."""
        for task in self._node.take(self._tasks, decode_task, "tasks"):
            mirror.show_ball(task.ball)
            if task[:2] != self._shown:  # where something moves it is told at each tick
                self._shown = task[:2]
                mirror.show_gear(task.gear)
                if view is not None:
                    view.task(task.name)
        told: list[tuple[deque[Any], Callable[[Any], Timing | Stats | Episode], str]] = [
            (self._timings, decode_timing, "timings"), (self._episodes, decode_episode, "episodes"),
            *((inbox, decode_stats, "stats") for inbox in self._stats.inboxes.values())]
        for inbox, decode, what in told:
            if view is None:
                inbox.clear()
                continue
            for each in self._node.take(inbox, decode, what):
                view.figures(each.stamp, series.named_values(each))
