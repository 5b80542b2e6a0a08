"""What long work shows of itself: a bar on a terminal, elsewhere a line now and then, both with the time left."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from tqdm import tqdm

# Seconds between lines where there is no terminal to draw a bar on.
_LINE_INTERVAL = 10.0
# As tqdm takes it; None: lines where there is no terminal.
_lines_only: bool | None = None
_Item = TypeVar("_Item")


def show_lines_only() -> None:
    """Let everything that begins after this show lines, on a terminal too."""
    global _lines_only
    _lines_only = True


def lines_only() -> bool:
    """Whether lines were asked for, whatever there is to draw on."""
    return _lines_only is True


def track(items: Iterable[_Item], total: int, unit: str) -> Iterator[_Item]:
    """The items, with progress shown while they are taken; `unit` is what one is called."""
    bar = tqdm(total=total, unit=unit, unit_scale=True, disable=_lines_only, leave=False, file=sys.stderr)
    begin = line_at = time.monotonic()
    with bar:
        for done, item in enumerate(items, 1):
            yield item
            bar.update()
            if bar.disable and (now := time.monotonic()) - line_at >= _LINE_INTERVAL:
                line_at = now
                left = tqdm.format_interval(max(0, total - done) * (now - begin) / done)
                print(f"{done} of {total} {unit}s, {left} left", file=sys.stderr, flush=True)


def numbered(items: Sequence[_Item]) -> Iterator[tuple[str, _Item]]:
    """Each of a few long pieces of work with how far it is in words, such as "3 of 12, about 02:10 left"."""
    begin = time.monotonic()
    for index, item in enumerate(items):
        left = (time.monotonic() - begin) / index * (len(items) - index) if index else None
        told = f", about {tqdm.format_interval(left)} left" if left else ""
        yield f"{index + 1} of {len(items)}{told}", item


class Progress:
    """Return, steps per second and time left.

    Args:
        total: environment steps of the whole run.
        initial: steps that were made before this process.
    """

    def __init__(self, total: int, initial: int) -> None:
        self._total = total
        self._bar = tqdm(total=total, initial=initial, unit="step", unit_scale=True, mininterval=1.0,
                         disable=_lines_only, file=sys.stderr)
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
