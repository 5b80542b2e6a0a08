"""Who makes a learner learn, and in which order: a thread beside collection, or whoever brings the ticks.

Both show the learner one tick, let it learn all that it owes for it, and go on to the next: what is learned depends on
the ticks, not on when they come, so the same ticks make the same policy.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Protocol

from ant_rl_core.step import Transition

# Ticks that may wait to be learned from before the environments are held.
MAX_BEHIND = 50


class Learning(Protocol):
    """The part of a learner that learns; see `contracts.Learner`."""

    def observe(self, batch: Transition) -> None:
        """Take one transition per row."""

    def ready(self) -> bool:
        """Whether an update is owed."""

    def update(self) -> dict[str, float]:
        """Do one bounded piece of learning."""


class InlineLearning:
    """Learns at once, before `take` returns.

    Args:
        learner: of any kind.
        before: called before each update.
        after: called after each update.
    """

    def __init__(self, learner: Learning, before: Callable[[], None], after: Callable[[], None]) -> None:
        self._learner, self._before, self._after = learner, before, after
        self._metrics: list[dict[str, float]] = []

    @property
    def behind(self) -> int:
        """1 while an update is owed, as within the calls that come with one."""
        return int(self._learner.ready())

    def take(self, batch: Transition) -> None:
        """One transition of every robot; consecutive calls are consecutive ticks."""
        self._learner.observe(batch)
        self.learn()

    def learn(self) -> None:
        """Make the updates that are owed; a learner that was restored may owe some for the tick before."""
        while self._learner.ready():
            self._before()
            self._metrics.append(self._learner.update())
            self._after()

    def call(self, function: Callable[[], Any]) -> Future[Any]:
        """As `BackgroundLearning.call`."""
        future: Future[Any] = Future()
        future.set_result(function())
        return future

    def metrics(self) -> list[dict[str, float]]:
        """Metrics of the pieces of learning made since the last call."""
        taken, self._metrics = self._metrics, []
        return taken

    def close(self) -> None:
        """Nothing to end."""


class BackgroundLearning:
    """Lets a learner that is not on-policy learn while whoever owns this collects.

    The learner is the thread's until `close`: what else is to be done with it goes through `call`. Reading its
    `env_steps` and `version` is fine at any time.

    Args:
        learner: with `on_policy` False.
    """

    def __init__(self, learner: Learning) -> None:
        self._learner = learner
        self._changed = threading.Condition()
        # Shared, under the lock of `_changed`:
        self._waiting: deque[Transition] = deque()
        self._calls: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self._metrics: list[dict[str, float]] = []
        self._owes = learner.ready()  # one that was restored may, for the tick before
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
