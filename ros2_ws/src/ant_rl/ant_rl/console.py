"""Log lines of many processes and one live block on the same terminal."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from typing import TextIO

FRAME_MARK = "\x1e"  # ASCII record separator: starts a line that holds a frame (a JSON array of lines), not text


def frame_line(lines: Sequence[str]) -> str:
    """One line of text that carries a whole frame from the status node to the console."""
    return FRAME_MARK + json.dumps(list(lines))


class Console:
    """Writes log lines above a live block that is redrawn in place.

    Args:
        stream: where to write. The block is shown only where this is a terminal that can move the cursor.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.live = stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self._block: list[str] = []

    def write(self, prefix: str, line: str) -> None:
        """Show one line of a process: a log line, or a frame, which replaces the block."""
        if line.startswith(FRAME_MARK):
            self._redraw([], json.loads(line[1:]))
        else:
            self._redraw([f"[{prefix}] {line}" if prefix else line], self._block)

    def release(self) -> None:
        """Leave the block as it is, as ordinary lines: what follows is written below."""
        self._block = []

    def _redraw(self, lines: list[str], block: list[str]) -> None:
        erase = ""
        if self._block:
            erase = f"\x1b[{len(self._block)}F\x1b[J"
        if block:
            # A wrapped or scrolled line would break the count of lines to erase.
            size = shutil.get_terminal_size()
            block = [line[:size.columns - 1] for line in block[:size.lines - 1]]
        self._block = block
        self._stream.write(erase + "".join(line + "\n" for line in [*lines, *block]))
        self._stream.flush()
