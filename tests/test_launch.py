"""The launch files through the real `launch` package, where it is installed (it is not among the wheels)."""

import json
import signal
import sys
from pathlib import Path

import pytest
from programs import assert_gone, descendants, finish, read_until, start

from ant_rl import stack
from ant_rl_core.settings import ArgumentError

launch = pytest.importorskip("launch", reason="the launch package is not installed: it comes with a system ROS 2")
pytest.importorskip("launch_ros", reason="launch_ros is not installed: it comes with a system ROS 2")

from launch.actions import EmitEvent  # noqa: E402
from launch.events.process import ProcessExited  # noqa: E402
from launch.launch_description_sources import get_launch_description_from_python_launch_file  # noqa: E402
from launch_ros.actions import Node  # noqa: E402

from ant_rl import launch_actions  # noqa: E402

FOLDER = Path(__file__).parents[1] / "ros2_ws" / "src" / "ant_rl" / "launch"


def path(arrangement):
    return str(FOLDER / f"{arrangement}.launch.py")


def expanded(arrangement, **given):
    """Actions that the arrangement comes to for these arguments."""
    context = launch.LaunchContext()
    context.launch_configurations.update(given)
    actions = []
    for entity in get_launch_description_from_python_launch_file(path(arrangement)).entities:
        actions += entity.visit(context) or []
    while launch_actions.claims:
        launch_actions.claims.pop().close()
    return actions, context


def names(actions):
    return [action.node_executable for action in actions if isinstance(action, Node)]


def test_there_is_a_file_for_each_arrangement():
    assert {file.name.split(".")[0] for file in FOLDER.glob("*.launch.py")} == set(stack.ARRANGEMENTS)


@pytest.mark.parametrize("arrangement", stack.ARRANGEMENTS)
def test_all_arguments_are_declared_with_description_and_default(arrangement):
    description = get_launch_description_from_python_launch_file(path(arrangement))
    declared = {argument.name: argument for argument in description.get_launch_arguments()}
    assert list(declared) == [argument.name for argument in stack.arguments_of(arrangement)]
    for argument in stack.arguments_of(arrangement):
        assert argument.description in declared[argument.name].description
        default = "".join(part.text for part in declared[argument.name].default_value)
        assert default == argument.default_in(arrangement)


@pytest.mark.parametrize("arrangement", stack.ARRANGEMENTS)
def test_nodes_are_those_of_the_list(arrangement):
    actions, _ = expanded(arrangement)
    assert names(actions) == [entry.executable for entry in stack.nodes(arrangement, stack.parse(arrangement, {}))]


def test_discovery_range():
    for arrangement, expected in (("desktop", "SUBNET"), ("pi", "SUBNET")):
        _, context = expanded(arrangement)
        assert context.environment["ROS_AUTOMATIC_DISCOVERY_RANGE"] == expected


def test_arguments_switch_nodes():
    actions, _ = expanded("sim", monitor="false", trainer="true", status="false")
    assert names(actions) == ["env_node", "policy_node", "trainer_node"]


@pytest.mark.parametrize("given, sentence", [({"num_envs": "abc"}, "num_envs must be a whole number"),
                                             ({"namespace": "1st"}, "namespace must be a ROS name")])
def test_wrong_values_get_the_same_sentence(given, sentence):
    with pytest.raises(ArgumentError, match=sentence):
        expanded("sim", **given)


@pytest.mark.parametrize("name, code, ends", [
    ("env", 0, True), ("env", -9, True), ("policy", 2, True), ("policy", -9, False), ("policy", 1, False)])
def test_whose_end_ends_the_stack(name, code, ends):
    entry = {entry.name: entry for entry in stack.nodes("sim", stack.parse("sim", {}))}[name]
    event = ProcessExited(action=None, name=name, cmd=[], cwd=None, env=None, pid=1, returncode=code)
    actions = launch_actions._ended(entry, event, launch.LaunchContext())
    assert [isinstance(action, EmitEvent) for action in actions] == [True] * ends


def ros2_launch(*words):
    code = "import sys; from ros2cli.cli import main; sys.exit(main())"
    return start([sys.executable, "-c", code, "launch", *words], ROS_AUTOMATIC_DISCOVERY_RANGE="LOCALHOST")


def test_show_args():
    pytest.importorskip("ros2launch", reason="the command ros2 launch is not installed")
    _, output = finish(ros2_launch("ant_rl", "sim.launch.py", "--show-args"))
    for argument in stack.arguments_of("sim"):
        assert f"'{argument.name}':\n        {argument.description}" in output


def test_an_unknown_argument_is_refused():
    pytest.importorskip("ros2launch", reason="the command ros2 launch is not installed")
    code, output = finish(ros2_launch("ant_rl", "sim.launch.py", "num_env:=2"))
    assert code != 0
    assert "sim has no argument num_env; did you mean num_envs?" in output


def test_a_whole_run_ends_by_itself(tmp_path):
    """Env, policy, monitor and status for 200 ticks: the env's end is the stack's."""
    pytest.importorskip("ros2launch", reason="the command ros2 launch is not installed")
    summary = tmp_path / "summary.json"
    process = ros2_launch("ant_rl", "sim.launch.py", "steps:=200", f"summary:={summary}")
    code, output = finish(process, timeout_s=120)
    assert code == 0, output
    assert json.loads(summary.read_text())["ticks"] >= 200


def test_sigint_stops_all_nodes():
    pytest.importorskip("ros2launch", reason="the command ros2 launch is not installed")
    process = ros2_launch("ant_rl", "sim.launch.py")
    read_until(process, "ticks/s, round trip")
    nodes = descendants(process)
    assert len(nodes) == 4
    code, output = finish(process, signal.SIGINT)
    assert code == 0, output
    assert "Summary" in output
    assert_gone(nodes)
