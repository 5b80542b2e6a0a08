"""How a program may write to a stream: drawn in place, or as plain lines."""

from __future__ import annotations

import os
from typing import TextIO


def can_redraw(stream: TextIO) -> bool:
    """Whether this is a terminal that can move its cursor: bars and live views are drawn, else plain lines written."""
    return stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def be_quiet() -> None:
    """From now on `can_redraw` is false, here and in the processes that are started."""
    os.environ["TERM"] = "dumb"
