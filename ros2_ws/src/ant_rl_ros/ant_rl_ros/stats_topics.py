"""The topics `stats/<node>`, which come with their nodes: found by looking for them now and then."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any

from rclpy.node import Node

_LOOK_PERIOD = 1.0  # [s] between two looks for new topics


class StatsTopics:
    """What is heard of the topics `stats/<node>` of a namespace.

    Args:
        node: whose namespace it is.
        subscribe: subscribes to a topic, by its full name; returns the inbox.

    Attributes:
        inboxes: by the full name of each topic that was found.
    """

    def __init__(self, node: Node, subscribe: Callable[[str], deque[Any]]) -> None:
        self._node, self._subscribe = node, subscribe
        self._prefix = node.resolve_topic_name("stats") + "/"
        self._looked = time.monotonic()
        self.inboxes: dict[str, deque[Any]] = {}

    def look_if_due(self, now: float) -> None:
        """Subscribe to those that are new, once per second of the steady clock, `now` [s]."""
        if now - self._looked < _LOOK_PERIOD:
            return
        self._looked = now
        for name, _ in self._node.get_topic_names_and_types():
            if name.startswith(self._prefix) and name not in self.inboxes:
                self.inboxes[name] = self._subscribe(name)
