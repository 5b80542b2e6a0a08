"""`./run` itself: what it refuses, what it finds missing, and what it takes for done."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "setup"))  # a program, no package: its modules are found there alone

import environment as environments  # noqa: E402
import prerequisites  # noqa: E402
import report  # noqa: E402
import surroundings  # noqa: E402
import workspace as workspaces  # noqa: E402


def run(*arguments: str, at: Path = ROOT, **variables: str) -> subprocess.CompletedProcess[str]:
    """Call ./run without a ROS 2 sourced, with no terminal and nothing on stdin."""
    environ = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ} | variables
    return subprocess.run([at / "run", *arguments], env=environ, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("arguments, variables, said", [
    (["exec", "true"], {"ROS_FROM": "humble"}, "ROS_FROM is kilted, jazzy or system, not 'humble'"),
    (["exec", "true"], {"ROS_FROM": "system"}, "ROS_FROM=system needs a sourced ROS 2"),
    (["exec"], {}, "exec needs a command"),
    (["exec", "true"], {"PYTHON": "/no/python3"}, "Python 3.10 to 3.13 is needed and there is no working /no"),
])
def test_what_cannot_be_is_refused_in_one_sentence(arguments, variables, said):
    result = run(*arguments, **variables)
    assert (result.returncode, result.stdout) == (2, "")
    assert said in result.stderr and result.stderr.count("\n") == 1


def test_a_checkout_with_a_space_in_its_path_is_refused(tmp_path):
    folder = tmp_path / "a checkout"
    folder.mkdir()
    shutil.copy(ROOT / "run", folder)
    result = run("setup", at=folder)
    assert result.returncode == 2 and "has a space or a colon" in result.stderr


# What is missing from the system


@pytest.fixture
def machine(monkeypatch):
    """A machine with these programs only, as this user."""
    def set_up(programs: list[str], user: int) -> None:
        monkeypatch.setattr(prerequisites.shutil, "which", lambda name: name if name in programs else None)
        monkeypatch.setattr(prerequisites.os, "geteuid", lambda: user)
        monkeypatch.setattr(prerequisites.sys, "base_prefix", "/usr")
        monkeypatch.delenv("CXX", raising=False)
    return set_up


def test_a_missing_compiler_is_found(machine):
    machine([], 0)
    assert prerequisites.COMPILER in prerequisites.missing(environment_exists=True)
    machine(["g++"], 0)
    assert prerequisites.COMPILER not in prerequisites.missing(environment_exists=True)


@pytest.mark.parametrize("programs, user, said", [
    (["apt-get"], 1000, "type: sudo apt-get install -y --no-install-recommends g++ python"),
    (["dnf"], 0, "type: sudo dnf install -y gcc-c++ python3-devel"),
    (["pacman"], 0, "install it with this system's package manager"),
    ([], 0, "install it with this system's package manager"),
])
def test_what_is_missing_is_named_with_the_command(machine, tmp_path, programs, user, said):
    machine(programs, user)
    with pytest.raises(report.SetupError, match="a C.* compiler and Python's headers not found") as error:
        prerequisites.provide([prerequisites.COMPILER, prerequisites.HEADERS], tmp_path / "log")
    assert said in str(error.value)


def test_root_on_debian_installs_what_is_missing(machine, tmp_path, monkeypatch):
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    (bin_folder / "apt-get").write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/called\n')
    (bin_folder / "apt-get").chmod(0o755)
    monkeypatch.setenv("PATH", f"{bin_folder}:{os.environ['PATH']}")
    machine(["apt-get"], 0)
    prerequisites.provide([prerequisites.COMPILER, prerequisites.VENV], tmp_path / "log")
    assert (tmp_path / "called").read_text().splitlines() == [
        "update", f"install -y --no-install-recommends g++ python{prerequisites.python_version()}-venv"]


@pytest.mark.parametrize("distro, programs, user, called", [
    ("debian", ["apt-get"], 0, ["update", "install -y --no-install-recommends chromium xvfb libegl1 libgl1-mesa-dri"]),
    ("debian", ["apt-get", "google-chrome", "Xvfb"], 0,
     ["update", "install -y --no-install-recommends libegl1 libgl1-mesa-dri"]),
    ("debian", ["apt-get"], 1000, []), ("ubuntu", ["apt-get"], 0, []), ("fedora", ["dnf"], 0, [])])
def test_root_on_debian_gets_what_tests_look_with(machine, tmp_path, monkeypatch, capfd, distro, programs, user,
                                                  called):
    apt_get = tmp_path / "apt-get"
    apt_get.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/called\n')
    apt_get.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(prerequisites.platform, "freedesktop_os_release", lambda: {"ID": distro})
    monkeypatch.setattr(prerequisites, "find_library", lambda name: None)
    machine(programs, user)
    prerequisites.provide_for_tests(tmp_path / "log")
    found = tmp_path / "called"
    assert (found.read_text().splitlines() if found.exists() else []) == called
    apt_get.write_text("#!/bin/sh\nexit 1\n")
    prerequisites.provide_for_tests(tmp_path / "log")  # what can't be had is no failure
    assert ("tests of pages and pictures will be skipped" in capfd.readouterr().err) == bool(called)


def test_a_command_that_fails_shows_its_last_lines(tmp_path, capfd):
    with pytest.raises(report.SetupError, match="counting failed: .* exited with 3; .*log"):
        report.run_logged("counting", ["sh", "-c", "seq 100; exit 3"], tmp_path / "log")
    shown = capfd.readouterr().err.splitlines()
    assert shown[0] == "run: counting" and shown[1:] == [str(n) for n in range(86, 101)]


# What is done and what is not


@pytest.fixture
def package(tmp_path):
    folder = tmp_path / "src" / "some"
    for name in ("package.xml", "setup.py", "some/module.py", "msg/A.msg", "launch/a.launch.py", "test/a.py"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("before")
    return folder


@pytest.mark.parametrize("changed", ["package.xml", "setup.py", "msg/A.msg", "msg/B.msg", "launch/b.py"])
def test_a_package_is_built_again_when_its_build_depends_on_the_change(package, changed):
    before = workspaces.package_digest(package)
    (package / changed).write_text("after")
    assert workspaces.package_digest(package) != before


@pytest.mark.parametrize("changed", ["some/module.py", "some/new.py", "launch/a.launch.py", "test/test_b.py"])
def test_an_edited_module_needs_no_build(package, changed):
    before = workspaces.package_digest(package)
    (package / changed).write_text("after")
    assert workspaces.package_digest(package) == before


@pytest.fixture
def done(tmp_path):
    """A checkout whose environment is complete, as far as its state tells."""
    shutil.copytree(ROOT / "requirements", tmp_path / "requirements")
    (tmp_path / "ros2_ws" / "src").mkdir(parents=True)
    made = environments.Environment(tmp_path, "kilted")
    made.python.parent.mkdir(parents=True)
    made.python.symlink_to(sys.executable)
    made.state = environments.State(root=str(tmp_path), python=environments.this_python(),
                                    installed=made.wanted(), underlay=made.underlay())
    made.save()
    return made


def test_a_complete_environment_is_left_alone(done):
    assert environments.Environment(done.root, "kilted").is_done()


@pytest.mark.parametrize("change", [{"installing": True}, {"root": "/elsewhere"}, {"python": "3.9 /usr"}])
def test_a_half_installed_or_moved_environment_is_made_anew(done, change):
    done.state = environments.State(**{**vars(done.state), **change})
    done.save()
    found = environments.Environment(done.root, "kilted")
    assert found.is_spoilt()
    found.remove()
    assert not found.folder.exists() and not list(done.root.glob(".venv*"))


@pytest.mark.parametrize("text", ["", '{"root": ', "[]", '{"rooot": ""}', '{"root": "\xff"}'])
def test_a_state_that_can_not_be_read_is_no_state(done, text):
    (done.folder / "state.json").write_bytes(text.encode("latin-1"))
    found = environments.Environment(done.root, "kilted")
    assert not found.is_done() and not found.is_spoilt()


def test_a_folder_of_that_name_that_is_something_else_is_not_deleted(tmp_path):
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "thesis.tex").touch()
    with pytest.raises(report.SetupError, match="is not a Python environment: move it away"):
        environments.Environment(tmp_path, "kilted").remove()
    assert (tmp_path / ".venv" / "thesis.tex").exists()


@pytest.mark.parametrize("changed", ["pi", "desktop", "lint", "dev", "ros-kilted", "constraints"])
def test_a_changed_requirement_is_installed(done, changed):
    with open(done.root / "requirements" / f"{changed}.txt", "a") as file:
        file.write("more==1.0\n")
    assert not environments.Environment(done.root, "kilted").is_done()


def test_nothing_of_a_sourced_ros_leaks_into_that_of_wheels(done, monkeypatch):
    monkeypatch.setenv("AMENT_PREFIX_PATH", "/opt/ros/jazzy")
    monkeypatch.setenv("PYTHONPATH", "/opt/ros/jazzy/lib/python3.12/site-packages:/own")
    monkeypatch.setenv("LD_LIBRARY_PATH", "/opt/ros/jazzy/lib:/usr/local/cuda/lib64")
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "SUBNET")
    variables = done.variables()
    assert not [name for name, value in variables.items() if "/opt/ros" in value]
    assert variables["LD_LIBRARY_PATH"].endswith(":/usr/local/cuda/lib64")
    assert variables["ROS_AUTOMATIC_DISCOVERY_RANGE"] == "SUBNET"
    monkeypatch.delenv("ROS_AUTOMATIC_DISCOVERY_RANGE")
    assert done.variables()["ROS_AUTOMATIC_DISCOVERY_RANGE"] == "LOCALHOST"


ELSEWHERE = ["/home/me/gymnasium", "/opt/ros/noetic/lib/python3/dist-packages"]


def test_of_python_s_paths_only_our_own_are_there(done, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", ":".join(ELSEWHERE))
    monkeypatch.setenv("CMAKE_PREFIX_PATH", "/opt/conda")
    variables = done.variables()
    assert variables["PYTHONPATH"] == str(done.workspace.site_packages)
    assert variables["CMAKE_PREFIX_PATH"] == f"{done.workspace.install}:{done.folder}"
    assert variables["PYTHONNOUSERSITE"] == "1"


def test_a_sourced_ros_keeps_its_own_paths_and_those_of_its_workspaces(done, monkeypatch):
    ours = ["/opt/ros/jazzy/lib/python3.12/site-packages", "/ws/install/mine/lib/python3.12/site-packages",
            "/ws/build/mine"]
    monkeypatch.setenv("AMENT_PREFIX_PATH", "/ws/install/mine:/opt/ros/jazzy")
    monkeypatch.setenv("PYTHONPATH", ":".join([*ELSEWHERE, *ours, "/ws/built"]))
    found = environments.Environment(done.root, "system").variables()["PYTHONPATH"]
    assert found.split(":")[1:] == ours


# How it is called


@pytest.fixture
def shell(done):
    """A checkout whose environment is complete and holds this Python; what is printed there is what it was told."""
    shutil.copy(ROOT / "run", done.root)
    shutil.copytree(ROOT / "setup", done.root / "setup")
    return done.root


@pytest.mark.parametrize("variables", [{"CDPATH": ".:/tmp:/"}, {"CDPATH": "/"},
                                       {"BASH_FUNC_cd%%": "() { echo elsewhere; }"}])
def test_what_the_shell_does_with_cd_does_not_matter(shell, variables):
    found = run("exec", "printenv", "VIRTUAL_ENV", at=shell, **variables)
    assert (found.returncode, found.stdout) == (0, f"{shell}/.venv\n"), found.stderr


def test_links_lead_to_the_checkout(shell, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "bin").mkdir()
    (elsewhere / "ant").symlink_to(os.path.relpath(shell / "run", elsewhere))
    (elsewhere / "bin" / "walk").symlink_to("../ant")
    for words in ([elsewhere / "bin" / "walk"], ["walk"], ["bash", "bin/walk"]):
        found = subprocess.run([*words, "exec", "printenv", "VIRTUAL_ENV"], cwd=elsewhere, text=True,
                               capture_output=True, env={"PATH": f"{elsewhere}/bin:{os.environ['PATH']}"}, timeout=60)
        assert (found.returncode, found.stdout) == (0, f"{shell}/.venv\n"), found.stderr


def test_variables_that_decide_what_python_runs_are_taken_back(shell):
    hostile = {name: "1" for name in surroundings.NOT_TAKEN_OVER} | {"PYTHONPATH": ELSEWHERE[0]}
    found = run("exec", "env", at=shell, PYTHONUTF8="1", **hostile)
    assert found.returncode == 0, found.stderr
    there = dict(line.split("=", 1) for line in found.stdout.splitlines())
    assert not there.keys() & surroundings.NOT_TAKEN_OVER and there["PYTHONUTF8"] == "1"
    assert ELSEWHERE[0] not in there["PYTHONPATH"]
