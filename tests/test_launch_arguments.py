"""A launch argument and the parameter of the node that gets it say the same.

The bring-up imports none of the nodes, as some are absent on a Raspberry Pi, so both have to be written down.
"""

import re
from pathlib import Path

import pytest

from ant_env_node.settings import EnvSettings
from ant_rl import cli, stack
from ant_rl.node_commands import check_params_file
from ant_rl.settings import StatusSettings
from ant_rl.supervisor import Supervisor
from ant_rl_core.settings import ArgumentError, settings_of
from ant_rl_ros.params_file import settings_by_executable
from monitor_node.settings import MonitorSettings
from policy_node.settings import PolicySettings
from recorder_node.settings import RecorderSettings
from trainer.ros.settings import TrainerSettings
from viewer_node.settings import ViewerSettings

CLASSES = {"status": StatusSettings, "recorder": RecorderSettings, "viewer": ViewerSettings, "env": EnvSettings,
           "policy": PolicySettings, "trainer": TrainerSettings, "monitor": MonitorSettings}
NODES = {name: {setting.name: setting for setting in settings_of(cls)} for name, cls in CLASSES.items()}
KINDS = {"int": int, "bool": bool, "list": tuple[str, ...]}  # all others are texts

# A training over ROS begins without a policy and explores; elsewhere a policy is watched.
DEFAULTS = {"policy": {"train": ""}, "explore": {"train": "true"}}

TAKEN = [pytest.param(part.entry.name, argument, id=f"{part.entry.name}-{argument.name}-{arrangement}")
         for part in stack._PARTS for arrangement in part.arrangements for argument in stack.arguments_of(arrangement)
         if argument.name in part.arguments]


@pytest.mark.parametrize(("node", "argument"), TAKEN)
def test_an_argument_is_what_its_parameter_is(node, argument):
    setting = NODES[node][argument.name]
    assert KINDS.get(argument.kind, str) == setting.kind
    default = argument.value(argument.default)
    assert (tuple(default) if isinstance(default, list) else default) == setting.default
    assert argument.defaults == DEFAULTS.get(argument.name, {})
    if setting.kind is int:
        assert (argument.minimum, argument.maximum) == (setting.minimum, setting.maximum)
        assert setting.above is None and setting.below is None
    assert argument.choices == setting.choices
    assert argument.is_path == setting.path


@pytest.mark.parametrize("part", stack._PARTS, ids=lambda part: f"{part.entry.name}-{part.arrangements[0]}")
def test_a_node_gets_every_argument_that_is_named_as_a_parameter_of_it(part):
    named = {argument.name for argument in stack.ARGUMENTS if set(argument.arrangements) & set(part.arrangements)}
    assert set(part.arguments) == named & set(NODES[part.entry.name])


@pytest.mark.parametrize("name", ["policy", "record", "summary", "viewer_path", "output", "params_file"])
def test_a_home_is_meant_in_every_path(name, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "x").write_text("") if name == "params_file" else None
    arrangement = "train" if name == "output" else "sim"
    monkeypatch.setattr(stack.viewers, "check", lambda *_: None)
    given = {name: "~/x", **({"viewer": "rerun"} if name == "viewer_path" else {})}
    values = stack.parse(arrangement, given)
    assert values[name] == f"{tmp_path}/x"
    entries = stack.nodes(arrangement, values)
    assert name == "params_file" or any(entry.parameters.get(name) == f"{tmp_path}/x" for entry in entries)
    assert name not in {argument.name for argument in stack.ARGUMENTS if not argument.is_path}


@pytest.mark.parametrize("arrangement", stack.ARRANGEMENTS)
def test_all_that_a_node_is_given_are_parameters_of_it(arrangement, tmp_path):
    given = {"trainer": "true", "record": str(tmp_path / "bag"), "render_hz": "5"}
    known = {argument.name for argument in stack.arguments_of(arrangement)}
    entries = stack.nodes(arrangement, stack.parse(arrangement, {k: v for k, v in given.items() if k in known}))
    assert entries
    for entry in entries:
        for name, value in entry.parameters.items():
            NODES[entry.name][name].check(value)


def test_unknown_tasks_are_refused_before_the_start_with_the_nearest():
    with pytest.raises(ArgumentError, match="^tasks must be none or directions2 or .*, found tasks:=wird; did you mean "
                                            "wired[?]$"):
        stack.parse("sim", {"tasks": "wird"})
    with pytest.raises(ArgumentError, match="^task_part must be train or held_out, found task_part:=heldout"):
        stack.parse("train", {"tasks": "wired", "task_part": "heldout"})


# Parameter files


@pytest.mark.parametrize("arrangement", stack.ARRANGEMENTS)
def test_our_own_file_is_for_nodes_that_take_it(arrangement):
    own = Path(stack.__file__).resolve().parents[1] / "config" / "stack.yaml"
    entries = stack.nodes(arrangement, stack.parse(arrangement, {}))
    notes = check_params_file(str(own), entries)
    assert len(notes) == len({"env", "monitor"} - {entry.name for entry in entries})


def test_the_settings_of_every_node_are_found():
    assert settings_by_executable() == {part.entry.executable: CLASSES[part.entry.name] for part in stack._PARTS}


@pytest.mark.parametrize("text, said", [
    ("/**/environment: {ros__parameters: {torque_timeout: 0.2}}", "did you mean /r/env[?]"),
    ("/**/env: {ros__parameters: {torque_timout: 0.2}}", "the nearest one is torque_timeout"),
    ("/**/monitor: {ros__parameters: {period: '2.0'}}", "period must be a number, found '2.0'"),
    ("/**/policy: {ros__parameters: {variant: int8}}", "variant of /r/policy is set by an argument of the launch")])
def test_what_would_be_dropped_is_refused_before_the_start(tmp_path, capsys, monkeypatch, text, said):
    path = tmp_path / "params.yaml"
    path.write_text(text)
    monkeypatch.setattr(Supervisor, "run", lambda self: pytest.fail("started"))
    assert cli.main(["sim", "namespace:=r", f"params_file:={path}"]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert re.search(said, line)
