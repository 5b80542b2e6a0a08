"""The monitor as a process, watching a real process of known use over real DDS."""

import math
import socket
import sys
import time
from contextlib import ExitStack

import psutil
import pytest

pytest.importorskip("rclpy", reason="ROS is not installed")

from ant_rl_interfaces.msg import NodeStats, NodeTiming  # noqa: E402
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus  # noqa: E402

from ant_rl_ros import qos  # noqa: E402
from ant_rl_ros.testing.peer import Peer  # noqa: E402
from ant_rl_ros.testing.process import NodeProcess, Process  # noqa: E402

# Works a quarter of the time: 25 % of a core, give or take.
BUSY = """
import time
ballast = b"1" * 60_000_000
while True:
    end = time.process_time() + 0.025
    while time.process_time() < end: pass
    time.sleep(0.075)
"""


@pytest.fixture
def witness():
    with Peer(name="witness") as peer:
        yield peer


@pytest.fixture
def start():
    with ExitStack() as processes:
        yield processes.enter_context


def program(code):
    return Process([sys.executable, "-c", code], {})


def monitor(**parameters):
    return NodeProcess("monitor_node.node", parameters=parameters)


def timing(witness, pid, host=None, name="/env"):
    message = NodeTiming(node=name, host=host or socket.gethostname(), pid=pid, state="running", loop_rate=20.0)
    message.header.stamp = witness.node.get_clock().now().to_msg()
    message.stage_names, message.stage_p50, message.stage_p99 = ["round_trip"], [0.001], [0.002]
    message.stage_max = [0.003]
    message.counter_names, message.counter_values = ["deadline_misses", "dropped"], [4, 7]
    message.value_names, message.value_values = ["ticks", "queued"], [100.0, 12.0]
    return message


def test_a_process_of_known_use(witness, start):
    stats = witness.collect(NodeStats, "stats/env", qos.profile("stats"))
    diagnostics = witness.collect(DiagnosticArray, "/diagnostics", qos.profile("diagnostics"))
    publisher = witness.publisher(NodeTiming, "timing")
    busy = start(program(BUSY))
    expected = psutil.Process(busy.pid)
    start(monitor(period=0.5))
    witness.until(lambda: publisher.get_subscription_count() > 0)
    witness.node.create_timer(0.2, lambda: publisher.publish(timing(witness, busy.pid)))

    witness.until(lambda: stats)
    assert math.isnan(stats[0].cpu_percent)
    before, started = expected.cpu_times(), time.monotonic()
    seen = len(stats)
    witness.until(lambda: len(stats) >= seen + 6)
    after, elapsed = expected.cpu_times(), time.monotonic() - started
    percent = 100 * (after.user + after.system - before.user - before.system) / elapsed
    found = [message.cpu_percent for message in stats[seen:]]
    assert sum(found) / len(found) == pytest.approx(percent, rel=0.3, abs=5)
    last = stats[-1]
    assert last.rss_mib == pytest.approx(expected.memory_info().rss / 2**20, rel=0.02)
    assert last.uss_mib == pytest.approx(expected.memory_full_info().uss / 2**20, rel=0.02)
    assert (last.node, last.pid, last.alive, last.deadline_misses) == ("/env", busy.pid, True, 4)
    assert (last.dropped, last.queued) == (7, 12.0)
    assert (last.round_trip_p50_ms, last.round_trip_p99_ms) == (1.0, 2.0)
    assert list(last.stage_names) == ["round_trip"]

    # Gone: said once, then only in the diagnostics.
    busy.kill()
    witness.until(lambda: not stats[-1].alive)
    said, told = len(stats), len(diagnostics)
    witness.until(lambda: len(diagnostics) >= told + 3)
    assert len(stats) == said
    status = {status.name: status for status in diagnostics[-1].status}
    assert status["/env"].level == DiagnosticStatus.ERROR
    assert status["/env"].message == "the process is gone"
    assert status["/monitor"].level == DiagnosticStatus.OK  # it watches itself too
    host = {item.key for item in status[f"host {socket.gethostname()}"].values}
    assert host == {"temperature [degC]", "cpu frequency [MHz]", "cpu frequency cap [%]", "throttling",
                    "throttling since boot"}


def test_it_forgets_and_ignores_other_hosts(witness, start):
    stats = witness.collect(NodeStats, "stats/env", qos.profile("stats"))
    elsewhere = witness.collect(NodeStats, "stats/far", qos.profile("stats"))
    diagnostics = witness.collect(DiagnosticArray, "/diagnostics", qos.profile("diagnostics"))
    publisher = witness.publisher(NodeTiming, "timing")
    idle = start(program("import signal; signal.pause()"))
    process = start(monitor(period=0.1, forget_after=0.5))
    witness.until(lambda: publisher.get_subscription_count() > 0)

    def heard():
        publisher.publish(timing(witness, idle.pid))
        publisher.publish(timing(witness, idle.pid, host="another-host", name="/far"))
        return stats
    witness.until(heard)
    idle.kill()
    witness.until(lambda: not stats[-1].alive)
    witness.until(lambda: "/env" in [status.name for status in diagnostics[-1].status])
    witness.until(lambda: "/env" not in [status.name for status in diagnostics[-1].status])
    assert not elsewhere
    assert process.stop() == 0


def test_a_warning_above_its_error_is_refused_at_start(start):
    assert start(monitor(cpu_warn=90.0, cpu_error=80.0)).wait() == 2
