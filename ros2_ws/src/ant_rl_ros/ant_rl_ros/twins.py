"""Processes on other machines that go by a node's name: told by what they say of themselves, not by the graph.

The graph shows a node that was killed until its lease ends; one that tells its timing is alive. On one machine a claim
(`ant_rl_core.identity.names`) refuses a second node before it can be heard.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from enum import Enum

from ant_rl_interfaces.msg import NodeTiming

from ant_rl_core.surroundings import ros
from ant_rl_core.telemetry import Timing
from ant_rl_ros import qos
from ant_rl_ros.lifecycle import ManagedNode
from ant_rl_ros.telemetry import decode_timing

_START = 10.0  # [s] a node that hears an older one so soon after its own start is the one that goes
_ALIKE = 1.0  # [s] of two that started within so long, one is chosen by their numbers
# At most so long from the start for a node of this name to be found on the network, which took 0.3 to 0.5 s on a quiet
# one [s], and to be heard where one was found: it tells its timing once per second.
_FINDING, _HEARING = 1.0, 2.5
_UNNAMED = "_NODE_NAME_UNKNOWN_"  # what rclpy calls a node whose publishers were found and whose name was not yet
_DEPTH = 100  # messages of all nodes of the namespace between two looks


class Standing(Enum):
    """What there is between two processes of one name."""

    NONE = "the other is this one, or will go by itself"
    REFUSED = "this one came later, and goes"
    CONTEST = "both have been running when they found each other"


def standing(own_run: float, own_age: float, run: float, age: float) -> Standing:
    """How a process stands to another one of its name.

    Args:
        own_run, own_age: random number of this process, and for how long it has run [s].
        run, age: of the other one, as it told them.
    """
    if run == own_run:
        return Standing.NONE
    own_is_later = own_run > run if abs(own_age - age) < _ALIKE else own_age < age
    if min(own_age, age) >= _START:
        return Standing.CONTEST
    return Standing.REFUSED if own_is_later else Standing.NONE


class Twins:
    """Listens for other processes of a node's name.

    Args:
        node: the node.
        run: random number of this process.
    """

    def __init__(self, node: ManagedNode, run: int) -> None:
        self._node, self._run, self._started = node, run, time.monotonic()
        profile = qos.profile("timing")
        profile.depth = _DEPTH
        self._inbox = node.loop.overhear(NodeTiming, "timing", profile)

    def values(self) -> dict[str, float]:
        """What a node tells of itself so that others of its name know it; see docs/messages.md."""
        return {"run": float(self._run), "uptime": time.monotonic() - self._started}

    def look(self) -> tuple[Standing, Timing | None]:
        """What was heard since the last look, and of whom."""
        name, own = self._node.get_fully_qualified_name(), self.values()
        self._node.loop.take_overheard(self._inbox)
        while self._inbox:
            message = self._inbox.popleft()
            if message.node != name:
                continue
            try:
                timing = decode_timing(message)
            except ValueError:
                continue  # whoever sends it is none of the stack's nodes
            if not {"run", "uptime"} <= set(timing.values):
                continue
            found = standing(own["run"], own["uptime"], timing.values["run"], timing.values["uptime"])
            if found is not Standing.NONE:
                return found, timing
        return Standing.NONE, None

    def await_first(self, meanwhile: Callable[[], None]) -> None:
        """Wait a moment for others of this name to be found, and to be heard, as far as there may be any.

        Args:
            meanwhile: called over and over; it looks, and ends the node where that is refused.
        """
        if ros.stays_here(os.environ):
            return
        found = self._started + _FINDING
        while self._node.loop.running and not (seen := self._is_seen()) and time.monotonic() < found:
            self._wait(meanwhile)
        if not seen:
            return
        heard = time.monotonic() + _HEARING
        while self._node.loop.running and self._is_seen() and time.monotonic() < heard:
            self._wait(meanwhile)

    def _wait(self, meanwhile: Callable[[], None]) -> None:
        self._node.loop.wait(0.05)
        self._node.loop.discard()
        meanwhile()

    def _is_seen(self) -> bool:
        """Whether the graph has another node that may be of this name, be it alive or not."""
        node = self._node
        own = (node.get_namespace().strip("/"), node.get_name())
        return sum(found.node_name == _UNNAMED or (found.node_namespace.strip("/"), found.node_name) == own
                   for found in node.get_publishers_info_by_topic("timing")) > 1
