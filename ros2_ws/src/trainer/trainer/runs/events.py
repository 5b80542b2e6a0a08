"""TensorBoard events of a training run, made from its tables."""

from __future__ import annotations

import math
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import tensorflow as tf

_NAME = "events.out.tfevents."

Event, Summary, SessionLog = tf.compat.v1.Event, tf.compat.v1.Summary, tf.compat.v1.SessionLog


class Events:
    """Scalars over environment steps in the one events file of a run's folder.

    Rows are those of curve.csv and evaluation.csv; each number but env_steps becomes the scalar GROUP/NAME. Times are
    those of the training clock, so TensorBoard's relative time leaves out evaluations and the time between a kill and
    a resumption.

    Args:
        folder: where the file goes; files of an earlier process are removed, so give their rows again.
        wall_seconds: training time so far.

    Raises:
        OSError: here and in every method, where the file can't be written.
    """

    def __init__(self, folder: Path, wall_seconds: float) -> None:
        for earlier in folder.glob(f"{_NAME}*"):
            if re.fullmatch(re.escape(_NAME) + r"\d+", earlier.name):  # those of other programs have longer names
                earlier.unlink()
        now = time.time()
        self._began = now - wall_seconds
        with _as_os_error():
            self._writer = tf.io.TFRecordWriter(os.fsencode(folder / f"{_NAME}{int(now)}"))
            self._write(Event(wall_time=self._began, file_version="brain.Event:2"))
            # Makes a TensorBoard that is running forget what it read from an earlier file.
            self._write(Event(wall_time=self._began, session_log=SessionLog(status=SessionLog.START)))

    def add(self, group: str, rows: Iterable[Mapping[str, float | str]]) -> None:
        """Write rows with env_steps, wall_seconds and further columns; what is empty or NaN is left out."""
        for row in rows:
            numbers = {name: float(value) for name, value in row.items() if value != ""}
            steps, seconds = int(numbers.pop("env_steps")), numbers.pop("wall_seconds")
            values = [Summary.Value(tag=f"{group}/{name}", simple_value=value) for name, value in numbers.items()
                      if not math.isnan(value)]
            with _as_os_error():
                self._write(Event(wall_time=self._began + seconds, step=steps, summary=Summary(value=values)))
        with _as_os_error():
            self._writer.flush()

    def close(self) -> None:
        """End the file."""
        with _as_os_error():
            self._writer.close()

    def _write(self, event: Any) -> None:
        self._writer.write(event.SerializeToString())


@contextmanager
def _as_os_error() -> Iterator[None]:
    """TensorFlow has errors of its own for what a file system refuses."""
    try:
        yield
    except tf.errors.OpError as error:
        raise OSError(error.message) from error
