"""Each package.xml: it names what its package imports, and setup.py takes from it what it says."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib import metadata
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
# Needed without being imported: the bring-up starts these; other nodes are found if they are there.
STARTED = {"ant_rl": {"policy_node", "monitor_node", "recorder_node"}}


def needed(folders):
    """Packages of this workspace and of ROS, and libraries that rosdep knows, which the modules in `folders` import."""
    found = set()
    for path in (path for folder in folders for path in folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                found.add(node.module.partition(".")[0])
    ours = {name for name in found if name in MANIFESTS or name in OF_ROS
            or name.endswith(("_msgs", "_srvs", "_interfaces"))}
    return ours | {ROSDEP[name] for name in found & set(ROSDEP)}


def depends(package, kind):
    return [element.text for element in MANIFESTS[package].findall(kind)]


@pytest.mark.parametrize("package", PYTHON_PACKAGES)
def test_the_manifest_names_what_the_package_imports(package):
    folder = SOURCE / package
    run = needed([folder / package, folder / "launch"]) - {package} | STARTED.get(package, set())
    assert depends(package, "exec_depend") == sorted(run)
    assert depends(package, "test_depend") == sorted(needed([folder / "test"]) - run - {package})


def test_all_packages_have_one_version():
    assert len({manifest.findtext("version") for manifest in MANIFESTS.values()}) == 1


@pytest.mark.parametrize("package", PYTHON_PACKAGES)
def test_what_is_built_is_described_by_the_manifest(package, tmp_path):
    assert metadata.version(package) == MANIFESTS[package].findtext("version")
    copy, build = tmp_path / "source", tmp_path / "build"
    copy.mkdir()
    build.mkdir()
    text = (SOURCE / package / "package.xml").read_text()
    (copy / "package.xml").write_text(text.replace("<version>0.1.0<", "<version>7.8.9<").replace("ant_rl main", "other"))
    (copy / "setup.py").write_text((SOURCE / package / "setup.py").read_text())
    (build / "setup.py").symlink_to(copy / "setup.py")  # as colcon's build folders have it
    manifest = ElementTree.parse(copy / "package.xml").getroot()
    fields = ("name", "version", "description", "license", "maintainer")
    said = subprocess.run([sys.executable, "setup.py", *(f"--{field}" for field in fields), "--maintainer-email"], cwd=build,
                          capture_output=True, text=True, timeout=60, check=True).stdout.splitlines()
    assert said == [*map(manifest.findtext, fields), manifest.find("maintainer").get("email")]
    assert said[1] == "7.8.9" and said[4].startswith("other")
