"""The one table of how topics travel."""

from __future__ import annotations

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions


def _qos(depth: int, reliable: bool = True, latched: bool = False) -> QoSProfile:
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST, depth=depth,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE)


_LOCKSTEP = {"observation": (5, True, False), "joint_torques": (5, True, False)}
_REALTIME = {"observation": (1, False, False), "joint_torques": (1, False, False)}
# topic: depth, reliable, latched (a subscriber that joins late gets the last message).
_ALWAYS = {
    "policy": (1, True, True),
    "session": (1, True, True),
    "task": (10, True, True),  # one after each tick, at worst
    "episode": (5000, True, False),  # all robots of a large batch may end at the same tick
    "training": (10, True, False),
    "timing": (10, True, False),
    "stats": (10, True, False),
    "diagnostics": (10, True, False),
    "joint_states": (10, True, False),
    "imu": (10, True, False),
    "odom": (10, True, False),
    "clock": (10, True, False),
    "image": (1, True, False),
}

TOPICS = (*_LOCKSTEP, *_ALWAYS)


def profile(topic: str, mode: str = "lockstep") -> QoSProfile:
    """QoS of a topic of the stack, by its name, with or without a namespace (`stats` stands for `stats/<node>`).

    Raises:
        KeyError: for a topic that is not in the table.
    """
    table = {**_ALWAYS, **(_REALTIME if mode == "realtime" else _LOCKSTEP)}
    *parents, name = topic.split("/")
    return _qos(*table["stats" if parents[-1:] == ["stats"] else name])


def asking(topic: str, mode: str = "lockstep") -> QoSProfile:
    """QoS with which environment and policy listen to each other: without acknowledgements.

    The environment itself asks again for what it is not answered, sooner than DDS would (0.2 s against a heartbeat
    every 3 s), and a round trip without acknowledgements is a fifth faster. Publishers stay reliable, so that
    learners and recorders miss nothing.
    """
    found = profile(topic, mode)
    found.reliability = ReliabilityPolicy.BEST_EFFORT
    return found


def overriding() -> QoSOverridingOptions:
    """Lets parameters `qos_overrides.<topic>.<publisher|subscription>.<policy>` change history, depth, reliability."""
    return QoSOverridingOptions.with_default_policies()
