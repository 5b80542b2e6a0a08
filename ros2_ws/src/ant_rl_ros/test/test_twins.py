"""Two processes of one name: on this machine the second is refused, on another one the later, and who met is told."""

import os
import time
from pathlib import Path

import pytest
from ant_rl_interfaces.msg import NodeTiming

from ant_rl_core.telemetry import Timing
from ant_rl_ros.telemetry import encode_timing
from ant_rl_ros.testing.peer import Peer, fresh_namespace
from ant_rl_ros.testing.process import TIMEOUT, NodeProcess
from ant_rl_ros.twins import Standing, standing

NONE, REFUSED, CONTEST = Standing.NONE, Standing.REFUSED, Standing.CONTEST


@pytest.fixture(autouse=True)
def _echo_node_is_found(monkeypatch):
    here = str(Path(__file__).parent)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([here, *filter(None, [os.environ.get("PYTHONPATH")])]))


@pytest.mark.parametrize(("own", "other", "expected"), [
    ((1, 3.0), (1, 50.0), NONE),  # itself
    ((1, 3.0), (2, 50.0), REFUSED), ((2, 50.0), (1, 3.0), NONE),  # the later one goes
    ((1, 3.0), (2, 3.2), NONE), ((2, 3.2), (1, 3.0), REFUSED),  # at once: by their numbers
    ((1, 60.0), (2, 50.0), CONTEST), ((2, 50.0), (1, 60.0), CONTEST)])  # both were there before they met
def test_of_two_one_goes_or_both_say_so(own, other, expected):
    assert standing(*own, *other) == expected


def test_of_two_that_hear_each_other_late_never_both_go():
    for own_age in (0.5, 3.0, 9.0, 9.9, 10.5, 30.0):
        for age in (0.5, 1.4, 3.0, 9.5, 10.0, 10.9, 31.0):
            for late in (0.0, 0.3):
                found = [standing(1, own_age, 2, age - late), standing(2, age, 1, own_age - late)]
                assert found != [REFUSED, REFUSED], (own_age, age, late)


def test_a_second_process_of_the_name_is_refused_and_the_first_goes_on():
    namespace = fresh_namespace()
    with Peer(namespace) as peer, NodeProcess("echo_node", namespace) as first:
        timings = peer.timings("echo")
        timings.until_state("running")
        with NodeProcess("echo_node", namespace) as second:
            assert second.wait() == 2
            said = second.said()
        assert f"a node {namespace}/echo runs in ROS domain" in said and f"(process {first.pid})" in said
        assert "namespace:=" in said and len(said.splitlines()) == 1
        first.kill()
        with NodeProcess("echo_node", namespace) as successor:  # at once, however the first has ended
            peer.until(lambda: timings.messages[-1].pid == successor.pid, "the successor")
            successor.signal()
            assert successor.wait() == 0, successor.said()


class Elsewhere:
    """What a node of the name would tell on another machine."""

    def __init__(self, peer, name, age, run=1.0):
        self.began = time.monotonic() - age
        self.publisher = peer.publisher(NodeTiming, "timing")
        self.values = {"run": run}
        self.peer, self.name = peer, name
        peer.node.create_timer(0.2, self.tell)

    def tell(self):
        values = {**self.values, "uptime": time.monotonic() - self.began}
        timing = Timing(self.name, "pi", 123, "running", values=values)
        self.publisher.publish(encode_timing(timing, self.peer.node.get_clock().now().to_msg()))


def ended(peer, process):
    end = time.monotonic() + TIMEOUT
    while not process.ended:
        assert time.monotonic() < end, process.said()
        peer.spin()
    return process.process.returncode


def test_a_node_that_comes_later_than_one_on_another_machine_is_refused():
    namespace = fresh_namespace()
    with Peer(namespace) as peer:
        Elsewhere(peer, f"{namespace}/echo", age=500.0)
        with NodeProcess("echo_node", namespace) as process:
            assert ended(peer, process) == 2, process.said()
            assert f"a node {namespace}/echo runs in ROS domain" in process.said()
            assert "(process 123, on pi)" in process.said() and len(process.said().splitlines()) == 1


def test_two_that_have_been_running_when_they_meet_say_so_once_and_their_exit_code_tells():
    namespace = fresh_namespace()
    with Peer(namespace) as peer, NodeProcess("aged_echo_node", namespace) as process:
        timings = peer.timings("echo")
        timings.until_state("running")
        Elsewhere(peer, f"{namespace}/echo", age=500.0)
        timings.until_counter("contested")
        told = len([message for message in timings.messages if message.pid == process.pid])
        peer.until(lambda: len([m for m in timings.messages if m.pid == process.pid]) > told + 2, "further reports")
        process.signal()
        assert ended(peer, process) == 3
        assert process.said().count("two runs have met") == 1 and "on pi" in process.said()
