"""One environment folder: its Python packages, its build of the workspace, and the variables to run with."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import prerequisites
from report import SetupError, discard, locked, run_logged, say
from surroundings import entries, is_in, workspaces
from workspace import Workspace, digest

WHEELS = ("kilted", "jazzy")
# Quick discovery among the nodes of one machine: the variable and the file by release (see the files themselves).
FAST_DDS_PROFILES = {"jazzy": ("FASTRTPS_DEFAULT_PROFILES_FILE", "fastrtps.xml"),
                     "kilted": ("FASTDDS_DEFAULT_PROFILES_FILE", "fastdds.xml")}
# Folders of packages with libraries that programs find by LD_LIBRARY_PATH before they look beside themselves.
OWN_LIBRARIES = ("mujoco", "tensorflow")


@dataclass
class State:
    """What is done in an environment folder.

    Attributes:
        root: the checkout it was made in; the scripts in it hold absolute paths.
        python: version and prefix of the interpreter it was made with.
        installing: an installation of packages began and did not end.
        installed: digest of the requirements that are installed.
        viewer: digest of the requirements of the viewer that are installed.
        underlay: which ROS 2 the workspace was built upon.
        building: packages whose build began and did not end.
        built: for each package the digest of what it was built from.
    """

    root: str = ""
    python: str = ""
    installing: bool = False
    installed: str = ""
    viewer: str = ""
    underlay: str = ""
    building: list[str] = field(default_factory=list)
    built: dict[str, str] = field(default_factory=dict)


class Environment:
    """One environment folder of a checkout.

    Args:
        root: the checkout.
        ros: kilted or jazzy for ROS 2 as wheels, system for the one that is sourced.
    """

    def __init__(self, root: Path, ros: str) -> None:
        self.root = root
        self.ros = ros
        self.folder = root / (".venv" if ros == "kilted" else f".venv-{ros}")
        self.python = self.folder / "bin" / "python"
        self.site_packages = self.folder / "lib" / f"python{prerequisites.python_version()}" / "site-packages"
        self.workspace = Workspace(root / "ros2_ws" / "src", self.folder / "ws", self.folder)
        self.state = State()
        self.load()

    def load(self) -> None:
        """Read what is done; another process may have done it since. Of a file that can't be read, nothing is."""
        file = self.folder / "state.json"
        try:
            self.state = State(**json.loads(file.read_text())) if file.exists() else State()
        except (ValueError, TypeError):
            self.state = State()

    def save(self) -> None:
        """Write what is done so that a kill at any moment leaves the old file or the new one."""
        self.folder.mkdir(exist_ok=True)
        aside = self.folder / "state.json.new"
        aside.write_text(json.dumps(asdict(self.state), indent=1) + "\n")
        aside.replace(self.folder / "state.json")

    # What there is to do

    def requirements(self) -> list[Path]:
        """Everything on x86-64; elsewhere, where ROS 2 is the system's, what a robot needs."""
        machine = "desktop" if platform.machine() == "x86_64" else "pi"
        names = [machine, "dev"] if self.ros == "system" else [f"ros-{self.ros}", machine, "dev"]
        return [self.root / "requirements" / f"{name}.txt" for name in names]

    def constraints(self) -> Path:
        """Versions of what the requirements need in turn."""
        return self.root / "requirements" / "constraints.txt"

    def wanted(self) -> str:
        """Digest of everything that decides what is installed."""
        included = [self.root / "requirements" / name for name in ("pi.txt", "lint.txt")]  # by desktop.txt, dev.txt
        files = [*self.requirements(), self.constraints(), *included]
        # Beside a ROS of the system, packages in a user's own folder were once taken for installed.
        apart = [b"without the user's packages"] if self.ros == "system" else []
        return digest(self.underlay().encode(), *apart, *(file.read_bytes() for file in files))

    def underlay(self) -> str:
        """Which ROS 2 the workspace is built upon: the wheels' versions, or the folder of the sourced one."""
        if self.ros in WHEELS:
            return digest(self.requirements()[0].read_bytes())
        marker = "share/ament_index/resource_index/packages/rclpy"
        prefixes = os.environ.get("AMENT_PREFIX_PATH", "").split(":")
        return next((prefix for prefix in prefixes if (Path(prefix) / marker).exists()), "")

    def is_spoilt(self) -> bool:
        """Whether the folder can't be built upon: half installed, of another place, or of another Python."""
        state = self.state
        return self.folder.exists() and (
            state.installing or not self.python.exists() or state.root not in ("", str(self.root))
            or state.python not in ("", this_python()))

    def is_done(self) -> bool:
        """Whether nothing is left to install or build."""
        return (not self.is_spoilt() and self.state.installed == self.wanted()
                and self.state.underlay == self.underlay() and self.state.built == self.workspace.digests())

    # Doing it

    def prepare(self, rebuild: bool = False) -> None:
        """Install and build what is not done yet; one process at a time.

        Args:
            rebuild: build every package from nothing.

        Raises:
            SetupError: something is missing or failed.
        """
        if not rebuild and self.is_done():
            return
        with locked(Path(f"{self.folder}.lock")):
            self.load()
            if self.is_spoilt():
                self.remove()
            if self.state.installed != self.wanted():
                self.install()
            gone = set(self.state.built) - set(self.workspace.digests())
            if rebuild or gone or self.state.underlay != self.underlay():
                self.workspace.remove()
                self.state.built, self.state.underlay = {}, self.underlay()
            self.build()

    def remove(self) -> None:
        """Delete the folder, if it is an environment."""
        if not any((self.folder / name).exists() for name in ("pyvenv.cfg", "state.json")):
            raise SetupError(f"{self.folder} is not a Python environment: move it away and run again")
        say(f"{self.folder.name} is unfinished or was made elsewhere or with another Python; making it anew")
        discard(self.folder)
        self.state = State()

    def install(self) -> None:
        """Make the virtual environment if there is none, and install the requirements into it."""
        if self.ros in WHEELS:
            prerequisites.check_platform()
        prerequisites.provide(prerequisites.missing(self.python.exists()), Path(f"{self.folder}.apt.log"))
        self.state.root, self.state.python, self.state.installing = str(self.root), this_python(), True
        self.save()
        log = self.folder / "install.log"
        is_new = not self.python.exists()
        if is_new:
            shared = ["--system-site-packages"] if self.ros == "system" else []
            run_logged(f"making {self.folder.name}",
                       [prerequisites.base_python(), "-I", "-m", "venv", *shared, str(self.folder)], log)
        if self.ros == "system" and not self.has_rclpy():
            raise SetupError("the sourced ROS 2 can't be imported in Python "
                             f"{prerequisites.python_version()}: name the Python that it is for, such as "
                             "PYTHON=/usr/bin/python3 ./run setup")
        ros = f"ROS 2 {self.ros.title()}, " if self.ros in WHEELS else ""
        try:
            self.pip_install(f"installing {ros}TensorFlow, MuJoCo into {self.folder.name} (2 GB; takes minutes)",
                             self.requirements(), log)
        except SetupError:
            # pip finds and downloads everything before it changes anything: what was whole before still is.
            self.state.installing = is_new
            self.save()
            raise
        if self.ros in WHEELS:
            self.repair_cmake_files()
        self.state.installed, self.state.installing = self.wanted(), False
        self.save()

    def pip_install(self, what: str, requirements: list[Path], log: Path) -> None:
        """Install files of requirements, with the constraints."""
        files = [part for file in requirements for part in ("-r", str(file))]
        run_logged(what, [str(self.python), "-I", "-m", "pip", "install", "--disable-pip-version-check", "--no-input",
                          *files, "-c", str(self.constraints())], log, self.variables())

    def provide_viewer(self) -> None:
        """Install what viewer:=rerun needs, which is large and which only tests need in any case."""
        file = self.root / "requirements" / "viewer.txt"
        wanted = digest(file.read_bytes())
        if self.state.viewer == wanted or platform.machine() != "x86_64":
            return
        with locked(Path(f"{self.folder}.lock")):
            self.load()
            if self.state.viewer != wanted:
                self.pip_install("installing the viewer that tests look into (230 MB)", [file],
                                 self.folder / "install.log")
                self.state.viewer = wanted
                self.save()

    def has_rclpy(self) -> bool:
        """Whether the environment's Python can import the sourced ROS 2."""
        return subprocess.run([self.python, "-c", "import rclpy"], cwd=self.folder, capture_output=True,
                              env={**os.environ, **self.variables(built=False)}).returncode == 0

    def repair_cmake_files(self) -> None:
        """Point the wheels' CMake files to this Python: they name folders of where they were built."""
        include, site = sysconfig.get_path("include"), str(self.site_packages)
        for pattern in ("share/*/cmake/*.cmake", "lib/cmake/**/*.cmake"):
            for file in self.folder.glob(pattern):
                text = file.read_text()
                if "/opt/python/" in text:
                    text = re.sub(r'/opt/python/[^/;"]+/include/python[\d.]+', include, text)
                    file.write_text(re.sub(r'/opt/python/[^/;"]+/lib/python[\d.]+/site-packages', site, text))

    def build(self) -> None:
        """Build the packages whose input changed."""
        state = self.state
        digests = self.workspace.digests()
        changed = sorted(name for name in digests if state.built.get(name) != digests[name])
        if not changed:
            self.save()
            return
        self.workspace.unbuild(state.building)
        state.building = changed
        state.built = {name: state.built[name] for name in state.built if name not in changed}
        self.save()
        try:
            self.workspace.build(changed, self.folder / "build.log", self.variables(built=False))
        except SetupError:
            state.building = []  # it ended, if badly: what was compiled can be built upon
            self.save()
            raise
        state.building, state.built = [], {**state.built, **{name: digests[name] for name in changed}}
        self.save()

    # What to run with

    def variables(self, built: bool = True) -> dict[str, str]:
        """The variables that a program of the stack runs with: as by sourcing setup.bash, in no time.

        Args:
            built: with the built workspace; else what it is built with.
        """
        # A ROS 2 that is sourced must not leak into one of wheels; our own folders are put in anew.
        sourced = entries("AMENT_PREFIX_PATH")
        left_out = [str(self.folder), *(sourced if self.ros in WHEELS else [])]

        def path(name: str, *first: Path, rest: Sequence[str] | None = None) -> str:
            rest = [entry for entry in (entries(name) if rest is None else rest) if not is_in(entry, left_out)]
            return ":".join([*map(str, first), *rest])

        wheels = [self.folder] if self.ros in WHEELS else []
        prefixes = [self.workspace.install, *wheels] if built else wheels
        libraries = [prefix / "lib" for prefix in prefixes]
        values = {
            "ROS_FROM": self.ros,
            "VIRTUAL_ENV": str(self.folder),
            "PATH": path("PATH", self.folder / "bin"),
            "AMENT_PREFIX_PATH": path("AMENT_PREFIX_PATH", *prefixes),
            "CMAKE_PREFIX_PATH": path("CMAKE_PREFIX_PATH", *prefixes, rest=[] if wheels else None),
            # Of other people's modules only those of the ROS that is sourced: a clone of Gymnasium would be taken
            # for ours, ROS 1 for ROS 2.
            "PYTHONPATH": path("PYTHONPATH", *([self.workspace.site_packages] if built else []),
                               rest=[] if wheels else [entry for entry in entries("PYTHONPATH")
                                                       if is_in(entry, workspaces(sourced))]),
            "PYTHONNOUSERSITE": "1",
            "ROS_AUTOMATIC_DISCOVERY_RANGE": os.environ.get("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST"),
        }
        if self.ros in WHEELS:
            libraries += sorted(self.site_packages.glob("ros_*.libs"))
            # Without the last one each Python of the wheels starts itself again, to set LD_LIBRARY_PATH.
            values |= {"ROS_DISTRO": self.ros, "ROS_VERSION": "2", "ROS_PYTHON_VERSION": "3",
                       "_ROS_WHEELS_BOOTSTRAP_COMPLETE": "1"}
        if not built:
            values["COLCON_HOME"] = str(self.folder / "colcon")  # a user's defaults and mixins are for their packages
        if built and not os.environ.keys() & {variable for variable, _ in FAST_DDS_PROFILES.values()}:
            distro = self.ros if self.ros in WHEELS else os.environ.get("ROS_DISTRO", "")
            variable, file = FAST_DDS_PROFILES["jazzy" if distro == "jazzy" else "kilted"]
            values[variable] = str(self.workspace.install / "share" / "ant_rl" / "config" / file)
        libraries += [self.site_packages / name for name in OWN_LIBRARIES]
        return {**values, "LD_LIBRARY_PATH": path("LD_LIBRARY_PATH", *libraries)}


def this_python() -> str:
    """Version and prefix of the interpreter that runs; an environment is good for no other."""
    return f"{prerequisites.python_version()} {sys.base_prefix}"
