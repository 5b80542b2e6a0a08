"""The table on the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

# How the ends of a figure's name read after its number; other figures are counts or shares.
UNITS = {"_gflop_per_s": " GFLOP/s", "_per_s": "/s", "_min": " min", "_us": " us", "_mb": " MB",
         "_percent": " %", "_s": " s"}
_HEADINGS = ("what", "figures", "ratio", "target", "met")


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows of the summary as text in columns; below them, why rows were not measured."""
    cells = [_HEADINGS, *(
        (row["what"], ", ".join(figure(*item) for item in row["figures"].items()) or "not measured",
         "–" if row["ratio"] is None else f"{row['ratio']:.2f}", row["goal"],
         {True: "yes", False: "NO", None: "–"}[row["met"]]) for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(_HEADINGS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    reasons = [f"{row['what']}: {row['reason']}" for row in rows if "reason" in row]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:], *reasons])


def figure(name: str, value: float) -> str:
    """A figure with its unit in a few words: ("sync_per_s", 1234.5) becomes "sync 1,234/s"."""
    number = f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    for end, unit in UNITS.items():
        if name.endswith(end):
            return f"{name.removesuffix(end).replace('_', ' ')} {number}{unit}"
    return f"{name.replace('_', ' ')} {number}"
