"""The monitor's plain types to messages."""

import math

import pytest

pytest.importorskip("ant_rl_interfaces", reason="ROS is not installed")

from builtin_interfaces.msg import Time  # noqa: E402

from ant_rl_core.telemetry import Timing  # noqa: E402
from ant_rl_ros.telemetry import encode_stats  # noqa: E402
from monitor_node.codec import encode_status  # noqa: E402
from monitor_node.health import WARN  # noqa: E402
from monitor_node.thermal import Host, Throttling  # noqa: E402
from monitor_node.watch import Sample  # noqa: E402

SAMPLE = Sample(Timing("/env", "host", 7), alive=True)


def test_the_host_of_a_process():
    message = encode_stats(SAMPLE.stats(Host(61.5, 1500.0, 20.0, Throttling(4, 5))), Time(sec=3))
    assert (message.temperature, message.cpu_frequency, message.cpu_frequency_cap) == (61.5, 1500.0, 20.0)
    assert (message.throttling, message.throttling_since_boot) == (4.0, 5.0)
    assert (message.node, message.header.stamp.sec) == ("/env", 3)


def test_a_host_that_tells_nothing():
    message = encode_stats(SAMPLE.stats(Host()), Time())
    assert all(map(math.isnan, (message.temperature, message.cpu_frequency, message.cpu_frequency_cap,
                                message.throttling, message.throttling_since_boot)))


def test_a_line_of_the_diagnostics():
    status = encode_status("host x", "x", WARN, "slow", {"temperature [degC]": 61.25, "throttling": "none"})
    assert (status.level, status.name, status.hardware_id, status.message) == (b"\x01", "host x", "x", "slow")
    assert [(item.key, item.value) for item in status.values] == [("temperature [degC]", "61.25"),
                                                                   ("throttling", "none")]
