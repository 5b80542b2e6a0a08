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

_FIRST = "env_steps"


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


class TableError(ValueError):
    """A table that can't be gone on with; the text says in which line, what was expected and what to do."""


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
        """Remove rows of more steps than these, and what a kill left of a row; TableError as `check`."""
        write_atomically(self.path, self._up_to(env_steps))
        self._columns = None

    def check(self, env_steps: int) -> None:
        """TableError where a line up to these steps is none of a table."""
        self._up_to(env_steps)

    def sync(self) -> None:
        """Flush to the disk what was added."""
        if self.path.exists():
            with open(self.path, "a") as file:
                os.fsync(file.fileno())

    def read(self) -> tuple[list[str], list[dict[str, str]]]:
        """Columns and rows, as text; what a kill left of a row is left out. TableError as `check`."""
        columns, rows, _ = self._parsed()
        return columns, [dict(zip(columns, row, strict=True)) for _, row in rows]

    def _up_to(self, env_steps: int) -> bytes:
        """The file without rows of more steps than these."""
        columns, rows, rest = self._parsed()
        lines = [_line(columns)] if columns else []
        lines += [line for line, row in rows if int(row[0]) <= env_steps]
        row = _row(columns, rest)
        if row is not None and int(row[0]) <= env_steps:  # whole but for its end, which an editor took
            lines.append(_line(row))
        return b"".join(lines)

    def _parsed(self) -> tuple[list[str], list[tuple[bytes, list[str]]], bytes]:
        """Columns, each row with its line, and what follows the last end of a line."""
        *lines, rest = self.path.read_bytes().split(b"\n") if self.path.exists() else [b""]
        if not lines:
            return [], [], rest
        columns = _fields(lines[0])
        if columns is None or columns[0] != _FIRST or len(set(columns)) < len(columns) or not all(columns):
            raise TableError(f"{self.path}, line 1: expected names of columns, {_FIRST} first, found "
                             f"{_shown(lines[0])}: mend it, or move the file away and a new one begins")
        rows = []
        for number, line in enumerate(lines[1:], 2):
            row = _row(columns, line)
            if row is None:
                raise TableError(f"{self.path}, line {number}: expected {len(columns)} numbers, of "
                                 f"{', '.join(columns[:3])}{', …' if len(columns) > 3 else ''}, found {_shown(line)}: "
                                 "mend the line or remove it, or move the file away and a new one begins")
            rows.append((line + b"\n", row))
        return columns, rows, rest


def _fields(line: bytes) -> list[str] | None:
    """The fields of a line; None where it is no text."""
    try:
        return line.removesuffix(b"\r").decode().split(",")
    except UnicodeDecodeError:
        return None


def _row(columns: list[str], line: bytes) -> list[str] | None:
    """The row in a line; None where there is none that is whole."""
    row = _fields(line)
    whole = row is not None and len(row) == len(columns) and row[0].isdigit() and all(map(_is_number, row))
    return row if whole else None


def _line(fields: list[str]) -> bytes:
    return ",".join(fields).encode() + b"\r\n"


def _is_number(field: str) -> bool:
    try:
        return field == "" or float(field) is not None
    except ValueError:
        return False


def _shown(line: bytes) -> str:
    return repr(line[:40].decode(errors="replace").strip()) + "…" * (len(line) > 40) if line.strip() else "none"


def _text(columns: list[str], rows: list[Mapping[str, Any]], header: bool) -> str:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns)
    if header:
        writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()
