"""The packages: each package.xml names what is imported, setup.py reads it, and a robot has its half of them."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from xml.etree import ElementTree

import pytest

SOURCE = Path(__file__).resolve().parent.parent / "ros2_ws" / "src"
MANIFESTS = {path.parent.name: ElementTree.parse(path).getroot() for path in sorted(SOURCE.glob("*/package.xml"))}
PYTHON_PACKAGES = sorted(path.parent.name for path in SOURCE.glob("*/setup.py"))
# What rosdep calls Python's libraries, as far as it knows them; those it doesn't know are named in comments.
ROSDEP = {"numpy": "python3-numpy", "psutil": "python3-psutil", "yaml": "python3-yaml", "PIL": "python3-pil",
          "matplotlib": "python3-matplotlib", "tqdm": "python3-tqdm", "pytest": "python3-pytest"}
OF_ROS = {"rclpy", "ament_index_python", "launch", "launch_ros"}
# What a robot has: messages, core, bring-up, and its nodes.
ROBOT = {"ant_rl_interfaces", "ant_rl_core", "ant_rl_ros", "ant_rl", "policy_node", "monitor_node", "recorder_node"}
# Needed without being imported: the bring-up starts these; other nodes are found if they are there.
STARTED = {"ant_rl": {"policy_node", "monitor_node", "recorder_node"}}


def needed(paths):
    """Packages of this workspace and of ROS, and libraries that rosdep knows, which modules import."""
    found = set()
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                found.add(node.module.partition(".")[0])
    ours = {name for name in found if name in MANIFESTS or name in OF_ROS
            or name.endswith(("_msgs", "_srvs", "_interfaces"))}
    return ours | {ROSDEP[name] for name in found & set(ROSDEP)}


def modules(package):
    """Those of a package, and those that only tests need: its own tests, and what it has for the tests of others."""
    folder = SOURCE / package
    run = [*(folder / package).rglob("*.py"), *(folder / "launch").glob("*.py")]
    testing = [path for path in run if "testing" in path.relative_to(folder).parts]
    return [path for path in run if path not in testing], [*testing, *(folder / "test").rglob("*.py")]


def depends(package, kind):
    return [element.text for element in MANIFESTS[package].findall(kind)]


@pytest.mark.parametrize("package", PYTHON_PACKAGES)
def test_the_manifest_names_what_the_package_imports(package):
    run, test = modules(package)
    run = needed(run) - {package} | STARTED.get(package, set())
    assert depends(package, "exec_depend") == sorted(run)
    assert depends(package, "test_depend") == sorted(needed(test) - run - {package})


def test_a_robot_builds_its_half():
    """What `colcon build --packages-up-to ant_rl` builds."""
    found, wanted = set(), {"ant_rl"}
    while wanted:
        found.add(package := wanted.pop())
        kinds = ("buildtool_depend", "build_depend", "depend", "exec_depend", "test_depend")
        wanted |= {name for kind in kinds for name in depends(package, kind) if name in MANIFESTS} - found
    assert found == ROBOT


def test_a_robot_has_the_verbs_of_its_packages(tmp_path):
    """With nothing but its packages to import from."""
    for package in ROBOT:
        folder = Path(find_spec(package).origin).parent.parent
        for file in (folder / package, *folder.glob(f"{package}.egg-info"), *folder.glob(f"{package}-*.egg-info")):
            if not (tmp_path / file.name).exists():
                (tmp_path / file.name).symlink_to(file)

    def run(*words):
        done = subprocess.run([sys.executable, "-m", "ant_rl", *words], env={**os.environ, "PYTHONPATH": str(tmp_path)},
                              cwd=tmp_path, capture_output=True, text=True, timeout=60)
        return done.returncode, done.stdout + done.stderr
    code, said = run("--help")
    assert code == 0
    one_process = said[said.index("In one process:"):said.index("Around them")].rstrip().splitlines()
    assert len(one_process) == 2 and one_process[1].startswith("  repair BAG ")
    code, said = run("pi", "--help")
    assert code == 0 and said.startswith("usage: ./run pi ") and "  variant:=float32" in said
    for verb in ("eval", "video", "bench"):
        code, said = run(verb)
        assert code == 2 and f"no command {verb}; there are sim, train, desktop, pi, record, repair, help" in said
    code, said = run("train", "--help")
    assert code == 0 and "train ALGORITHM" not in said


def test_all_packages_have_one_version():
    assert len({manifest.findtext("version") for manifest in MANIFESTS.values()}) == 1


@pytest.mark.parametrize("package", PYTHON_PACKAGES)
def test_what_is_built_is_described_by_the_manifest(package, tmp_path):
    assert metadata.version(package) == MANIFESTS[package].findtext("version")
    assert "pytest; extra == \"test\"" in metadata.requires(package)  # by which colcon test knows what runs its tests
    copy, build = tmp_path / "source", tmp_path / "build"
    copy.mkdir()
    build.mkdir()
    text = (SOURCE / package / "package.xml").read_text().replace(">ant_rl maintainers<", ">others<")
    (copy / "package.xml").write_text(re.sub("<version>.*</version>", "<version>7.8.9</version>", text))
    (copy / "setup.py").write_text((SOURCE / package / "setup.py").read_text())
    (build / "setup.py").symlink_to(copy / "setup.py")  # as colcon's build folders have it
    manifest = ElementTree.parse(copy / "package.xml").getroot()
    fields = ("name", "version", "description", "license", "maintainer")
    words = [sys.executable, "setup.py", *(f"--{field}" for field in fields), "--maintainer-email"]
    done = subprocess.run(words, cwd=build, capture_output=True, text=True, timeout=60, check=True)
    said = done.stdout.splitlines()
    assert said == [*map(manifest.findtext, fields), manifest.find("maintainer").get("email")]
    assert said[1] == "7.8.9" and said[4] == "others"
