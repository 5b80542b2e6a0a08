"""A bag as the arrays of a run."""

from __future__ import annotations

from typing import Any

import numpy as np

from ant_rl.status import Record
from ant_rl_core.spec import ANT
from ant_rl_core.step import unshaped_reward
from ant_rl_core.telemetry import Episode, Stats, Timing, short_name
from ant_rl_core.tick import RowTasks
from ant_rl_ros.messages import decode_tasks
from ant_rl_ros.telemetry import decode_episode, decode_stats, decode_timing
from ant_rl_tools.recorded import Recording
from ant_rl_tools.report.run_data import Answers, Resources, Run, Ticks, Windows
from recorder_node.storage import BagError
from trainer.runs.progress import track

_HEIGHT, _JOINTS, _SPEED = 0, slice(5, 13), 13  # in the observation, see docs/messages.md
_SIMULATED = 10**18  # [ns] stamps below this, of 2001, are of simulated time
_CLOCK_SET = 0.5  # [s] clocks don't drift so far within a recording, they are set
_OTHERS = ("joint_torques", "timing", "episode", "policy", "task")


def read(recording: Recording, name: str) -> Run:
    """Read a recording, and show how far it is.

    Args:
        recording: open.
        name: of the run.

    Raises:
        BagError: the recording is damaged or has no observation.
    """
    ticks, stamps, num_envs = _read_ticks(recording)
    start, end = recording.span
    heard, topics = _Heard(start), _topics(recording)
    total = sum(recording.topics[topic] for topic in topics)
    for topic, time_ns, stamp_ns, message in track(recording.stamped(*topics), total, "message"):
        try:
            heard.take(topic, time_ns, stamp_ns, message)
        except ValueError as error:
            raise BagError(f"the bag {recording.path} is damaged: {error}") from error
    summary = heard.record.summary(0.0, {})
    return Run(
        name, start, 1e-9 * (end - start), num_envs, ticks,
        _answers(ticks, stamps, heard.answers), heard.round_trips(), heard.resources(), heard.counters(),
        tuple(heard.episodes), tuple(heard.published), heard.hosts,
        summary["rates"]["ticks_per_second"] or np.nan, summary["latencies_ms"], tuple(heard.tasks))


def _topics(recording: Recording) -> list[str]:
    return [topic for topic in recording.topics if topic in _OTHERS or topic.startswith("stats/")]


def _read_ticks(recording: Recording) -> tuple[Ticks, np.ndarray, int]:
    """The ticks, their stamps (int64 [T], ns since 1970), and the largest number of robots."""
    numbers: list[tuple[Any, ...]] = []
    torques: list[np.ndarray] = []
    angles: list[np.ndarray] = []
    stamps: list[int] = []
    start, _ = recording.span
    nothing, num_envs = np.full(ANT.action_size, np.nan, np.float32), 1
    for time_ns, stamp_ns, tick in track(recording.stamped_ticks(), recording.topics["observation"], "tick"):
        step, action = tick.time_step, tick.action
        begins = action is None
        reward = unshaped_reward(step)
        observation = step.observation[0]
        numbers.append((time_ns - start, tick.session, tick.step_id, tick.policy_version, begins,
                        step.step[0], np.nan if begins else reward[0], observation[_SPEED], observation[_HEIGHT]))
        torques.append(nothing if action is None else action[0])
        angles.append(observation[_JOINTS])
        stamps.append(stamp_ns)
        num_envs = max(num_envs, tick.num_envs)
    if not numbers:
        raise BagError(f"the bag {recording.path} must hold at least one observation, found none")
    kinds = (np.float64, np.uint64, np.uint64, np.uint64, np.bool_, np.uint32, np.float32, np.float32, np.float32)
    columns: list[np.ndarray] = [np.array(column, kind)
                                 for column, kind in zip(zip(*numbers, strict=True), kinds, strict=True)]
    time, session, step_id, version, first, episode_step, rewards, speed, height = columns
    ticks = Ticks(1e-9 * time, _simulated(session, step_id), session, step_id, version, first, episode_step,
                  np.array(torques, np.float32), np.array(angles, np.float32), rewards, speed, height)
    return ticks, np.array(stamps, np.int64), num_envs


def _simulated(session: np.ndarray, step_id: np.ndarray) -> np.ndarray:
    """Simulated time of each tick since the first one [s]; a session begins a tick after the last of the one before."""
    steps = np.diff(step_id.astype(np.int64), prepend=0)
    steps[np.flatnonzero(session[1:] != session[:-1]) + 1] = 1
    steps[0] = 0
    return np.cumsum(steps) * ANT.control_period


def _answers(ticks: Ticks, stamps: np.ndarray, found: dict[tuple[int, int], tuple[float, int, float]]) -> Answers:
    """Where stamps tell how long answers took: not those of simulated time, nor two between which a clock was set."""
    rows = [(i, *found[key]) for i, key in enumerate(zip(ticks.session.tolist(), ticks.step_id.tolist(), strict=True))
            if key in found and stamps[i] > _SIMULATED]
    columns = zip(*rows, strict=True) if rows else [np.empty(0, int)] * 4
    index, came, answered, inference = map(np.array, columns)
    delay = 1e-9 * (answered - stamps[index])
    # What stamps and the recorder's own clock differ by: what the clocks of two hosts differ by, and always the same.
    difference = delay - (came - ticks.time[index])
    told = np.abs(difference - np.median(difference)) < _CLOCK_SET if rows else np.zeros(0, bool)
    return Answers(ticks.time[index][told], delay[told], inference.astype(np.float64)[told])


class _Heard:
    """What other topics than `observation` tell."""

    def __init__(self, start: int) -> None:
        self._start = start
        self.record = Record(0.0)
        # (session, step_id) -> when the torques came, their stamp, inference time
        self.answers: dict[tuple[int, int], tuple[float, int, float]] = {}
        self.episodes: list[tuple[float, Episode]] = []
        self.published: list[tuple[float, int]] = []
        self.tasks: list[tuple[float, RowTasks]] = []
        self.hosts: dict[str, str] = {}
        self._env: list[tuple[float, Timing]] = []
        self._stats: dict[tuple[str, str], list[tuple[float, Stats]]] = {}

    def take(self, topic: str, time_ns: int, stamp_ns: int, message: Any) -> None:
        """Take one message that came at `time_ns`."""
        time = 1e-9 * (time_ns - self._start)
        if topic == "joint_torques":  # one that is sent again is the same
            self.answers.setdefault((message.session, message.step_id), (time, stamp_ns, message.inference_time))
        elif topic == "timing":
            timing = decode_timing(message)
            self.record.add_timing(timing)
            self.hosts[short_name(timing.node)] = timing.host
            if short_name(timing.node) == "env":
                self._env.append((time, timing))
        elif topic == "episode":
            self.episodes.append((time, decode_episode(message)))
        elif topic == "policy":
            self.published.append((time, message.version))
        elif topic == "task":
            self.tasks.append((time, decode_tasks(message)))
        else:
            stats = decode_stats(message)
            if stats.alive:
                self._stats.setdefault((short_name(stats.node), stats.host), []).append((time, stats))

    def round_trips(self) -> Windows:
        """Of the environment."""
        rows = [(time, *timing.round_trip) for time, timing in self._env]
        return Windows(*np.array(rows, np.float64).reshape(-1, 4).T)

    def counters(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Of the environment; one that was not told yet is 0."""
        names = dict.fromkeys(name for _, timing in self._env for name in timing.counters)
        times = np.array([time for time, _ in self._env])
        return {name: (times, np.array([timing.counters.get(name, 0) for _, timing in self._env], np.float64))
                for name in names}

    def resources(self) -> dict[str, Resources]:
        """Of every node."""
        names = [node for node, _ in self._stats]
        result = {}
        for (node, host), rows in self._stats.items():
            table = [(time, stats.cpu_percent, stats.rss_mib, stats.temperature) for time, stats in rows]
            name = node if names.count(node) == 1 else f"{node} ({host})"
            result[name] = Resources(host, *np.array(table, np.float64).T)
        return result
