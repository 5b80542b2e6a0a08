"""Threads that help the calling one with a piece of work."""

from __future__ import annotations

import queue
import threading
import weakref
from collections.abc import Callable
from typing import Any


class Workers:
    """`count` threads that run what `run` is given, beside the caller; they end with `close` or with this object."""

    def __init__(self, count: int) -> None:
        self._jobs: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._threads = [threading.Thread(target=_work, args=(self._jobs,), name=f"ant-physics-{i}", daemon=True)
                         for i in range(count)]
        for thread in self._threads:
            thread.start()
        self.close = weakref.finalize(self, _stop, self._jobs, self._threads)

    def run(self, function: Callable[..., None], *arguments: Any) -> None:
        """Call the function in the calling thread and in every worker, and return once all have returned.

        What any of them raises is raised here, after the others have ended too.
        """
        done: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for _ in self._threads:
            self._jobs.put((function, arguments, done))
        try:
            function(*arguments)
        finally:
            failures = [failure for failure in (done.get() for _ in self._threads) if failure]
        if failures:
            raise failures[0]


def _work(jobs: queue.SimpleQueue[Any]) -> None:
    """Runs jobs until it is handed None; between jobs it holds no reference that would keep an env alive."""
    while (job := jobs.get()) is not None:
        function: Callable[..., None]
        function, arguments, done = job
        failure = None
        try:
            function(*arguments)
        except BaseException as error:  # handed to the thread that called run()
            failure = error
        del job, function, arguments
        done.put(failure)


def _stop(jobs: queue.SimpleQueue[Any], threads: list[threading.Thread]) -> None:
    for _ in threads:
        jobs.put(None)
    for thread in threads:
        thread.join()
