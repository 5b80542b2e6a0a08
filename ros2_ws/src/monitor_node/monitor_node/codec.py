"""Between the monitor's plain types and its messages."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ant_rl_interfaces.msg import NodeStats, NodeTiming
from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

from monitor_node.latency import DEADLINE_MISSES, latency
from monitor_node.thermal import Host
from monitor_node.watch import Report, Sample


def decode_timing(message: NodeTiming) -> Report:
    """What a node said of itself; ValueError if its arrays don't match."""
    if len(message.counter_names) != len(message.counter_values):
        raise ValueError(f"each counter must have a value, found {len(message.counter_names)} names and "
                         f"{len(message.counter_values)} values")
    return Report(message.node, message.host, message.pid, message.state, message.detail, message.loop_rate,
                  latency(message.stage_names, message.stage_p50, message.stage_p99),
                  dict(zip(message.counter_names, message.counter_values)),
                  dict(zip(message.value_names, message.value_values)).get("queued", math.nan))


def encode_stats(sample: Sample, host: Host, stamp: Any) -> NodeStats:
    """The figures of one process and of the host that it runs on."""
    report, message = sample.report, NodeStats()
    message.header.stamp = stamp
    message.node, message.host, message.pid, message.alive = report.node, report.host, report.pid, sample.alive
    message.cpu_percent, message.threads = sample.cpu_percent, sample.threads
    message.rss_mib, message.uss_mib = sample.rss_mib, sample.uss_mib
    message.loop_rate = report.loop_rate
    message.stage_names = list(report.latency.names)
    message.stage_p50_ms, message.stage_p99_ms = list(report.latency.p50_ms), list(report.latency.p99_ms)
    message.round_trip_p50_ms = report.latency.round_trip_p50_ms
    message.round_trip_p99_ms = report.latency.round_trip_p99_ms
    message.deadline_misses = report.counters.get(DEADLINE_MISSES, 0)
    message.dropped, message.queued = report.counters.get("dropped", 0), report.queued
    message.temperature, message.cpu_frequency = host.temperature, host.frequency
    message.cpu_frequency_cap = host.frequency_cap
    message.throttling, message.throttling_since_boot = (
        (host.throttling.now, host.throttling.since_boot) if host.throttling else (math.nan, math.nan))
    return message


def encode_status(name: str, host: str, level: int, sentence: str, values: Mapping[str, Any]) -> DiagnosticStatus:
    """One line of /diagnostics."""
    texts = {key: f"{value:.4g}" if isinstance(value, float) else str(value) for key, value in values.items()}
    return DiagnosticStatus(level=bytes([level]), name=name, message=sentence, hardware_id=host,
                            values=[KeyValue(key=key, value=text) for key, text in texts.items()])
