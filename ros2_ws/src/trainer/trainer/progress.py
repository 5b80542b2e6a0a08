"""What long work shows of itself while it runs: a bar on a terminal, elsewhere a line now and then."""

from __future__ import annotations

import sys
import time

from ant_rl_core.terminal import can_redraw
from tqdm import tqdm

# Seconds between lines where there is no terminal to draw a bar on.
_LINE_INTERVAL = 10.0


class Progress:
    """How far it is, the rate and the time left.

    Args:
        total: of the whole work, in `unit`s.
        initial: what was done before this process.
        unit: what is counted, in the singular.
    """

    def __init__(self, total: int, initial: int = 0, unit: str = "step") -> None:
        self._total, self._done, self._unit = total, initial, unit
        self._bar = tqdm(total=total, initial=initial, unit=unit, unit_scale=True, mininterval=1.0,
                         disable=not can_redraw(sys.stderr), file=sys.stderr)
        self._line_at, self._line_done = time.monotonic(), initial

    def show(self, done: int, note: str = "") -> None:
        """Take how much is done so far, and a figure to show beside."""
        self._done = done
        if not self._bar.disable:
            self._bar.set_postfix_str(note, refresh=False)
            self._bar.update(done - self._bar.n)
            return
        now = time.monotonic()
        if now - self._line_at >= _LINE_INTERVAL:
            rate = (done - self._line_done) / (now - self._line_at)
            left = tqdm.format_interval((self._total - done) / rate) if rate else "?"
            self._line_at, self._line_done = now, done
            parts = [f"{done} of {self._total} {self._unit}s", f"{rate:.{0 if rate >= 10 else 2}f} {self._unit}s/s",
                     f"{left} left", note]
            print(", ".join(filter(None, parts)), file=sys.stderr, flush=True)

    def add(self, count: int) -> None:
        """Take what was done since the last call."""
        self.show(self._done + count)

    def leave_out(self, seconds: float) -> None:
        """Seconds that went into something else than the work, which the rate and the time left don't count."""
        self._line_at += seconds
        if not self._bar.disable:
            self._bar.start_t += seconds
            self._bar.last_print_t += seconds

    def write(self, text: str) -> None:
        """Print a line to standard output without spoiling the bar."""
        tqdm.write(text, file=sys.stdout)

    def close(self) -> None:
        """End the bar."""
        self._bar.close()
