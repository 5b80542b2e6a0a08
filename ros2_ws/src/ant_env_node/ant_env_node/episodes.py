"""Sums up each robot's episode: return and its parts, length, distance. Pure numpy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ant_rl_core.step import TimeStep

PARTS = ("reward_forward", "reward_survive", "reward_ctrl", "reward_contact")


@dataclass(frozen=True)
class Episode:
    """One finished episode; `parts` are the sums of the reward's parts by name, `distance` is along x [m].

    The return is that of the default reward, also where the environment shapes rewards.
    """

    row: int
    episode_id: int
    length: int
    episode_return: float
    parts: Mapping[str, float]
    distance: float
    terminated: bool
    truncated: bool


class EpisodeLedger:
    """Adds up time steps, whose infos are those of Ant-v5 in a vector environment.

    Args:
        first: the time step of the reset.
    """

    def __init__(self, first: TimeStep) -> None:
        n = len(first.reward)
        self.episode_return = np.zeros(n)
        self._parts = np.zeros((len(PARTS), n))
        self._length = np.zeros(n, np.int64)
        self._episode_id = first.episode_id
        self._start = np.array(first.info["x_position"])
        self.speed_sum = 0.0  # [m/s] forward speed of row 0, summed since `take_speed`
        self._speed_count = 0

    def add(self, step: TimeStep) -> list[Episode]:
        """Take a time step; returns the episodes that it ended."""
        info = step.info
        done = step.done
        self.episode_return += info.get("unshaped_reward", step.reward)
        self._length += 1
        for sums, name in zip(self._parts, PARTS):
            sums += of_transition(info, name, done)
        self.speed_sum += of_transition(info, "x_velocity", done)[0]
        self._speed_count += 1
        return self._finish(step, done, of_transition(info, "x_position", done)) if done.any() else []

    def take_speed(self) -> float:
        """Mean forward speed of row 0 since the last call [m/s]; NaN without a step."""
        mean = self.speed_sum / self._speed_count if self._speed_count else float("nan")
        self.speed_sum, self._speed_count = 0.0, 0
        return mean

    def _finish(self, step: TimeStep, done: np.ndarray, x_end: np.ndarray) -> list[Episode]:
        rows = np.flatnonzero(done)
        finished = [
            Episode(row=int(row), episode_id=int(self._episode_id[row]), length=int(self._length[row]),
                    episode_return=float(self.episode_return[row]),
                    parts={name: float(sums[row]) for name, sums in zip(PARTS, self._parts)},
                    distance=float(x_end[row] - self._start[row]), terminated=bool(step.terminated[row]),
                    truncated=bool(step.truncated[row]))
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
