"""OK, WARN or ERROR: figures of a node against thresholds."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from ant_rl_core.settings import Settings, setting
from monitor_node.thermal import FREQUENCY_CAPPED, SOFT_TEMPERATURE_LIMIT, THROTTLED, UNDER_VOLTAGE, Host

OK, WARN, ERROR = 0, 1, 2  # as diagnostic_msgs/DiagnosticStatus has them


def _warn(default: float, what: str, unit: str) -> float:
    return setting(default, f"above this, {what} is worth a warning", unit=unit, finite=False, read_only=False)


def _error(default: float, what: str, unit: str) -> float:
    return setting(default, f"above this, {what} is an error", unit=unit, finite=False, read_only=False)


@dataclass(frozen=True)
class Thresholds(Settings):
    """Above these a figure is worth a warning or an error. Each is a parameter of the monitor."""

    cpu_warn: float = _warn(400.0, "CPU use of a node", "% of one core")
    cpu_error: float = _error(6400.0, "CPU use of a node", "% of one core")
    rss_warn: float = _warn(2000.0, "memory of a node, resident", "MiB")
    rss_error: float = _error(4000.0, "memory of a node, resident", "MiB")
    round_trip_warn: float = _warn(10.0, "round trip from observation to torque, 99th percentile", "ms")
    round_trip_error: float = _error(100.0, "round trip from observation to torque, 99th percentile", "ms")
    temperature_warn: float = _warn(75.0, "temperature of the host's hottest zone", "degC")
    temperature_error: float = _error(82.0, "temperature of the host's hottest zone", "degC")
    frequency_cap_warn: float = _warn(
        5.0, "how far the host's kernel holds frequencies below the hardware's maximum", "%")
    frequency_cap_error: float = _error(
        60.0, "how far the host's kernel holds frequencies below the hardware's maximum", "%")
    silence_warn: float = _warn(3.0, "time since a node last reported", "s")
    silence_error: float = _error(10.0, "time since a node last reported", "s")
    deadline_misses_warn: float = _warn(0.0, "control ticks without a fresh torque, per period", "1")
    deadline_misses_error: float = _error(10.0, "control ticks without a fresh torque, per period", "1")

    def rules(self) -> Iterator[tuple[bool, str]]:
        for name in _WORDS:
            error = getattr(self, f"{name}_error")
            yield getattr(self, f"{name}_warn") <= error, f"{name}_warn must be at most {name}_error = {error:g}"


@dataclass(frozen=True)
class Figures:
    """What there is to judge of one node or of its host; NaN where it is not known."""

    alive: bool = True
    cpu: float = math.nan  # [%]
    rss: float = math.nan  # [MiB]
    round_trip: float = math.nan  # [ms] 99th percentile
    silence: float = math.nan  # [s]
    deadline_misses: float = math.nan  # [1] in the last period
    temperature: float = math.nan  # [degC]
    frequency_cap: float = math.nan  # [%]
    throttling: int = 0  # [1] as Throttling.now

    @classmethod
    def of_host(cls, host: Host) -> Figures:
        """What there is to judge of a host."""
        return cls(temperature=host.temperature, frequency_cap=host.frequency_cap,
                   throttling=host.throttling.now if host.throttling else 0)


_WORDS = {
    "cpu": "uses {:.0f} % of a core", "rss": "holds {:.0f} MiB", "round_trip": "round trip p99 is {:.1f} ms",
    "temperature": "the host has {:.0f} degC", "silence": "silent for {:.0f} s",
    "deadline_misses": "{:.0f} deadlines missed", "frequency_cap": "the host's frequency is held {:.0f} % lower",
}
# Too low a voltage also makes a Raspberry Pi fail and lose files; the others only make it slow.
_THROTTLING = {
    UNDER_VOLTAGE: (ERROR, "the host's supply voltage is too low"),
    FREQUENCY_CAPPED: (WARN, "the host's frequency is capped"),
    THROTTLED: (WARN, "the host is throttled"),
    SOFT_TEMPERATURE_LIMIT: (WARN, "the host is at its soft temperature limit"),
}


def judge(figures: Figures, thresholds: Thresholds, state: str = "", detail: str = "") -> tuple[int, str]:
    """Level and sentence for one node or host.

    Args:
        figures: what was measured.
        thresholds: what to hold it against.
        state, detail: what the node says of itself; waiting is worth a warning.
    """
    if not figures.alive:
        return ERROR, "the process is gone"
    level, words = OK, []
    for name, text in _WORDS.items():
        value = getattr(figures, name)
        if value > getattr(thresholds, f"{name}_error"):
            found = ERROR
        elif value > getattr(thresholds, f"{name}_warn"):
            found = WARN
        else:
            continue
        level = max(level, found)
        words.append(text.format(value))
    for bit, (found, text) in _THROTTLING.items():
        if figures.throttling & bit:
            level = max(level, found)
            words.append(text)
    if state == "waiting":
        level = max(level, WARN)
        words.append(detail or "waiting")
    return level, "; ".join(words) or state or "running"
