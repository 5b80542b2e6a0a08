"""What a training shows of itself while it runs: a bar on a terminal, elsewhere a line now and then."""

from __future__ import annotations

import sys
import time

from tqdm import tqdm

# Seconds between lines where there is no terminal to draw a bar on.
_LINE_INTERVAL = 10.0


class Progress:
    """Return, steps per second and time left.

    Args:
        total: environment steps of the whole run.
        initial: steps that were made before this process.
        quiet: lines also on a terminal.
    """

    def __init__(self, total: int, initial: int, quiet: bool = False) -> None:
        self._total = total
        self._bar = tqdm(total=total, initial=initial, unit="step", unit_scale=True, mininterval=1.0,
                         disable=True if quiet else None, file=sys.stderr)  # None: where there is no terminal
        self._line_at, self._line_steps = time.monotonic(), initial

    def show(self, steps: int, mean_return: float) -> None:
        """Take the steps so far and the mean return of the last episodes."""
        if not self._bar.disable:
            self._bar.set_postfix_str(f"return {mean_return:.0f}", refresh=False)
            self._bar.update(steps - self._bar.n)
            return
        now = time.monotonic()
        if now - self._line_at >= _LINE_INTERVAL:
            rate = (steps - self._line_steps) / (now - self._line_at)
            left = tqdm.format_interval((self._total - steps) / rate) if rate else "?"
            self._line_at, self._line_steps = now, steps
            print(f"{steps} of {self._total} steps, {rate:.0f} steps/s, {left} left, return {mean_return:.0f}",
                  file=sys.stderr, flush=True)

    def leave_out(self, seconds: float) -> None:
        """Seconds that went into something else than training, which the rate and the time left don't count."""
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
