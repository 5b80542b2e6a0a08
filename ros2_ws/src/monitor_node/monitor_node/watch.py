"""One process of the stack under observation: what it says of itself and what the system says of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from ant_rl_core.telemetry import NAN, Stats, Timing
from monitor_node import procstat
from monitor_node.health import Figures
from monitor_node.thermal import Host

DEADLINE_MISSES = "deadline_misses"
# [s] a node reports once per second; what it said longer ago than this says nothing about its loop now.
_STALE = 3.0


@dataclass(frozen=True)
class Sample:
    """What is known of a process at one moment: what it said last, what the system says of it, and what has changed.

    Units are those of `Stats`; `silence` [s] is the time since it last said something.
    """

    timing: Timing
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
                       round_trip=1e3 * self.timing.round_trip[1], silence=self.silence,
                       deadline_misses=self.new_deadline_misses)

    def stats(self, host: Host) -> Stats:
        """What is told of the process and of the host that it runs on."""
        timing, throttling = self.timing, host.throttling
        return Stats(
            timing.node, timing.host, timing.pid, self.alive, self.cpu_percent, self.rss_mib, self.uss_mib,
            self.threads, host.temperature, timing.loop_rate,
            {name: (1e3 * p50, 1e3 * p99) for name, (p50, p99, _) in timing.stages.items()},
            (1e3 * timing.round_trip[0], 1e3 * timing.round_trip[1]),
            timing.counters.get(DEADLINE_MISSES, 0), timing.counters.get("dropped", 0),
            timing.values.get("queued", NAN), host.frequency, host.frequency_cap,
            float(throttling.now) if throttling else NAN, float(throttling.since_boot) if throttling else NAN)


class Growth:
    """How much counters have grown since the last look; a counter that fell was started anew with its node."""

    def __init__(self) -> None:
        self._last: dict[str, int] = {}

    def since_last(self, counters: Mapping[str, int]) -> dict[str, int]:
        """Growth of each counter; at the first look what it has counted so far."""
        growth = {}
        for name, count in counters.items():
            before = self._last.get(name, 0)
            growth[name] = count - before if count >= before else count
        self._last = dict(counters)
        return growth


class Watch:
    """Follows one process by its pid and start time, so that another process with the same pid is not taken for it.

    Args:
        timing: first message of the node; its process is then alive.
        now: on a steady clock [s].
        read_stat, read_uss: where the figures come from.
    """

    def __init__(self, timing: Timing, now: float,
                 read_stat: Callable[[int], procstat.ProcessStat | None] = procstat.read_stat,
                 read_uss: Callable[[int], float] = procstat.read_uss) -> None:
        self._read_stat, self._read_uss = read_stat, read_uss
        self._timing, self._heard = timing, now
        self._meter = procstat.CpuMeter()
        self._growth = Growth()
        stat = read_stat(timing.pid)
        self._start_time = stat.start_time if stat else None
        self.died: float | None = None

    @property
    def pid(self) -> int:
        """Process id on this host."""
        return self._timing.pid

    def hear(self, timing: Timing, now: float) -> None:
        """Take a further message of the same process."""
        self._timing, self._heard = timing, now

    def sample(self, now: float) -> Sample:
        """Look at the process; `died` is set at the first look that finds it gone."""
        silence = now - self._heard
        stat = self._read_stat(self.pid) if self.died is None else None
        if stat is None or stat.start_time != self._start_time:
            self.died = now if self.died is None else self.died
            return Sample(replace(_without_figures(self._timing), state="", detail=""), alive=False, silence=silence)
        timing = self._timing if silence <= _STALE else _without_figures(self._timing)
        misses = self._growth.since_last(timing.counters).get(DEADLINE_MISSES, 0)
        return Sample(timing, True, self._meter.sample(stat.cpu_time, now), stat.rss_mib, self._read_uss(self.pid),
                      stat.threads, silence, misses)


def _without_figures(timing: Timing) -> Timing:
    """What stays true of a node that says nothing more: who it is, and what it has counted."""
    return replace(timing, loop_rate=NAN, stages={}, values={})
