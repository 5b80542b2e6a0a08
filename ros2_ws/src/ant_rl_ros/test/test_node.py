"""Nodes of the stack as processes: start, parameters, lifecycle, timing, ends."""

import os
import signal
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.msg import Parameter as ParameterMessage, ParameterType, ParameterValue
from rcl_interfaces.srv import DescribeParameters, GetParameters, SetParameters
from std_msgs.msg import String
from std_srvs.srv import Trigger

from ant_rl_ros import qos
from ant_rl_ros.run import parted
from ant_rl_ros.testing.peer import Peer, fresh_namespace
from ant_rl_ros.testing.process import TIMEOUT, NodeProcess, Process


@pytest.fixture(autouse=True)
def _echo_node_is_found(monkeypatch):
    here = str(Path(__file__).parent)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([here, *filter(None, [os.environ.get("PYTHONPATH")])]))


class Echo:
    """An echo node in a process, and a peer that talks to it."""

    def __init__(self, **parameters):
        self.namespace = fresh_namespace()
        self.peer = Peer(self.namespace)
        self.process = NodeProcess("echo_node", self.namespace, parameters)
        self.questions = self.peer.publisher(String, "question", qos.profile("observation"))
        self.answers = self.peer.collect(String, "answer", qos.profile("joint_torques"))
        self.timings = self.peer.timings("echo")

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.process.__exit__()
        self.peer.__exit__()

    def meet(self):
        # Each side may find the other before it is found. A node that is heard has found this peer, and a question is
        # sent again until the node has it.
        self.peer.until(lambda: self.questions.get_subscription_count() and self.timings.messages, "the echo node")

    def ask(self, text):
        self.questions.publish(String(data=text))
        self.peer.until(lambda: any(answer.data == text for answer in self.answers), f"the echo of {text}")

    def set(self, name, **value):
        request = SetParameters.Request(parameters=[ParameterMessage(name=name, value=ParameterValue(**value))])
        return self.peer.call(SetParameters, "echo/set_parameters", request).results[0]

    def change(self, transition):
        request = ChangeState.Request(transition=Transition(id=transition))
        return self.peer.call(ChangeState, "echo/change_state", request).success

    def state(self):
        return self.peer.call(GetState, "echo/get_state", GetState.Request()).current_state.label


@pytest.mark.parametrize("wait", ["wait_set", "executor"])
def test_data_services_plain_topics_and_parameters_are_all_served(wait):
    with Echo(wait=wait) as echo:
        echo.meet()
        asides = echo.peer.publisher(String, "aside", qos.profile("episode"))
        for i in range(50):
            echo.ask(f"question {i}")
        assert [answer.data for answer in echo.answers] == [f"question {i}" for i in range(50)]
        echo.peer.until(asides.get_subscription_count, "the subscription of aside")
        asides.publish(String(data="x"))
        echo.timings.until_counter("aside")
        assert echo.peer.call(Trigger, "echo/ask", Trigger.Request()).message == "gain 1.0"
        assert echo.set("gain", type=ParameterType.PARAMETER_INTEGER, integer_value=3).successful
        assert echo.peer.call(Trigger, "echo/ask", Trigger.Request()).message == "gain 3.0"
        refused = echo.set("gain", type=ParameterType.PARAMETER_DOUBLE, double_value=-1.0)
        assert not refused.successful and refused.reason == "parameter gain must be at least 0, found -1.0"
        assert not echo.set("mode", type=ParameterType.PARAMETER_STRING, string_value="realtime").successful
        assert echo.timings.counter("changes") <= 1
        echo.timings.until_counter("changes")


@pytest.mark.parametrize("wait", ["wait_set", "executor"])
def test_services_are_served_while_data_pours_in(wait):
    with Echo(wait=wait, mode="realtime") as echo:
        pouring = echo.peer.publisher(String, "question", qos.profile("observation", "realtime"))
        echo.peer.until(pouring.get_subscription_count, "the echo node")

        def busy(done):
            for _ in range(20):
                pouring.publish(String(data="busy"))
            return done()

        client = echo.peer.node.create_client(Trigger, "echo/ask")
        echo.peer.until(lambda: busy(client.service_is_ready), "the service")
        future = client.call_async(Trigger.Request())
        echo.peer.until(lambda: busy(future.done), "an answer")
        assert future.result().success


def test_timing_tells_who_it_is_and_how_it_runs():
    with Echo() as echo:
        echo.meet()
        echo.timings.until_state("running")
        echo.peer.until(lambda: echo.questions.publish(String(data="x")) or any(
            "echo" in message.stage_names for message in echo.timings.messages), "a stage")
        message = next(m for m in echo.timings.messages if "echo" in m.stage_names)
        assert message.node == f"{echo.namespace}/echo" and message.pid == echo.process.pid and message.host
        assert message.loop_rate > 0
        assert 0 < message.stage_p50[0] <= message.stage_p99[0] <= message.stage_max[0] < 1.0
        values = dict(zip(message.value_names, message.value_values, strict=True))
        assert (set(values), values["gain"]) == ({"gain", "run", "uptime"}, 1.0)
        assert values["run"] == int(values["run"]) and 0.0 < values["uptime"] < 600.0
        assert message.header.stamp.sec == pytest.approx(time.time(), abs=60)


def test_parameters_are_described():
    with Echo() as echo:
        request = DescribeParameters.Request(names=["mode", "wait", "autostart"])
        mode, wait, autostart = echo.peer.call(DescribeParameters, "echo/describe_parameters", request).descriptors
        assert mode.description == "Quality of service." and mode.read_only
        assert wait.additional_constraints == "one of: wait_set, executor"
        assert autostart.description


def test_lifecycle_by_hand():
    with Echo(autostart=False) as echo:
        assert echo.state() == "unconfigured"
        assert echo.timings.until_state("inactive").detail == ""
        assert echo.change(Transition.TRANSITION_CONFIGURE)
        echo.meet()
        echo.questions.publish(String(data="too early"))
        assert echo.change(Transition.TRANSITION_ACTIVATE)
        echo.timings.until_state("running")
        echo.ask("now")
        assert echo.change(Transition.TRANSITION_DEACTIVATE)
        echo.timings.until_state("inactive")
        assert echo.change(Transition.TRANSITION_ACTIVATE)
        echo.ask("again")
        assert [answer.data for answer in echo.answers] == ["now", "again"]
        assert echo.change(Transition.TRANSITION_ACTIVE_SHUTDOWN)
        assert echo.process.wait() == 0


def test_a_refusal_by_hand_leaves_the_node_unconfigured():
    with Echo(autostart=False, refuse="no such thing") as echo:
        assert not echo.change(Transition.TRANSITION_CONFIGURE)
        assert echo.state() == "unconfigured"
        echo.peer.until(lambda: "configure: no such thing" in echo.process.said(), "the sentence")


def test_a_refusal_at_start_ends_the_process_with_one_sentence():
    with Echo(refuse="expected this, found that") as echo:
        assert echo.process.wait() == 2
        assert "configure: expected this, found that" in echo.process.said()
        assert "Traceback" not in echo.process.said()
        assert len(echo.process.said().splitlines()) == 1


@pytest.mark.parametrize("name, value, sentence", [
    ("mode", "foo", "parameter mode must be lockstep or realtime, found 'foo'"),
    ("gain", "much", "parameter gain must be a number, found 'much'"),
    ("wait", "busy", "parameter wait must be wait_set or executor, found 'busy'"),
])
def test_a_wrong_parameter_ends_the_process_with_one_sentence(name, value, sentence):
    with Echo(**{name: value}) as echo:
        assert echo.process.wait() == 2
        assert sentence in echo.process.said() and len(echo.process.said().splitlines()) == 1


def test_ros_arguments_that_cannot_be_read():
    with NodeProcess("echo_node", "/x", arguments=["--no-such-thing"]) as process:
        assert process.wait() == 2
        assert "ROS refused the arguments" in process.said() and "Traceback" not in process.said()


def test_a_middleware_that_does_not_let_go_is_left_behind():
    with Echo(hang=True) as echo:
        echo.meet()
        echo.process.signal()
        assert echo.process.process.wait(TIMEOUT) == -signal.SIGALRM


needs_hup = pytest.mark.skipif(signal.getsignal(signal.SIGHUP) == signal.SIG_IGN, reason="started by nohup")


@pytest.mark.parametrize("wait", ["wait_set", "executor"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, pytest.param(signal.SIGHUP, marks=needs_hup)])
def test_a_signal_ends_it_at_once_and_its_last_words_arrive(number, wait):
    with Echo(wait=wait) as echo:
        echo.meet()
        echo.ask("x")
        before = len(echo.timings.messages)
        start = time.monotonic()
        echo.process.signal(number)
        echo.process.signal(number)  # a terminal and a launch system may both pass one on
        echo.peer.until(lambda: echo.answers[-1].data == "last words", "the last words")
        assert echo.process.wait() == 0
        assert time.monotonic() - start < 10.0
        echo.peer.until(lambda: len(echo.timings.messages) > before, "the last timing")
        assert "Traceback" not in echo.process.said()


def test_an_unforeseen_error_is_not_hidden():
    with Echo(crash=True) as echo:
        echo.meet()
        echo.questions.publish(String(data="x"))
        assert echo.process.wait() == 1
        assert "RuntimeError: unforeseen" in echo.process.said()


def test_the_quality_of_service_can_be_overridden():
    namespace = fresh_namespace()
    override = f"qos_overrides.{namespace}/timing.publisher.depth:=3"
    with NodeProcess("echo_node", namespace, arguments=["-p", override]) as process, Peer(namespace) as peer:
        request = GetParameters.Request(names=[override.split(":=")[0]])
        assert peer.call(GetParameters, "echo/get_parameters", request).values[0].integer_value == 3
        process.signal()
        assert process.wait() == 0


@pytest.mark.parametrize("ticks, waited, said", [(0, 11.0, True), (0, 5.0, False), (3, 11.0, False)])
def test_a_node_that_waits_long_names_what_may_part_it_from_others(monkeypatch, ticks, waited, said):
    monkeypatch.setenv("ROS_DISCOVERY_SERVER", "127.0.0.1:11999")
    found = parted(SimpleNamespace(ticks=ticks, begun=time.monotonic() - waited))
    assert ("ROS_DISCOVERY_SERVER=127.0.0.1:11999" in found) == said and (found == "") != said


@pytest.mark.parametrize("arguments, said", [
    (["num_envs:=4"], "found num_envs:=4: parameters are given as --ros-args -p num_envs:=4"),
    (["--ros-args", "-p", "gian:=2.0"], "/echo has no parameter gian; the nearest one is gain"),
    (["--ros-args", "-r", "__ns:=/a", "--params-file", "{file}"], "/a/echo has no parameter loudnes")])
def test_a_node_by_itself_refuses_what_it_would_drop(tmp_path, arguments, said):
    file = tmp_path / "params.yaml"
    file.write_text("/**/echo: {ros__parameters: {loudnes: 3}}")
    code = "import sys; from echo_node import main; sys.exit(main())"
    with Process([sys.executable, "-c", code, *(word.format(file=file) for word in arguments)], {}) as process:
        assert process.wait() == 2
        assert said in process.said() and "Traceback" not in process.said()
