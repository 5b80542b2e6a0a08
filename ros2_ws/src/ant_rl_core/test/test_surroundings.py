"""What is around a program: settings of ROS that can't be, and libraries that keep ours."""

import os
import subprocess
import sys

import pytest

from ant_rl_core.settings import ArgumentError
from ant_rl_core.surroundings import places, ros
from ant_rl_core.surroundings.python import module_command


@pytest.fixture
def usual(tmp_path):
    """What ROS finds on an ordinary machine."""
    index = tmp_path / "ros" / "share" / "ament_index" / "resource_index" / "rmw_typesupport"
    index.mkdir(parents=True)
    for name in ("rmw_fastrtps_cpp", "rmw_implementation"):
        (index / name).touch()
    return {"HOME": str(tmp_path), "AMENT_PREFIX_PATH": f"{tmp_path}/none:{tmp_path}/ros"}


@pytest.mark.parametrize("more", [
    {}, {"RMW_IMPLEMENTATION": "rmw_fastrtps_cpp"}, {"RMW_IMPLEMENTATION": ""}, {"ROS_DOMAIN_ID": "0"},
    {"ROS_DOMAIN_ID": "232"}, {"ROS_DOMAIN_ID": ""}, {"ROS_AUTOMATIC_DISCOVERY_RANGE": "SUBNET"}])
def test_what_is_usual_is_left_alone(usual, more):
    assert ros.variables({**usual, **more}) == {}


@pytest.mark.parametrize("given, added", [
    ({}, {"FASTDDS_BUILTIN_TRANSPORTS": "UDPv4"}),
    ({"ROS_AUTOMATIC_DISCOVERY_RANGE": "SUBNET", "FASTDDS_DEFAULT_PROFILES_FILE": "fastdds.xml"},
     {"FASTDDS_BUILTIN_TRANSPORTS": "UDPv4"}),
    ({"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST", "FASTDDS_DEFAULT_PROFILES_FILE": "fastdds.xml"},
     {"ROS_AUTOMATIC_DISCOVERY_RANGE": "SYSTEM_DEFAULT", "FASTDDS_DEFAULT_PROFILES_FILE": "fastdds_local.xml"}),
    ({"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST", "FASTRTPS_DEFAULT_PROFILES_FILE": "fastrtps.xml"},
     {"ROS_AUTOMATIC_DISCOVERY_RANGE": "SYSTEM_DEFAULT", "FASTRTPS_DEFAULT_PROFILES_FILE": "fastrtps_local.xml"}),
    # What the user has decided.
    ({"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST", "FASTDDS_DEFAULT_PROFILES_FILE": "mine.xml"}, {}),
    ({"FASTDDS_BUILTIN_TRANSPORTS": "LARGE_DATA"}, {}),
    ({"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}, {})])  # our profiles are not at hand
def test_a_node_sends_by_udp_alone(usual, tmp_path, given, added):
    folder = tmp_path / "ant_rl" / "config"
    folder.mkdir(parents=True)
    for name in ("fastdds", "fastrtps"):
        (folder / f"{name}.xml").touch()
    (tmp_path / "mine.xml").touch()

    def placed(variables):
        places = {"mine.xml": tmp_path}
        return {name: str(places.get(value, folder) / value) if value.endswith(".xml") else value
                for name, value in variables.items()}
    found = ros.node_variables({**usual, **placed(given)})
    assert found == placed(added)
    assert ros.stays_here({**usual, **placed(given), **found}) == (given.get(
        "ROS_AUTOMATIC_DISCOVERY_RANGE") == "LOCALHOST")


@pytest.mark.parametrize("more, said", [
    ({"RMW_IMPLEMENTATION": "rmw_cyclonedds_cpp"}, r"is installed \(rmw_fastrtps_cpp\), found rmw_cyclonedds_cpp: "),
    ({"RMW_IMPLEMENTATION": "rmw_implementation"}, "found rmw_implementation"),
    ({"ROS_DOMAIN_ID": "300"}, "ROS_DOMAIN_ID must be a whole number from 0 to 232, found 300"),
    ({"ROS_DOMAIN_ID": "233"}, "found 233"), ({"ROS_DOMAIN_ID": "-1"}, "found -1"),
    ({"ROS_DOMAIN_ID": "abc"}, "found abc"), ({"ROS_DOMAIN_ID": "1.5"}, "found 1.5"),
    ({"ROS_DOMAIN_ID": "٣"}, "found ٣"),
    ({"ROS_DOMAIN_ID": "9" * 30}, "found 9999"),
    ({"ROS_AUTOMATIC_DISCOVERY_RANGE": "OFF"}, "keeps the nodes from finding each other: unset it"),
    ({"ROS_AUTOMATIC_DISCOVERY_RANGE": "subnet"}, "must be LOCALHOST or SUBNET or .*, found subnet"),
    ({"FASTDDS_DEFAULT_PROFILES_FILE": "/no/such.xml"}, "must be a file that can be read, found /no/such.xml"),
    ({"ROS_SECURITY_ENABLE": "true"}, "needs a keystore"),
    ({"ROS_LOG_DIR": "/proc/1/log"}, "ROS_LOG_DIR must be a folder that can be written, found /proc/1/log"),
    ({"ROS_HOME": "/dev/null"}, "ROS_HOME must be a folder that can be written, found /dev/null")])
def test_what_ros_can_not_run_with_gets_a_sentence(usual, more, said):
    with pytest.raises(ArgumentError, match=said) as error:
        ros.variables({**usual, **more})
    assert "\n" not in str(error.value)


def test_a_node_alone_may_be_kept_apart(usual):
    assert ros.variables({**usual, "ROS_AUTOMATIC_DISCOVERY_RANGE": "OFF"}, together=False) == {}


@pytest.mark.parametrize("home", [{}, {"HOME": ""}, {"HOME": "/proc"}, {"HOME": "/dev/null"}, {"HOME": "/proc/nobody"}])
def test_without_a_home_logs_go_to_a_folder_for_temporary_files(usual, tmp_path, monkeypatch, home):
    monkeypatch.setattr(places.tempfile, "gettempdir", lambda: str(tmp_path))
    del usual["HOME"]
    assert ros.variables({**usual, **home}) == {"ROS_LOG_DIR": f"{tmp_path}/ant_rl-{os.getuid()}/log"}
    monkeypatch.setattr(places.tempfile, "gettempdir", lambda: "/proc")
    with pytest.raises(ArgumentError, match="set ROS_LOG_DIR to one"):
        ros.variables({**usual, **home})


def test_variables_that_part_nodes_are_named():
    own = {"ROS_DOMAIN_ID": "0", "FASTDDS_DEFAULT_PROFILES_FILE": "/x/share/ant_rl/config/fastdds.xml", "HOME": "/"}
    assert ros.apart(own) == ""
    assert ros.apart({**own, "ROS_DISCOVERY_SERVER": "10.0.0.1:11811", "ROS_DOMAIN_ID": "7"}) == (
        "; these may keep it from others: ROS_DOMAIN_ID=7, ROS_DISCOVERY_SERVER=10.0.0.1:11811")


def test_a_module_runs_without_what_lies_around(tmp_path):
    """In Python 3.10 too, which has no -P: as without PYTHONSAFEPATH."""
    for name in ("random", "runpy", "json", "tool"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('taken from the current folder')")
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    done = subprocess.run([*module_command("json.tool"), "--json-lines"], cwd=tmp_path, env=variables, input="{}",
                          capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "{}\n"), done.stderr


def settings_in(code, **variables):
    return subprocess.run([sys.executable, "-c", f"import os\n{code}"], env={**os.environ, **variables}, text=True,
                          capture_output=True, timeout=60)


@pytest.mark.parametrize("before, after", [("osmesa", None), ("nonsense", None), ("disable", "disable"),
                                           ("glfw", "glfw"), ("", "")])
def test_only_a_way_of_drawing_that_is_there_is_kept(before, after):
    code = ("import ant_rl_core.surroundings.libraries as libraries\nlibraries.find_library = lambda name: None\n"
            "libraries.let_mujoco_be_imported()\nprint(os.environ.get('MUJOCO_GL'))")
    assert settings_in(code, MUJOCO_GL=before).stdout == f"{after}\n"
