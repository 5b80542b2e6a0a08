"""Learning beside collection: a thread that learns from ticks as they come."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from ant_rl_core.contracts import Learner
from ant_rl_core.step import Transition


class BackgroundLearning:
    """Lets a learner that is not on-policy learn while whoever owns this collects.

    The thread shows the learner all ticks that wait, makes one piece of learning if some is owed, and begins again. The
    learner is the thread's until `close`: what else is to be done with it goes through `call`. Reading its `env_steps`
    and `version` is fine at any time.

    Args:
        learner: with `on_policy` False.
    """

    def __init__(self, learner: Learner) -> None:
        self._learner = learner
        self._changed = threading.Condition()
        # Shared, under the lock of `_changed`:
        self._waiting: deque[Transition] = deque()
        self._calls: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self._figures: list[dict[str, float]] = []
        self._owed = 0
        self._error: BaseException | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="learning", daemon=True)
        self._thread.start()

    @property
    def behind(self) -> int:
        """Ticks that were taken since all was learned that was owed, less the pieces of learning made since."""
        with self._changed:
            return len(self._waiting) + self._owed

    def take(self, batch: Transition) -> None:
        """One transition of every robot; consecutive calls are consecutive ticks."""
        with self._changed:
            self._waiting.append(batch)
            self._changed.notify()

    def call(self, function: Callable[[], Any]) -> Future[Any]:
        """Run `function` between two pieces of learning, before anything that waits; the future has what it returns.

        Once learning has ended by an exception, the future has that exception.
        """
        future: Future[Any] = Future()
        with self._changed:
            if self._error is not None:
                future.set_exception(self._error)
            else:
                self._calls.append((function, future))
                self._changed.notify()
        return future

    def figures(self) -> list[dict[str, float]]:
        """Figures of the pieces of learning made since the last call; raises what learning has ended by."""
        with self._changed:
            if self._error is not None:
                raise self._error
            taken, self._figures = self._figures, []
        return taken

    def close(self) -> None:
        """End the thread after what it is doing; what still waits is not learned from."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        try:
            while self._piece():
                pass
        except BaseException as error:
            with self._changed:
                self._error = error
                for _, future in self._calls:
                    future.set_exception(error)

    def _piece(self) -> bool:
        """Everything that is called, everything that waits, one update; False once closed."""
        learner = self._learner
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._calls or self._waiting or self._owed)
            if self._closed:
                return False
            calls, self._calls = self._calls, deque()
            batches, self._waiting = self._waiting, deque()
            self._owed += len(batches)
        for function, future in calls:
            try:
                future.set_result(function())
            except Exception as error:  # the caller's to deal with
                future.set_exception(error)
        for batch in batches:
            learner.observe(batch)
        figures = learner.update() if learner.ready() else None
        with self._changed:
            if figures is not None:
                self._figures.append(figures)
            self._owed = max(1, self._owed - 1) if learner.ready() else 0
        return True
