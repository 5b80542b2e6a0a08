"""Tasks beside the ticks to which they belong: the two come on topics of their own, one maybe later than the other."""

from __future__ import annotations

from collections import deque

import numpy as np

from ant_rl_core.tick import RowTasks, Tick


class TaskBook:
    """What one environment told of its robots' tasks.

    An observation says which message was the newest when it was sent. So the tasks in which a tick was answered are
    known once the next tick is there, and the message that this one names.
    """

    def __init__(self) -> None:
        self._told: dict[int, deque[RowTasks]] = {}  # by session

    def tell(self, tasks: RowTasks) -> None:
        """Take what the environment says; in the order in which it says it."""
        self._told.setdefault(tasks.session, deque()).append(tasks)

    def knows(self, tick: Tick) -> bool:
        """Whether all that was told up to this tick has come; always where there are no tasks."""
        if not tick.tasks_told:
            return True
        told = self._told.get(tick.session)
        return told is not None and told[-1].number >= tick.tasks_told

    def tasks_at(self, tick: Tick) -> np.ndarray | None:
        """The tasks in which the tick before the one that `knows` was asked of is answered, float32 [n, k].

        What is older than that is forgotten.

        Returns:
            None where that is not known, for the listening began later.
        """
        told = self._told.get(tick.session)
        if not told or told[0].step_id > tick.step_id:
            return None
        while len(told) > 1 and told[1].step_id <= tick.step_id:
            told.popleft()
        return told[0].vectors
