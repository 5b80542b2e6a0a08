"""Metrics of a training run over its environment steps, as CSV that a kill at any moment does not spoil."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ant_rl_core.files import write_atomically


class Means:
    """Means of named metrics over updates.

    An update may lack a metric or give NaN for it, such as a loss that only every second update computes; the mean is
    over the others.
    """

    def __init__(self) -> None:
        self._sums: dict[str, tuple[float, int]] = {}

    def add(self, metrics: Mapping[str, float]) -> None:
        """Take the metrics of one update."""
        for name, value in metrics.items():
            total, count = self._sums.get(name, (0.0, 0))
            self._sums[name] = (total, count) if math.isnan(value) else (total + value, count + 1)

    def take(self) -> dict[str, float]:
        """The means since the last call."""
        means = {name: total / count if count else math.nan for name, (total, count) in self._sums.items()}
        self._sums = {}
        return means

    def save(self) -> dict[str, np.ndarray]:
        """What was added since `take`, for a checkpoint."""
        totals, counts = zip(*self._sums.values(), strict=True) if self._sums else ((), ())
        return {"names": np.array(list(self._sums), str), "totals": np.array(totals, np.float64),
                "counts": np.array(counts, np.int64)}

    def restore(self, saved: Mapping[str, np.ndarray]) -> None:
        """Go on from what `save` gave."""
        self._sums = {name: (total, count) for name, total, count in zip(
            saved["names"].tolist(), saved["totals"].tolist(), saved["counts"].tolist(), strict=True)}


class Table:
    """Rows in a CSV file, by their first column, env_steps.

    A column that a later row brings is empty in the rows before: the file then is written anew, so that it stays
    rectangular.

    Args:
        path: the file; its folder must exist when the first row is added.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._columns: list[str] | None = None

    def clear(self) -> None:
        """Remove the file of an earlier run."""
        self.path.unlink(missing_ok=True)
        self._columns = None

    def add(self, row: Mapping[str, Any]) -> None:
        """Write one row behind the others."""
        if self._columns is None:
            self._columns, _ = self.read()
        added = [name for name in row if name not in self._columns]
        if added:
            columns, rows = self.read()
            self._columns = [*columns, *added]
            write_atomically(self.path, _text(self._columns, [*rows, row], header=True).encode())
        else:
            with open(self.path, "a", newline="") as file:
                file.write(_text(self._columns, [row], header=False))

    def drop_after(self, env_steps: int) -> None:
        """Remove rows of more steps than these, and what a kill left of a row."""
        lines = self.path.read_bytes().splitlines(keepends=True) if self.path.exists() else []
        whole = [line for line in lines if line.endswith(b"\n")]
        kept = [line for line in whole[1:] if int(line.split(b",")[0]) <= env_steps]
        write_atomically(self.path, b"".join([*whole[:1], *kept]))
        self._columns = None

    def sync(self) -> None:
        """Flush to the disk what was added."""
        if self.path.exists():
            with open(self.path, "a") as file:
                os.fsync(file.fileno())

    def read(self) -> tuple[list[str], list[dict[str, str]]]:
        """Columns and rows, as text."""
        if not self.path.exists():
            return [], []
        with open(self.path, newline="") as file:
            reader = csv.DictReader(file)
            return list(reader.fieldnames or ()), list(reader)


def _text(columns: list[str], rows: list[Mapping[str, Any]], header: bool) -> str:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns)
    if header:
        writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()
