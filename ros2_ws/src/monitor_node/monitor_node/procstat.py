"""What /proc says about a process: text in, numbers out.

Formats: proc_pid_stat(5), proc_pid_smaps(5) (smaps_rollup). The functions that read files are at the end, and apart.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path

CLOCK_TICKS = os.sysconf("SC_CLK_TCK")  # [1/s] unit of the times in stat
PAGE_MIB = os.sysconf("SC_PAGE_SIZE") / 2**20


@dataclass(frozen=True)
class ProcessStat:
    """From /proc/PID/stat.

    Attributes:
        cpu_time: user and system time [s].
        threads: number of threads.
        start_time: when the process started [s since boot]; with the pid it tells processes apart.
        rss_mib: resident set size [MiB].
        zombie: it has ended and waits for its parent to ask how.
    """

    cpu_time: float
    threads: int
    start_time: float
    rss_mib: float
    zombie: bool = False


def parse_stat(text: str) -> ProcessStat:
    """Read the text of /proc/PID/stat; ValueError if it is none."""
    # The command in brackets may hold blanks and brackets itself: what counts comes after the last one.
    _, found, rest = text.rpartition(")")
    fields = rest.split()
    if not found or len(fields) < 22:
        raise ValueError(f"expected the text of /proc/PID/stat, found {text[:80]!r}")
    return ProcessStat(cpu_time=(int(fields[11]) + int(fields[12])) / CLOCK_TICKS, threads=int(fields[17]),
                       start_time=int(fields[19]) / CLOCK_TICKS, rss_mib=int(fields[21]) * PAGE_MIB,
                       zombie=fields[0] in "ZX")


def parse_uss(text: str) -> float:
    """Unique set size [MiB] from the text of /proc/PID/smaps_rollup: memory that no other process shares.

    NaN where the text has no such lines.
    """
    kilobytes = [int(line.split()[1]) for line in text.splitlines()
                 if line.startswith(("Private_Clean:", "Private_Dirty:", "Private_Hugetlb:"))]
    return sum(kilobytes) / 1024 if kilobytes else math.nan


class CpuMeter:
    """CPU use of one process between two samples."""

    def __init__(self) -> None:
        self._cpu_time = self._now = math.nan

    def sample(self, cpu_time: float, now: float) -> float:
        """Percent of one core since the last sample, NaN at the first.

        Args:
            cpu_time: of the process so far [s].
            now: on a steady clock [s].
        """
        elapsed, used = now - self._now, cpu_time - self._cpu_time
        self._cpu_time, self._now = cpu_time, now
        return 100.0 * used / elapsed if elapsed > 0 else math.nan


def read_stat(pid: int, proc: Path = Path("/proc")) -> ProcessStat | None:
    """State of a process, None once it is gone or only waits to be reaped."""
    try:
        stat = parse_stat((proc / str(pid) / "stat").read_text())
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if stat.zombie else stat


def read_uss(pid: int, proc: Path = Path("/proc")) -> float:
    """Unique set size of a process [MiB], NaN where it is not to be read (gone, another user's, old kernel)."""
    try:
        return parse_uss((proc / str(pid) / "smaps_rollup").read_text())
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return math.nan
