"""One process of the stack under observation: what it says of itself and what the system says of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from monitor_node import procstat
from monitor_node.health import Figures
from monitor_node.latency import DEADLINE_MISSES, Growth, Latency

NAN = math.nan
# [s] a node reports once per second; what it said longer ago than this says nothing about its loop now.
_STALE = 3.0


@dataclass(frozen=True)
class Report:
    """What a node said of itself: the NodeTiming message, in plain types."""

    node: str
    host: str
    pid: int
    state: str = ""
    detail: str = ""
    loop_rate: float = NAN
    latency: Latency = Latency()
    counters: Mapping[str, int] = field(default_factory=dict)
    queued: float = NAN


@dataclass(frozen=True)
class Sample:
    """What is known of a process at one moment: units as in NodeStats; `silence` [s] since it last reported."""

    report: Report
    alive: bool
    cpu_percent: float = NAN
    rss_mib: float = NAN
    uss_mib: float = NAN
    threads: int = 0
    silence: float = NAN
    new_deadline_misses: int = 0

    def figures(self) -> Figures:
        """What there is to judge."""
        return Figures(alive=self.alive, cpu=self.cpu_percent, rss=self.rss_mib,
                       round_trip=self.report.latency.round_trip_p99_ms, silence=self.silence,
                       deadline_misses=self.new_deadline_misses)


class Watch:
    """Follows one process by its pid and start time, so that another process with the same pid is not taken for it.

    Args:
        report: first message of the node; its process is then alive.
        now: on a steady clock [s].
        read_stat, read_uss: where the figures come from.
    """

    def __init__(self, report: Report, now: float,
                 read_stat: Callable[[int], procstat.ProcessStat | None] = procstat.read_stat,
                 read_uss: Callable[[int], float] = procstat.read_uss) -> None:
        self._read_stat, self._read_uss = read_stat, read_uss
        self._report, self._heard = report, now
        self._meter = procstat.CpuMeter()
        self._growth = Growth()
        stat = read_stat(report.pid)
        self._start_time = stat.start_time if stat else None
        self.died: float | None = None

    @property
    def pid(self) -> int:
        """Process id on this host."""
        return self._report.pid

    def hear(self, report: Report, now: float) -> None:
        """Take a further message of the same process."""
        self._report, self._heard = report, now

    def sample(self, now: float) -> Sample:
        """Look at the process; `died` is set at the first look that finds it gone."""
        silence = now - self._heard
        stat = self._read_stat(self.pid) if self.died is None else None
        if stat is None or stat.start_time != self._start_time:
            self.died = now if self.died is None else self.died
            report = Report(self._report.node, self._report.host, self._report.pid, counters=self._report.counters)
            return Sample(report, alive=False, silence=silence)
        report = self._report
        if silence > _STALE:
            report = Report(report.node, report.host, report.pid, report.state, report.detail,
                            counters=report.counters)
        misses = self._growth.since_last(report.counters).get(DEADLINE_MISSES, 0)
        return Sample(report, True, self._meter.sample(stat.cpu_time, now), stat.rss_mib, self._read_uss(self.pid),
                      stat.threads, silence, misses)
