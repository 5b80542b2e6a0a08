"""Balls that roll at robots: straight lines at constant speed, without physics of their own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ant_env_node.tasks.moving import seen
from ant_env_node.tasks.task import Task

PAUSE = 10  # [ticks] before a ball, from how far the robot goes in which it is aimed
_GONE = 2.0  # a ball from which the robot has run away to so many times the distance from which it came is gone
_STREAM = 0xBA11


class Balls:
    """At most one ball for each of n robots, which come one after the other.

    A ball comes from any side. It is aimed at where the robot would be if it went on as it did in the pause before: as
    seen from such a robot it comes in a straight line at the speed that was drawn, and passes at a distance of at most
    the task's `ball_spread`. So nobody outruns it who goes straight on, and nobody is hit for sure who knows of it.
    Once it has passed, a pause begins, and then comes the next. Which balls come follows from the task's `ball_seed`
    and their count alone; where they begin, from where the robot is.

    Args:
        num_envs: n.
        dt: [s] per tick.
    """

    def __init__(self, num_envs: int, dt: float) -> None:
        self._dt = dt
        self._count = np.zeros(num_envs, np.int64)  # balls of the task that have come so far
        # Ticks since the ball began, or -PAUSE … -1 until it will.
        self._age = np.full(num_envs, -PAUSE, np.int64)
        self._start, self._velocity = np.zeros((num_envs, 2)), np.zeros((num_envs, 2))
        self._approach = np.zeros((num_envs, 2))  # direction in which it comes, as seen from the robot
        self._mark = np.zeros((num_envs, 2))  # where the robot was when the pause began

    def begin(self, row: int, place: np.ndarray, count: int | None = None) -> None:
        """A pause begins, with the robot at `place` [2] [m]; with a count, so many balls of its task have come."""
        self._age[row], self._mark[row] = -PAUSE, place
        if count is not None:
            self._count[row] = count

    def step(self, tasks: Sequence[Task], rows: Sequence[int], places: np.ndarray) -> np.ndarray:
        """A tick later, with the torsos at `places` [n, 2] [m]; returns which of the rows were hit, bool [n]."""
        hit = np.zeros(len(places), bool)
        for row in rows:
            task, place = tasks[row], places[row]
            self._age[row] += 1
            if self._age[row] == 0:
                self._throw(row, task, place)
            if self._age[row] >= 0:
                offset = self.position(row) - place
                hit[row] = seen.within(offset, task.hit_radius)
                if not hit[row] and (offset @ self._approach[row] > task.hit_radius
                                     or not seen.within(offset, _GONE * task.ball_distance)):
                    self.begin(row, place)
        return hit

    def is_rolling(self, row: int) -> bool:
        """Whether a ball is on its way."""
        return bool(self._age[row] >= 0)

    def velocity(self, row: int) -> np.ndarray:
        """Of a row's ball in the world [2] [m/s]."""
        return self._velocity[row]

    def position(self, row: int) -> np.ndarray:
        """Where a row's ball is in the world [2] [m]."""
        found: np.ndarray = self._start[row] + self._velocity[row] * (self._age[row] * self._dt)
        return found

    def save(self) -> np.ndarray:
        """All of it, float64 [n, 10]."""
        return np.column_stack([self._count, self._age, self._start, self._velocity, self._approach, self._mark])

    def restore(self, saved: np.ndarray) -> None:
        """Go on from what `save` gave."""
        self._count[:], self._age[:] = saved[:, 0], saved[:, 1]
        for array, first in ((self._start, 2), (self._velocity, 4), (self._approach, 6), (self._mark, 8)):
            array[:] = saved[:, first:first + 2]

    def _throw(self, row: int, task: Task, place: np.ndarray) -> None:
        rng = np.random.default_rng([task.ball_seed, self._count[row], _STREAM])
        angle, speed = rng.uniform(-np.pi, np.pi), rng.uniform(*task.ball_speed)
        aside = rng.uniform(-task.ball_spread, task.ball_spread)
        away = np.array([np.cos(angle), np.sin(angle)])
        self._count[row] += 1
        self._approach[row] = -away
        self._start[row] = place + task.ball_distance * away + aside * np.array([-away[1], away[0]])
        self._velocity[row] = (place - self._mark[row]) / (PAUSE * self._dt) - speed * away
