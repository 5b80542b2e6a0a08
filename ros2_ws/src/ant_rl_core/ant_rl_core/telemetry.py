"""What the nodes of the stack tell of themselves and of episodes, as plain data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

NAN = math.nan
# Of the return of an episode of Ant-v5, which names them reward_forward and so on.
REWARD_PARTS = ("forward", "survive", "ctrl", "contact")
_NO_TIMES = (NAN, NAN, NAN)


@dataclass(frozen=True)
class Timing:
    """What a node says of itself once per second: one NodeTiming message.

    Attributes:
        node: fully qualified name.
        host, pid: where it runs.
        state: one word: running, waiting, paused, inactive.
        detail: one sentence: what it waits for, or empty.
        loop_rate: ticks per second in the window [1/s], NaN without a tick.
        stages: (p50, p99, max) of each stage of its loop in the window [s].
        counters: events since start.
        values: further live figures; unit by name.
        stamp: end of the window [s], NaN where it is not known.
    """

    node: str
    host: str = ""
    pid: int = 0
    state: str = ""
    detail: str = ""
    loop_rate: float = NAN
    stages: Mapping[str, tuple[float, float, float]] = field(default_factory=dict)
    counters: Mapping[str, int] = field(default_factory=dict)
    values: Mapping[str, float] = field(default_factory=dict)
    stamp: float = NAN

    @property
    def round_trip(self) -> tuple[float, float, float]:
        """(p50, p99, max) from the observation sent to the torque received [s]; NaN where it is not measured."""
        return self.stages.get("round_trip", _NO_TIMES)


@dataclass(frozen=True)
class Stats:
    """What a monitor knows of a node's process and of its host: one NodeStats message.

    Attributes:
        node: fully qualified name.
        host, pid: where it runs.
        alive: False once the process is gone.
        cpu_percent: of one core since the last look [%], NaN at the first.
        rss_mib, uss_mib: resident and unique memory [MiB], NaN where it can't be read.
        threads: how many the process has.
        temperature: hottest thermal zone of the host [degC], NaN where there is none.
        loop_rate: as in Timing.
        stages_ms: (p50, p99) of each stage of its loop [ms].
        round_trip_ms: (p50, p99) from the observation sent to the torque received [ms], NaN where it is not measured.
        deadline_misses: control ticks without a fresh torque, since start.
        dropped: messages that a recorder missed, since start.
        queued: messages of one topic that waited for it at most in the last second, NaN elsewhere.
        cpu_frequency: of the host's fastest core [MHz], NaN where the host does not tell.
        cpu_frequency_cap: how far the host's kernel holds frequencies below the maximum [%], NaN likewise.
        throttling, throttling_since_boot: what a Raspberry Pi's firmware says, as in NodeStats, NaN elsewhere.
        stamp: when it was sampled [s], NaN where it is not known.
    """

    node: str
    host: str = ""
    pid: int = 0
    alive: bool = True
    cpu_percent: float = NAN
    rss_mib: float = NAN
    uss_mib: float = NAN
    threads: int = 0
    temperature: float = NAN
    loop_rate: float = NAN
    stages_ms: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    round_trip_ms: tuple[float, float] = (NAN, NAN)
    deadline_misses: int = 0
    dropped: int = 0
    queued: float = NAN
    cpu_frequency: float = NAN
    cpu_frequency_cap: float = NAN
    throttling: float = NAN
    throttling_since_boot: float = NAN
    stamp: float = NAN


@dataclass(frozen=True)
class Episode:
    """One finished episode of one robot: one EpisodeSummary message.

    Attributes:
        seed: of the robot's random stream; its first episode is that seed's reset.
        row: which robot.
        episode_id: unique within its session.
        session: as in Observation; 0 without ROS.
        episode_return: undiscounted sum of the default rewards, also where the environment shapes them.
        length: number of control steps.
        distance: traveled along x, from reset to the end [m].
        duration: simulated time [s].
        terminated: ended by the task (a fall).
        truncated: cut by the time limit.
        policy_version: which chose the last action.
        reward_parts: the return by the names of REWARD_PARTS.
        stamp: when it ended [s], NaN where it is not known.
        task: in which it ended, by name; empty where there are no tasks.
    """

    seed: int
    row: int
    episode_id: int
    session: int
    episode_return: float
    length: int
    distance: float
    duration: float
    terminated: bool
    truncated: bool = False
    policy_version: int = 0
    reward_parts: Mapping[str, float] = field(default_factory=dict)
    stamp: float = NAN
    task: str = ""


def short_name(node: str) -> str:
    """The last part of a node's fully qualified name: env of /robot/env."""
    return node.rpartition("/")[2]
