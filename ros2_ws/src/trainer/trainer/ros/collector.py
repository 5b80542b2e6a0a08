"""Transitions out of ticks that come over a network: gaps and stale versions are left out, robots put side by side."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ant_rl_core.identity.sessions import SessionLock
from ant_rl_core.step import Previous, Transition, unshaped_reward
from ant_rl_core.tick import RowTasks, Tick
from trainer.ros.task_book import TaskBook

# Ticks of one source that may wait for the others before the oldest are given up.
_MAX_WAITING = 2000


class Collector:
    """Joins the ticks of several environments into batches with one row per robot.

    Args:
        sources: name of each environment, in the order of their rows in a batch.

    Attributes:
        dropped_rows: transitions not passed on: another policy version, a gap in the step ids, no partner, a second
            environment, tasks that were told before anybody listened.
        gaps: missed ticks, as far as step ids tell; what was missed when a session ended can't be known.
    """

    def __init__(self, sources: Sequence[str]) -> None:
        self._before: dict[str, Tick | None] = dict.fromkeys(sources)
        self._waiting: dict[str, deque[Transition]] = {source: deque() for source in sources}
        self._sessions = {source: SessionLock() for source in sources}
        self._books = {source: TaskBook() for source in sources}
        self.dropped_rows = 0
        self.gaps = 0

    def admits(self, source: str, tick: Tick) -> bool:
        """Whether a tick is of the environment that is learned from, not of a second one beside it."""
        if self._sessions[source].admit(tick.session):
            return True
        self.dropped_rows += tick.num_envs
        return False

    @property
    def contested(self) -> list[str]:
        """Sources on which a second environment was found."""
        return [source for source, lock in self._sessions.items() if lock.rival is not None]

    def num_envs(self) -> int | None:
        """Rows of a batch, None until every environment was heard of."""
        heard = [tick.num_envs for tick in self._before.values() if tick is not None]
        return sum(heard) if len(heard) == len(self._before) else None

    def tell(self, source: str, tasks: RowTasks) -> None:
        """Take what an environment tells of its robots' tasks."""
        self._books[source].tell(tasks)

    def knows(self, source: str, tick: Tick) -> bool:
        """Whether the tasks up to this tick have come, so that it can be added."""
        return self._books[source].knows(tick)

    def add(self, source: str, tick: Tick, version: int | None) -> None:
        """Take one tick; of a transition only if policy `version` acted in it (None: any version)."""
        before, self._before[source] = self._before[source], tick
        if before is None:
            return
        transition = tick.transition_from(before)
        if transition is None:
            if self._is_repeat(before, tick):
                self._before[source] = before
                return
            lost = 1
            if before.session == tick.session and tick.step_id > before.step_id:
                lost = tick.step_id - before.step_id
                self.gaps += lost - 1
            self.dropped_rows += lost * tick.num_envs
            return
        if version is not None and transition.policy_version != version:
            self.dropped_rows += tick.num_envs
            return
        if tick.tasks_told:
            task = self._books[source].tasks_at(before)
            if task is None:
                self.dropped_rows += tick.num_envs
                return
            transition = replace(transition, task=task)
        waiting = self._waiting[source]
        waiting.append(transition)
        if len(waiting) > _MAX_WAITING:
            waiting.popleft()
            self.dropped_rows += tick.num_envs

    def next_batch(self) -> Transition | None:
        """One transition of every robot, None while a source has none waiting."""
        if not all(self._waiting.values()):
            return None
        parts = [waiting.popleft() for waiting in self._waiting.values()]
        return parts[0] if len(parts) == 1 else _join(parts)

    def drop_waiting(self) -> None:
        """Give up what waits, e.g. because the policy that acted in it was replaced."""
        for waiting in self._waiting.values():
            self.dropped_rows += sum(len(transition.reward) for transition in waiting)
            waiting.clear()

    @staticmethod
    def _is_repeat(before: Tick, tick: Tick) -> bool:
        return (before.session, before.step_id) == (tick.session, tick.step_id)


def _join(parts: Sequence[Transition]) -> Transition:
    extras = {
        name: np.concatenate([part.extras[name] for part in parts])
        for name in parts[0].extras if all(name in part.extras for part in parts)}
    if any("unshaped_reward" in part.extras for part in parts):  # not every environment has to shape its rewards
        extras["unshaped_reward"] = np.concatenate([unshaped_reward(part) for part in parts])
    previous = [part.previous for part in parts if part.previous is not None]
    before = None if len(previous) < len(parts) else Previous(
        *(np.concatenate([getattr(one, name) for one in previous]) for name in ("action", "reward", "done")))
    arrays: dict[str, Any] = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in ("observation", "action", "reward", "terminated", "truncated", "next_observation", "trial_first",
                     "trial_last", "upcoming")}
    tasks = [part.task for part in parts if part.task is not None]
    return Transition(**arrays, extras=extras, policy_version=parts[0].policy_version, previous=before,
                      task=np.concatenate(tasks) if len(tasks) == len(parts) else None)
