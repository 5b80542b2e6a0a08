"""Waiting for those who want to hear everything from the first message on, such as a recorder."""

from __future__ import annotations

import math
import time
from typing import Any

from rclpy.node import Node
from rclpy.publisher import Publisher


class Audience:
    """The subscribers that a publisher waits for before it says its first word.

    Once they were there, or were waited for in vain, they may come and go as they like.

    Args:
        node: whose logger tells if they were waited for in vain.
        publisher: whose subscribers are counted.
        wanted: how many are to be there; 0 waits for nobody.
        patience_s: how long they are waited for at most, from the first question on [s].
    """

    def __init__(self, node: Node, publisher: Publisher[Any], wanted: int, patience_s: float = math.inf) -> None:
        self._node, self._publisher, self._wanted, self._patience = node, publisher, wanted, patience_s
        self._end: float | None = None
        self._over = False

    def awaited(self) -> str:
        """Who is still waited for, as a sentence; "" once nobody is."""
        if self._over:
            return ""
        now = time.monotonic()
        if self._end is None:
            self._end = now + self._patience
        there = self._publisher.get_subscription_count()
        whom = f"{self._wanted} listener(s) of {self._publisher.topic_name}"
        if there < self._wanted and now < self._end:
            return f"waits for {whom}"
        self._over = True
        if there < self._wanted:
            self._node.get_logger().warning(f"waited {self._patience:g} s for {whom} and found {there}: goes on; a "
                                            "recording of this run may lack its beginning")
        return ""
