"""Sums up each robot's episode: return and its parts, length, distance. Pure numpy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ant_rl_core.spec import ANT
from ant_rl_core.step import TimeStep, unshaped_reward
from ant_rl_core.telemetry import REWARD_PARTS, Episode


class EpisodeLedger:
    """Adds up time steps, whose infos are those of Ant-v5 in a vector environment.

    Args:
        first: the time step of the reset.
        seeds: of the robots' random streams.
        session: of the environment node; 0 without ROS.
    """

    def __init__(self, first: TimeStep, seeds: Sequence[int], session: int = 0) -> None:
        n = len(first.reward)
        self._seeds, self._session = seeds, session
        self.episode_return = np.zeros(n)
        self._parts = np.zeros((len(REWARD_PARTS), n))
        self._length = np.zeros(n, np.int64)
        self._episode_id = first.episode_id
        self._start = np.array(first.info["x_position"])
        self.speed_sum = 0.0  # [m/s] forward speed of row 0, summed since `take_speed`
        self._speed_count = 0

    def add(self, step: TimeStep, policy_version: int = 0, tasks: Sequence[str] = ()) -> list[Episode]:
        """Take a time step that this version of the policy led to; returns the episodes that it ended.

        `tasks` are the names of those in which it was made, where there are any.
        """
        info = step.info
        done = step.done
        self.episode_return += unshaped_reward(step)
        self._length += 1
        for sums, part in zip(self._parts, REWARD_PARTS, strict=True):
            sums += of_transition(info, f"reward_{part}", done)
        self.speed_sum += of_transition(info, "x_velocity", done)[0]
        self._speed_count += 1
        x_end = of_transition(info, "x_position", done)
        return self._finish(step, x_end, policy_version, tasks) if done.any() else []

    def take_speed(self) -> float:
        """Mean forward speed of row 0 since the last call [m/s]; NaN without a step."""
        mean = self.speed_sum / self._speed_count if self._speed_count else float("nan")
        self.speed_sum, self._speed_count = 0.0, 0
        return mean

    def _finish(self, step: TimeStep, x_end: np.ndarray, policy_version: int, tasks: Sequence[str]) -> list[Episode]:
        rows = np.flatnonzero(step.done).tolist()
        finished = [
            Episode(seed=int(self._seeds[row]), row=row, episode_id=int(self._episode_id[row]),
                    session=self._session, episode_return=float(self.episode_return[row]),
                    length=int(self._length[row]), distance=float(x_end[row] - self._start[row]),
                    duration=int(self._length[row]) * ANT.control_period, terminated=bool(step.terminated[row]),
                    truncated=bool(step.truncated[row]), policy_version=policy_version,
                    task=tasks[row] if tasks else "",
                    reward_parts={part: float(sums[row]) for part, sums in zip(REWARD_PARTS, self._parts, strict=True)})
            for row in rows]
        self.episode_return[rows] = 0.0
        self._parts[:, rows] = 0.0
        self._length[rows] = 0
        self._start[rows] = step.info["x_position"][rows]
        self._episode_id = step.episode_id
        return finished


def of_transition(info: Mapping[str, Any], name: str, done: np.ndarray) -> np.ndarray:
    """Values [n] of the transition just made: of finished rows they lie in final_info, `info` has the new episode's.

    Args:
        info: of a step of `VectorAnt`.
        name: e.g. x_position.
        done: bool [n], rows that the step finished.
    """
    if "final_info" not in info:  # no row was finished
        return info[name]
    final = info["final_info"][name]
    return final if done.all() else np.where(done, final, info[name])
