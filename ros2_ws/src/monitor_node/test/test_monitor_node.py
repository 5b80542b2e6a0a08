"""The monitor as a process, watching a real process of known use over real DDS."""

import math
import os
import signal
import socket
import subprocess
import sys
import time

import psutil
import pytest

rclpy = pytest.importorskip("rclpy", reason="ROS is not installed")

from ant_rl_interfaces.msg import NodeStats, NodeTiming  # noqa: E402
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402

from ant_rl_ros import qos  # noqa: E402

DOMAIN = 45
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
def node():
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=DOMAIN)
    node = rclpy.create_node("witness", context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    node.spin = lambda: executor.spin_once(timeout_sec=0.1)
    yield node
    executor.shutdown()
    node.destroy_node()
    rclpy.shutdown(context=context)


@pytest.fixture
def processes():
    started = []

    def start(*argv):
        environment = {**os.environ, "ROS_DOMAIN_ID": str(DOMAIN), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
        process = subprocess.Popen(argv, env=environment)
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait(timeout=10)


def start_monitor(start, *parameters):
    words = [word for parameter in parameters for word in ("-p", parameter)]
    return start(sys.executable, "-c", "import sys; from monitor_node.node import main; sys.exit(main())",
                 "--ros-args", *words)


def wait_until(node, condition, seconds=30.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        node.spin()


def timing(node, pid, host=None, name="/env"):
    message = NodeTiming(node=name, host=host or socket.gethostname(), pid=pid, state="running", loop_rate=20.0)
    message.header.stamp = node.get_clock().now().to_msg()
    message.stage_names, message.stage_p50, message.stage_p99 = ["round_trip"], [0.001], [0.002]
    message.stage_max = [0.003]
    message.counter_names, message.counter_values = ["deadline_misses", "dropped"], [4, 7]
    message.value_names, message.value_values = ["ticks", "queued"], [100.0, 12.0]
    return message


def test_a_process_of_known_use(node, processes):
    stats, diagnostics = [], []
    node.create_subscription(NodeStats, "stats/env", stats.append, qos.profile("stats"))
    node.create_subscription(DiagnosticArray, "/diagnostics", diagnostics.append, qos.profile("diagnostics"))
    publisher = node.create_publisher(NodeTiming, "timing", qos.profile("timing"))
    busy = processes(sys.executable, "-c", BUSY)
    expected = psutil.Process(busy.pid)
    start_monitor(processes, "period:=0.5")
    wait_until(node, lambda: publisher.get_subscription_count() > 0)
    node.create_timer(0.2, lambda: publisher.publish(timing(node, busy.pid)))

    wait_until(node, lambda: stats)
    assert math.isnan(stats[0].cpu_percent)
    before, started = expected.cpu_times(), time.monotonic()
    seen = len(stats)
    wait_until(node, lambda: len(stats) >= seen + 6)
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
    busy.wait(timeout=10)
    wait_until(node, lambda: not stats[-1].alive)
    said, told = len(stats), len(diagnostics)
    wait_until(node, lambda: len(diagnostics) >= told + 3)
    assert len(stats) == said
    status = {status.name: status for status in diagnostics[-1].status}
    assert status["/env"].level == DiagnosticStatus.ERROR
    assert status["/env"].message == "the process is gone"
    assert status["/monitor"].level == DiagnosticStatus.OK  # it watches itself too
    host = {item.key for item in status[f"host {socket.gethostname()}"].values}
    assert host == {"temperature [degC]", "cpu frequency [MHz]", "cpu frequency cap [%]", "throttling",
                    "throttling since boot"}


def test_it_forgets_and_ignores_other_hosts(node, processes):
    stats, elsewhere, diagnostics = [], [], []
    node.create_subscription(NodeStats, "stats/env", stats.append, qos.profile("stats"))
    node.create_subscription(NodeStats, "stats/far", elsewhere.append, qos.profile("stats"))
    node.create_subscription(DiagnosticArray, "/diagnostics", diagnostics.append, qos.profile("diagnostics"))
    publisher = node.create_publisher(NodeTiming, "timing", qos.profile("timing"))
    idle = processes(sys.executable, "-c", "import signal; signal.pause()")
    monitor = start_monitor(processes, "period:=0.1", "forget_after:=0.5")
    wait_until(node, lambda: publisher.get_subscription_count() > 0)
    publisher.publish(timing(node, idle.pid))
    publisher.publish(timing(node, idle.pid, host="another-host", name="/far"))
    wait_until(node, lambda: stats)
    idle.kill()
    idle.wait(timeout=10)
    wait_until(node, lambda: not stats[-1].alive)
    wait_until(node, lambda: "/env" in [status.name for status in diagnostics[-1].status])
    wait_until(node, lambda: "/env" not in [status.name for status in diagnostics[-1].status])
    assert not elsewhere
    monitor.send_signal(signal.SIGINT)
    assert monitor.wait(timeout=20) == 0


def test_a_warning_above_its_error_is_refused_at_start(processes):
    assert start_monitor(processes, "cpu_warn:=90.0", "cpu_error:=80.0").wait(timeout=30) == 2
