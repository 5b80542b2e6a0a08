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

    The thread shows the learner one tick, lets it learn all that it owes for it, and goes on to the next: what is
    learned depends on the ticks, not on when they come, so the same ticks make the same policy. The learner is the
    thread's until `close`: what else is to be done with it goes through `call`. Reading its `env_steps` and `version`
    is fine at any time.

    Args:
        learner: with `on_policy` False.
    """

    def __init__(self, learner: Learner) -> None:
        self._learner = learner
        self._changed = threading.Condition()
        # Shared, under the lock of `_changed`:
        self._waiting: deque[Transition] = deque()
        self._calls: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self._metrics: list[dict[str, float]] = []
        self._owes = False
        self._error: BaseException | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="learning", daemon=True)
        self._thread.start()

    @property
    def behind(self) -> int:
        """Ticks that wait to be learned from, the one that is being learned from included."""
        with self._changed:
            return len(self._waiting) + self._owes

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

    def metrics(self) -> list[dict[str, float]]:
        """Metrics of the pieces of learning made since the last call; raises what learning has ended by."""
        with self._changed:
            if self._error is not None:
                raise self._error
            taken, self._metrics = self._metrics, []
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
        """Everything that is called; the next tick, if nothing is owed for the last; one update. False once closed."""
        learner = self._learner
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._calls or self._waiting or self._owes)
            if self._closed:
                return False
            calls, self._calls = self._calls, deque()
            batch = self._waiting.popleft() if self._waiting and not self._owes else None
            self._owes |= batch is not None
        for function, future in calls:
            try:
                future.set_result(function())
            except Exception as error:  # the caller's to deal with
                future.set_exception(error)
        if batch is not None:
            learner.observe(batch)
        metrics = learner.update() if learner.ready() else None
        with self._changed:
            if metrics is not None:
                self._metrics.append(metrics)
            self._owes = learner.ready()
        return True
