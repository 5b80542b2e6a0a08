"""A recorded run as arrays; times are seconds since the first message of its bag unless said otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from ant_rl_core.telemetry import Episode
from ant_rl_core.tick import RowTasks


@dataclass(frozen=True)
class Ticks:
    """Observations, each once; T of them. Of several robots these are the figures of the first.

    Attributes:
        time: float64 [T], when each came to the recorder [s].
        simulated: float64 [T], simulated time since the first tick of the bag; sessions follow each other [s].
        session, step_id: uint64 [T] each.
        policy_version: uint64 [T], which chose the torque that led to the tick; 0 for none.
        begins: bool [T], the first tick of a session, which no torque led to.
        episode_step: uint32 [T], 0 at the first tick of an episode.
        torque: float32 [T, 8], applied, as share of the actuator limit; NaN where a session begins.
        joint_angle: float32 [T, 8], in the order of JOINT_NAMES [rad].
        reward: float32 [T], default reward of the transition that led to the tick; NaN where a session begins.
        speed: float32 [T], of the torso along x [m/s].
        height: float32 [T], of the torso [m].
    """

    time: np.ndarray
    simulated: np.ndarray
    session: np.ndarray
    step_id: np.ndarray
    policy_version: np.ndarray
    begins: np.ndarray
    episode_step: np.ndarray
    torque: np.ndarray
    joint_angle: np.ndarray
    reward: np.ndarray
    speed: np.ndarray
    height: np.ndarray

    @property
    def missed(self) -> np.ndarray:
        """bool [T], the tick was made without a fresh torque, with zero torque."""
        return (self.policy_version == 0) & (self.torque == 0).all(axis=1)

    @property
    def unrecorded(self) -> int:
        """Number of ticks between these that the recorder did not get."""
        follows = self.session[1:] == self.session[:-1]
        return int((self.step_id[1:] - self.step_id[:-1])[follows].sum()) - int(np.count_nonzero(follows))

    @property
    def running_return(self) -> np.ndarray:
        """float64 [T], return of the running episode so far; of one that began earlier, of what was recorded."""
        total = np.cumsum(np.nan_to_num(self.reward.astype(np.float64)))
        ends = np.flatnonzero(self.episode_step == 0)
        # The reward of the tick at which an episode ends counts for that episode.
        last_end = np.searchsorted(ends, np.arange(len(total))) - 1
        before = np.where(last_end >= 0, total[ends[last_end]] if len(ends) else 0.0, 0.0)
        return total - before


@dataclass(frozen=True)
class Answers:
    """Ticks that were answered, each once; A of them.

    Attributes:
        time: float64 [A], when the observation came to the recorder [s].
        delay: float64 [A], from the stamp of the observation to that of its torques [s].
        inference: float64 [A], time spent in the actor [s].
    """

    time: np.ndarray
    delay: np.ndarray
    inference: np.ndarray


@dataclass(frozen=True)
class Windows:
    """What the environment measured of round trips: float64 [W] each, one value for each second [s]."""

    time: np.ndarray
    p50: np.ndarray
    p99: np.ndarray
    max: np.ndarray


@dataclass(frozen=True)
class Resources:
    """What the monitor measured of one node; float64 [S] each.

    Attributes:
        host: the node's.
        time: [s].
        cpu_percent: of one core.
        rss_mib: resident memory [MiB].
        temperature: hottest thermal zone of the host [°C], NaN where it has none.
    """

    host: str
    time: np.ndarray
    cpu_percent: np.ndarray
    rss_mib: np.ndarray
    temperature: np.ndarray


@dataclass(frozen=True)
class Run:
    """One recorded run.

    Attributes:
        name: of the bag.
        start: when the recording began [ns since 1970].
        seconds: from its first to its last message [s].
        num_envs: number of robots.
        ticks, answers, round_trips: see there; answers and round_trips may be empty.
        resources: by node, with the host where nodes of one name run on several.
        counters: of the environment: name -> (time float64 [C] [s], value float64 [C]), counted since it started.
        episodes: finished ones with when each ended [s].
        published: versions of policies that the trainer sent, with when [s].
        hosts: host by node, as far as nodes told.
        tick_rate: ticks per second, NaN where the environment told nothing.
        tasks: what was told of the robots' tasks, with when [s]; () where there are none.
        latencies_ms: p50, p99 and max of each stage, by its name, as the summary of `./run sim` has them [ms].
    """

    name: str
    start: int
    seconds: float
    num_envs: int
    ticks: Ticks
    answers: Answers
    round_trips: Windows
    resources: Mapping[str, Resources]
    counters: Mapping[str, tuple[np.ndarray, np.ndarray]]
    episodes: tuple[tuple[float, Episode], ...] = ()
    published: tuple[tuple[float, int], ...] = ()
    hosts: Mapping[str, str] = field(default_factory=dict)
    tick_rate: float = np.nan
    latencies_ms: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    tasks: tuple[tuple[float, RowTasks], ...] = ()
