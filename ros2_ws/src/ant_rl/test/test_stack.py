"""The list of arguments and nodes, and what is said about arguments that can't be used."""

import os
from pathlib import Path

import pytest

from ant_rl import stack
from ant_rl_core import viewers
from ant_rl_core.identity.names import NameTakenError
from ant_rl_core.settings import ArgumentError, split


def names(arrangement, **given):
    values = stack.parse(arrangement, given)
    return [entry.name for entry in stack.nodes(arrangement, values)]


def entry(arrangement, name, **given):
    found = {entry.name: entry for entry in stack.nodes(arrangement, stack.parse(arrangement, given))}
    return found[name]


@pytest.mark.parametrize("arrangement, expected", [
    ("sim", ["status", "env", "policy", "monitor"]),
    ("train", ["status", "env", "policy", "trainer", "monitor"]),
    ("desktop", ["status", "env", "monitor"]),
    ("pi", ["policy", "monitor"]),
    ("record", ["recorder"]),
])
def test_nodes_of_each_arrangement(arrangement, expected):
    assert names(arrangement) == expected


def test_switches():
    assert names("sim", trainer="true", monitor="false", status="false") == ["env", "policy", "trainer"]
    assert names("desktop", trainer="True") == ["status", "env", "trainer", "monitor"]
    assert names("pi", monitor="false") == ["policy"]


def test_arguments_reach_the_nodes_with_their_types():
    env = entry("sim", "env", num_envs="4", seed="7", episodes="2", steps="9", mode="realtime", shaping="true",
                tasks="wired", task_part="held_out")
    assert entry("sim", "env").parameters["shaping"] is False
    assert env.parameters == {"num_envs": 4, "seed": 7, "episodes": 2, "steps": 9, "mode": "realtime", "shaping": True,
                              "tasks": "wired", "task_part": "held_out", "listeners": 1}
    policy = entry("sim", "policy", policy="123", backend="keras", explore="true", memory_off="true")
    assert policy.parameters == {"policy": "123", "backend": "keras", "variant": "float32", "explore": True,
                                 "mode": "lockstep", "seed": 0, "memory_off": True}
    trainer = entry("train", "trainer", config="total_steps:=1000 learning_rate:=1e-4")
    assert trainer.parameters["config"] == ["total_steps:=1000", "learning_rate:=1e-4"]
    assert entry("train", "trainer").parameters["config"] == [""]


def test_the_env_waits_for_the_status_node_only_where_there_is_one():
    assert entry("sim", "env", status="false").parameters["listeners"] == 0


def test_a_recorder_beside_each_arrangement(tmp_path):
    bag = str(tmp_path / "runs" / "bag")
    assert names("sim", record=bag) == ["status", "recorder", "env", "policy", "monitor"]
    assert names("pi", record=bag) == ["recorder", "policy", "monitor"]
    found = entry("desktop", "recorder", record=bag, record_format="sqlite3", namespace="robot1")
    assert found.parameters == {"record": bag, "record_format": "sqlite3"} and found.namespace == "/robot1"
    assert found.observer and not (found.main or found.respawn or found.display)
    assert entry("sim", "env", record=bag).parameters["listeners"] == 2
    assert entry("sim", "env", record=bag, status="false").parameters["listeners"] == 1
    assert entry("pi", "policy", record=bag).parameters["listeners"] == 2 == entry(
        "sim", "policy", record=bag).parameters["listeners"]
    alone = entry("record", "recorder")
    assert alone.main and alone.parameters == {"record": "", "record_format": "mcap"}


def test_a_viewer_beside_each_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(viewers.importlib.util, "find_spec", lambda name: name)  # whether or not Rerun is installed
    path = str(tmp_path / "run.rrd")
    assert names("sim", viewer="mujoco") == ["status", "viewer", "env", "policy", "monitor"]
    assert names("desktop", render_hz="5", record=str(tmp_path / "bag")) == ["status", "recorder", "viewer", "env",
                                                                            "monitor"]
    found = entry("train", "viewer", viewer="rerun", viewer_path=path)
    assert found.parameters == {"viewer": "rerun", "viewer_path": path, "render_hz": 0}
    assert found.observer and not (found.main or found.respawn or found.display)
    assert entry("sim", "env", viewer="mujoco").parameters["listeners"] == 2
    assert entry("sim", "env", render_hz="5", status="false").parameters["listeners"] == 1


def test_main_and_respawn():
    assert entry("sim", "env").main and not entry("sim", "env").respawn
    assert entry("desktop", "env").main and entry("desktop", "env").respawn
    for name in ("policy", "monitor"):
        assert entry("sim", name).respawn and not entry("sim", name).main


@pytest.mark.parametrize("given, expected", [("", ""), ("robot1", "/robot1"), ("/fleet/robot1", "/fleet/robot1")])
def test_namespace(given, expected):
    entries = stack.nodes("sim", stack.parse("sim", {"namespace": given}))
    assert {entry.namespace for entry in entries} == {expected}


def test_train_learns_from_scratch_and_explores():
    assert entry("train", "policy").parameters["policy"] == ""
    assert entry("train", "policy").parameters["explore"] is True


@pytest.mark.parametrize("given, words", [
    ({"num_env": "3"}, ["no argument num_env", "did you mean num_envs?"]),
    ({"zzzz": "1"}, ["no argument zzzz", "policy, backend"]),
    ({"num_envs": "abc"}, ["num_envs must be a whole number of at least 1", "num_envs:=abc"]),
    ({"num_envs": "0"}, ["at least 1", "num_envs:=0"]),
    ({"num_envs": "1.5"}, ["whole number", "1.5"]),
    ({"seed": "-1"}, ["at least 0", "seed:=-1"]),
    ({"seed": "9" * 30}, ["seed must be"]),
    ({"mode": "fast"}, ["lockstep or realtime", "mode:=fast"]),
    ({"mode": "realtme"}, ["did you mean realtime?"]),
    ({"backend": "x"}, ["litert or keras", "backend:=x"]),
    ({"monitor": "yes"}, ["true or false", "monitor:=yes"]),
    ({"namespace": "1st"}, ["ROS name", "namespace:=1st"]),
    ({"namespace": "röbot"}, ["letters from a to z", "namespace:=röbot"]),
    ({"namespace": "a//b"}, ["ROS name"]), ({"namespace": "~"}, ["ROS name"]), ({"namespace": "a/"}, ["ROS name"]),
    ({"namespace": "a" * 300}, ["at most 180 characters"]),
    ({"log_level": "loud"}, ["debug or info", "log_level:=loud"]),
    ({"params_file": "/nowhere/x.yaml"}, ["file that can be read", "/nowhere/x.yaml"]),
    ({"summary": "/nowhere/x.json"}, ["folder that exists", "make /nowhere first"]),
    ({"record": "/etc"}, ["record must be a folder that does not exist yet", "/etc"]),
    ({"record": "/etc/passwd/bag"}, ["record must be in a folder that can be written", "/etc/passwd is none"]),
    ({"record_format": "bag"}, ["mcap or sqlite3", "record_format:=bag"]),
    ({"viewer": "rrun"}, ["none or rerun or mujoco", "viewer:=rrun", "did you mean rerun?"]),
    ({"viewer_path": "run.rrd"}, ["viewer_path needs viewer:=rerun", "found viewer:=none"]),
    ({"viewer": "rerun", "viewer_path": "/nowhere/a.rrd"}, ["viewer_path must be in a folder that exists"]),
    ({"render_hz": "-1"}, ["render_hz must be a whole number of at least 0"]),
])
def test_what_can_not_be_used_gets_a_sentence(given, words):
    with pytest.raises(ArgumentError) as error:
        stack.parse("sim", given)
    sentence = str(error.value)
    assert "\n" not in sentence
    for word in words:
        assert word in sentence


def test_an_argument_of_another_arrangement_is_unknown():
    with pytest.raises(ArgumentError, match="pi has no argument num_envs"):
        stack.parse("pi", {"num_envs": "2"})


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_summary_in_a_folder_that_is_read_only(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(ArgumentError, match="can be written"):
        stack.parse("sim", {"summary": str(tmp_path / "x.json")})


def test_summary_that_is_a_folder(tmp_path):
    with pytest.raises(ArgumentError, match="must be a file, found the folder"):
        stack.parse("sim", {"summary": str(tmp_path)})


def test_split():
    assert split(["a:=1", "b:=", "c:=x:=y"]) == {"a": "1", "b": "", "c": "x:=y"}


@pytest.mark.parametrize("words, sentence", [
    (["seed=1"], "did you mean seed:=1"), (["--seed"], "must look like name:=value, found --seed"),
    ([":=1"], "must look like"), (["seed:=1", "seed:=2"], "found seed twice")])
def test_split_refuses(words, sentence):
    with pytest.raises(ArgumentError, match=sentence):
        split(words)


@pytest.mark.parametrize("arrangement", stack.ARRANGEMENTS)
def test_every_argument_is_described_and_its_default_is_allowed(arrangement):
    for argument in stack.arguments_of(arrangement):
        assert len(argument.description) > 10
        argument.value(argument.default_in(arrangement))


def test_discovery_range():
    def found(arrangement, **current):
        return stack.environment(arrangement, current, Path("/c"))["ROS_AUTOMATIC_DISCOVERY_RANGE"]
    assert found("sim") == found("train") == "LOCALHOST"
    assert found("sim", ROS_AUTOMATIC_DISCOVERY_RANGE="SUBNET") == "SUBNET"
    assert found("desktop", ROS_AUTOMATIC_DISCOVERY_RANGE="LOCALHOST") == found("pi") == "SUBNET"


def test_dds_profiles():
    def found(**current):
        variables = stack.environment("sim", current, Path("/c"))
        return {name: value for name, value in variables.items() if name.endswith("PROFILES_FILE")}
    assert found(ROS_DISTRO="kilted") == {"FASTDDS_DEFAULT_PROFILES_FILE": "/c/fastdds.xml"}
    assert found(ROS_DISTRO="jazzy") == {"FASTRTPS_DEFAULT_PROFILES_FILE": "/c/fastrtps.xml"}
    assert found(FASTDDS_DEFAULT_PROFILES_FILE=__file__) == {}
    # Of a process that runs within ours.
    own = Path(__file__).parents[1] / "config" / "fastdds_local.xml"
    assert own.is_file()
    assert found(FASTDDS_DEFAULT_PROFILES_FILE=str(own)) == {"FASTDDS_DEFAULT_PROFILES_FILE": "/c/fastdds.xml"}


def test_a_run_has_its_names_to_itself_and_a_second_monitor_is_left_out():
    here = {"ROS_DOMAIN_ID": f"test {os.getpid()}"}

    def claimed(arrangement, **given):
        claim, entries = stack.claim(stack.nodes(arrangement, stack.parse(arrangement, given)), here)
        return claim, [entry.name for entry in entries]

    first, _ = claimed("sim")
    with first:
        for arrangement in ("sim", "train", "desktop", "pi"):
            with pytest.raises(NameTakenError, match="a node /(status|env|policy) runs in ROS domain .* already"):
                claimed(arrangement)
        other, nodes = claimed("sim", namespace="robot2")
        with other:
            assert nodes == ["status", "env", "policy", "monitor"]
        beside, nodes = claimed("record")
        with beside:
            assert nodes == ["recorder"]
            with pytest.raises(NameTakenError, match="a node /recorder runs"):
                claimed("record")
    pi, _ = claimed("pi")
    with pi:
        desktop, nodes = claimed("desktop")
        assert nodes == ["status", "env"]
        desktop.close()
