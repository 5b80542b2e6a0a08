"""Which task each robot has and since which tick, for those who are told."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ant_env_node.tasks.ant import TaskAnt
from ant_env_node.vec_env import VectorAnt
from ant_rl_core.tick import RowTasks, Tick


class TaskRecord:
    """Looks at the robots after each tick.

    Attributes:
        newest: which task each robot is in; None where there are no tasks.
        fresh: it is still to be sent.
        acted_in: names of the tasks in which the newest transition was made; () where there are no tasks.
    """

    def __init__(self) -> None:
        self.newest: RowTasks | None = None
        self.fresh = False
        self.acted_in: tuple[str, ...] = ()

    def look(self, ant: VectorAnt, tick: Tick, given: Sequence[int] = ()) -> Tick:
        """The tick, with what it tells of tasks.

        Args:
            ant: the robots, at that tick.
            tick: the newest one.
            given: rows that were given a task by hand since the last look; all others' are drawn.
        """
        if not isinstance(ant, TaskAnt):
            return tick
        before = self.newest if self.newest is not None and self.newest.session == tick.session else None
        self.acted_in = () if before is None else before.names
        changed = ant.take_changed()
        if before is None or changed.any() or ant.moving:
            self.newest, self.fresh = _standing(ant, tick, before, changed, given), True
        assert self.newest is not None  # as it was told just now, or before
        if given:
            tick = replace(tick, time_step=replace(tick.time_step, task=self.newest.vectors))
        return replace(tick, tasks_told=self.newest.number)


def _standing(ant: TaskAnt, tick: Tick, before: RowTasks | None, changed: np.ndarray,
              given: Sequence[int]) -> RowTasks:
    since, by_hand = np.zeros(ant.num_envs, np.int64), np.zeros(ant.num_envs, bool)
    definitions = [""] * ant.num_envs
    rows = np.arange(ant.num_envs)
    if before is not None:
        since[:], by_hand[:], definitions = before.since, before.given, list(before.definitions)
        rows = rows[changed]
    for row in rows.tolist():
        definitions[row] = json.dumps(ant.tasks[row].as_dict(), ensure_ascii=False)
    since[changed], by_hand[changed] = tick.step_id, False
    by_hand[list(given)] = True
    number = 1 if before is None else before.number + 1
    names = tuple(task.name for task in ant.tasks)
    return RowTasks(tick.session, number, tick.step_id, names, tuple(definitions), since, by_hand, ant.task_vectors)
