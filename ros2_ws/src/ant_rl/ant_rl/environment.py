"""Makes the environment that the stack runs in, builds the workspace, and prints the variables to run with.

`./run` calls this file as a plain script before anything is installed, so it needs nothing but the standard library.
One folder holds one environment: `.venv` for ROS 2 Kilted as wheels, `.venv-jazzy` for Jazzy as wheels, `.venv-system`
for a ROS 2 that is already sourced. In it lie the Python packages, the build of `ros2_ws` (`ws/`), the logs of both,
and `state.json`, which says what is done; deleting the folder undoes all of it.

Messages for people go to stderr; stdout carries `export NAME=VALUE` lines for the shell that calls.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import platform
import re
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Iterator, Mapping, Sequence

BUILD_FILES = {"package.xml", "setup.py", "setup.cfg", "CMakeLists.txt"}
INTERFACE_SUFFIXES = {".msg", ".srv", ".action"}
WHEELS = ("kilted", "jazzy")
# How each package manager installs, and what it calls what the build needs ({} is the Python version where it matters).
PACKAGE_MANAGERS = {
    "apt-get": {"install": "apt-get install -y --no-install-recommends",
                "a C++ compiler": "g++", "Python's headers": "python{}-dev", "Python's venv module": "python{}-venv"},
    "dnf": {"install": "dnf install -y", "a C++ compiler": "gcc-c++", "Python's headers": "python3-devel"},
    "zypper": {"install": "zypper install -y", "a C++ compiler": "gcc-c++", "Python's headers": "python3-devel"},
    "pacman": {"install": "pacman -S --noconfirm", "a C++ compiler": "gcc"},
}


class SetupError(Exception):
    """What is missing or failed, in one sentence that says what to do."""


def say(text: str) -> None:
    """One line for the person who waits."""
    print(f"run: {text}", file=sys.stderr, flush=True)


@dataclass
class State:
    """What is done in an environment folder.

    Attributes:
        root: the checkout it was made in; the scripts in it hold absolute paths.
        python: version and prefix of the interpreter it was made with.
        installing: an installation of packages began and did not end.
        installed: digest of the requirements that are installed.
        building: packages whose build began and did not end.
        built: for each package the digest of the files it was built from.
    """

    root: str = ""
    python: str = ""
    installing: bool = False
    installed: str = ""
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
        self.workspace = self.folder / "ws"
        self.source = root / "ros2_ws" / "src"
        self.python = self.folder / "bin" / "python"
        self.state = State()
        self.load()

    def load(self) -> None:
        """Read what is done; another process may have done it since."""
        file = self.folder / "state.json"
        self.state = State(**json.loads(file.read_text())) if file.exists() else State()

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

    def wanted(self) -> str:
        """Digest of everything that decides what is installed."""
        files = [*self.requirements(), self.constraints()]
        return _digest(self.underlay(), *(file.read_bytes() for file in files))

    def underlay(self) -> bytes:
        """Which ROS 2 the workspace is built upon: the versions of the wheels, or the folder of the sourced one."""
        if self.ros == "system":
            prefixes = os.environ.get("AMENT_PREFIX_PATH", "").split(":")
            marker = "share/ament_index/resource_index/packages/rclpy"
            return next((prefix for prefix in prefixes if (Path(prefix) / marker).exists()), "").encode()
        return (self.root / "requirements" / f"ros-{self.ros}.txt").read_bytes()

    def constraints(self) -> Path:
        """Versions of what the requirements need in turn."""
        return self.root / "requirements" / "constraints.txt"

    def is_spoilt(self) -> bool:
        """Whether the folder can't be built upon: half installed, of another place, or of another Python."""
        if not self.folder.exists():
            return False
        state = self.state
        return (state.installing or not self.python.exists() or state.root not in ("", str(self.root))
                or state.python not in ("", _this_python()))

    def packages(self) -> dict[str, str]:
        """Digest of the build's input for each package of the workspace."""
        return {file.parent.name: build_digest(file.parent, self.underlay())
                for file in sorted(self.source.glob("*/package.xml"))}

    def is_done(self) -> bool:
        """Whether nothing is left to install or build."""
        return (not self.is_spoilt() and self.state.installed == self.wanted()
                and self.state.built == self.packages())

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
        with _lock(self.folder.with_name(self.folder.name + ".lock")):
            self.load()
            if self.is_spoilt():
                self.remove()
            if self.state.installed != self.wanted():
                self.install()
            packages = self.packages()
            if rebuild or set(self.state.built) - set(packages):
                shutil.rmtree(self.workspace, ignore_errors=True)
                self.state.built = {}
            changed = {name: digest for name, digest in packages.items() if self.state.built.get(name) != digest}
            if changed:
                self.build(changed)

    def remove(self) -> None:
        """Delete the folder, if it is an environment."""
        if not any((self.folder / name).exists() for name in ("pyvenv.cfg", "state.json")):
            raise SetupError(f"{self.folder} is not a Python environment: move it away and run again")
        say(f"{self.folder.name} is unfinished or was made elsewhere or with another Python; making it anew")
        # The state goes last, so that a removal that is interrupted is seen as such.
        self.state = State(installing=True)
        self.save()
        for entry in self.folder.iterdir():
            if entry.name != "state.json":
                shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
        shutil.rmtree(self.folder)
        self.state = State()

    def install(self) -> None:
        """Make the virtual environment if there is none, and install the requirements into it."""
        self.check_system()
        self.state.root, self.state.python = str(self.root), _this_python()
        self.state.installing = True
        self.save()
        log = self.folder / "install.log"
        if not self.python.exists():
            site = ["--system-site-packages"] if self.ros == "system" else []
            _logged("making " + self.folder.name, [_base_python(), "-m", "venv", *site, str(self.folder)], log)
        if self.ros == "system" and subprocess.run([self.python, "-c", "import rclpy"], capture_output=True).returncode:
            raise SetupError(f"the sourced ROS 2 is not for Python {_version()}: name the Python it is for, for "
                             "example PYTHON=/usr/bin/python3 ./run setup")
        files = [part for file in self.requirements() for part in ("-r", str(file))]
        what = "TensorFlow, MuJoCo and more" if self.ros == "system" else f"ROS 2 {self.ros.title()}, TensorFlow, MuJoCo"
        _logged(f"installing {what} into {self.folder.name} (2 GB; takes minutes)",
                [str(self.python), "-m", "pip", "install", "--disable-pip-version-check", "--no-input",
                 *files, "-c", str(self.constraints())], log, self.variables())
        if self.ros in WHEELS:
            self.repair_cmake_files()
        self.state.installed = self.wanted()
        self.state.installing = False
        self.save()

    def check_system(self) -> None:
        """Find what the system lacks; install it where that is allowed and known how."""
        if self.ros in WHEELS and (platform.system(), platform.machine()) != ("Linux", "x86_64"):
            raise SetupError(f"ROS 2 as wheels is for Linux on x86-64 and this is {platform.system()} on "
                             f"{platform.machine()}: source a ROS 2 (. /opt/ros/jazzy/setup.bash) and run again")
        present = {
            "a C++ compiler": os.environ.get("CXX") or shutil.which("g++") or shutil.which("c++"),
            "Python's headers": (Path(sysconfig.get_path("include")) / "Python.h").exists(),
            "Python's venv module": self.python.exists() or (find_spec("venv") and find_spec("ensurepip")),
        }
        missing = [what for what, found in present.items() if not found]
        if not missing:
            return
        named = f"{' and '.join(missing)} not found"
        if sys.base_prefix != "/usr" and missing != ["a C++ compiler"]:
            raise SetupError(f"{named} for {_base_python()}: choose a complete Python, for example "
                             "PYTHON=/usr/bin/python3 ./run setup")
        manager = next(filter(shutil.which, PACKAGE_MANAGERS), "")
        names = PACKAGE_MANAGERS.get(manager, {})
        if not set(missing) <= set(names):
            raise SetupError(f"{named}: install it with this system's package manager and run again")
        command = f"{names['install']} {' '.join(names[what] for what in missing)}".format(*[_version()] * len(missing))
        if manager != "apt-get" or os.geteuid() != 0:
            raise SetupError(f"{named}; type: sudo {command}; then run again")
        say(f"{named}; as root: {command}")
        quiet = {"DEBIAN_FRONTEND": "noninteractive"}
        log = self.folder.with_name(self.folder.name + ".apt.log")
        _logged("reading the package lists", ["apt-get", "update"], log, quiet)
        _logged("installing " + " ".join(missing), command.split(), log, quiet)
        log.unlink()

    def repair_cmake_files(self) -> None:
        """Point the wheels' CMake files to this Python: they name the include folders of where they were built."""
        include = sysconfig.get_path("include")
        site = self.site_packages()
        for pattern in ("share/*/cmake/*.cmake", "lib/cmake/**/*.cmake"):
            for file in self.folder.glob(pattern):
                text = file.read_text()
                if "/opt/python/" in text:
                    text = re.sub(r"/opt/python/[^/;\"]+/include/python[\d.]+", include, text)
                    file.write_text(re.sub(r"/opt/python/[^/;\"]+/lib/python[\d.]+/site-packages", str(site), text))

    def build(self, changed: Mapping[str, str]) -> None:
        """Build the packages that changed: symbolic links for Python, so that an edited module needs no build."""
        for name in self.state.building:
            shutil.rmtree(self.workspace / "build" / name, ignore_errors=True)
        self.state.building = sorted(changed)
        self.state.built = {name: digest for name, digest in self.state.built.items() if name not in changed}
        self.save()
        folders = {name: str(self.workspace / name) for name in ("log", "build", "install")}
        colcon = [str(self.folder / "bin" / "colcon"), "--log-base", folders["log"], "build",
                  "--base-paths", str(self.source), "--build-base", folders["build"],
                  "--install-base", folders["install"], "--merge-install", "--symlink-install",
                  "--packages-select", *changed, "--cmake-args", "-GNinja", "-DBUILD_TESTING=OFF",
                  f"-DPython3_EXECUTABLE={self.python}"]
        try:
            _logged(f"building {len(changed)} packages of ros2_ws" if len(changed) > 1 else f"building {self.state.building[0]}",
                    colcon, self.folder / "build.log", self.variables(built=False))
        except SetupError:
            self.state.building = []  # an end, if a bad one: what was compiled can be built upon
            self.save()
            raise
        self.link_modules()
        self.state.building = []
        self.state.built.update(changed)
        self.save()

    def link_modules(self) -> None:
        """Put links to the Python packages into the install folder, and take out those to data files that are gone.

        colcon puts each package's build folder on PYTHONPATH instead; those hold folders named launch and config,
        which Python takes for modules.
        """
        install = self.workspace / "install"
        for metadata in (self.workspace / "build").glob("*/*.egg-info"):
            for target in (metadata, self.source / metadata.stem / metadata.stem):
                link = install / "lib" / f"python{_version()}" / "site-packages" / target.name
                if not link.is_symlink():
                    link.symlink_to(target)
        for link in (install / "share").rglob("*"):
            if link.is_symlink() and not link.exists():
                link.unlink()

    # What to run with

    def site_packages(self) -> Path:
        """Where the environment's Python packages lie."""
        return self.folder / "lib" / f"python{_version()}" / "site-packages"

    def variables(self, built: bool = True) -> dict[str, str]:
        """The variables that a program of the stack runs with; faster than sourcing setup.bash, with the same effect.

        Args:
            built: with the built workspace; without, to build it.
        """
        environ = os.environ
        # A ROS 2 that is sourced must not leak into one of wheels; our own folders are put in anew.
        sourced = environ.get("AMENT_PREFIX_PATH", "").split(":") if self.ros in WHEELS else []
        left_out = [str(self.folder), *filter(None, sourced)]

        def path(name: str, *first: Path) -> str:
            rest = [entry for entry in environ.get(name, "").split(":") if entry and not any(
                entry == folder or entry.startswith(folder + "/") for folder in left_out)]
            return ":".join([*map(str, first), *rest])

        site = self.site_packages()
        install = self.workspace / "install"
        overlay = [install] if built else []
        underlay = [self.folder] if self.ros in WHEELS else []
        python = [prefix / "lib" / f"python{_version()}" / "site-packages" for prefix in overlay]
        libraries = [prefix / "lib" for prefix in (*overlay, *underlay)]
        values = {
            "ROS_FROM": self.ros,
            "VIRTUAL_ENV": str(self.folder),
            "PATH": path("PATH", self.folder / "bin"),
            "AMENT_PREFIX_PATH": path("AMENT_PREFIX_PATH", *overlay, *underlay),
            "CMAKE_PREFIX_PATH": path("CMAKE_PREFIX_PATH", *overlay, *underlay),
            "PYTHONPATH": path("PYTHONPATH", *python),
            "LD_LIBRARY_PATH": path("LD_LIBRARY_PATH", *libraries),
            "ROS_AUTOMATIC_DISCOVERY_RANGE": environ.get("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST"),
        }
        if self.ros in WHEELS:
            values["LD_LIBRARY_PATH"] = path("LD_LIBRARY_PATH", *libraries, *sorted(site.glob("ros_*.libs")))
            # Without the last one each Python of the wheels starts itself a second time, to set LD_LIBRARY_PATH.
            values |= {"ROS_DISTRO": self.ros, "ROS_VERSION": "2", "ROS_PYTHON_VERSION": "3",
                       "_ROS_WHEELS_BOOTSTRAP_COMPLETE": "1"}
        return values


def build_digest(package: Path, underlay: bytes) -> str:
    """Digest of what a package's build depends on: its build files and interfaces, and the names of its data files.

    Python modules and data files are symbolic links in the build, so their content does not count.
    """
    parts = [underlay]
    for file in sorted(package.rglob("*")):
        name = file.relative_to(package)
        if name.parts[0] in (package.name, "test") or "__pycache__" in name.parts or not file.is_file():
            continue
        parts.append(str(name).encode())
        if file.name in BUILD_FILES or file.suffix in INTERFACE_SUFFIXES:
            parts.append(file.read_bytes())
    return _digest(*parts)


def _digest(*parts: bytes) -> str:
    whole = hashlib.sha256()
    for part in parts:
        whole.update(len(part).to_bytes(8, "little") + part)
    return whole.hexdigest()


def _version() -> str:
    return f"{sys.version_info[0]}.{sys.version_info[1]}"


def _this_python() -> str:
    return f"{_version()} {sys.base_prefix}"


def _base_python() -> str:
    """The interpreter outside of any environment: the one that runs may be in the folder that is made anew."""
    return f"{sys.base_prefix}/bin/python{_version()}"


@contextmanager
def _lock(file: Path) -> Iterator[None]:
    """Hold a lock that the programs started meanwhile inherit: none outlives it, not even after a kill of this one."""
    with open(file, "w") as handle:
        os.set_inheritable(handle.fileno(), True)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another ./run sets up this checkout; waiting for it")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _logged(what: str, command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None) -> None:
    """Run a command with its output in a log; on a terminal show its latest line, on failure the last ones.

    Raises:
        SetupError: the command failed.
    """
    say(what)
    terminal = sys.stderr.isatty()
    width = shutil.get_terminal_size().columns - 12
    begin = time.monotonic()
    lines: list[str] = []
    with open(log, "a") as file, subprocess.Popen(
            command, env={**os.environ, **(environment or {})}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, errors="replace", close_fds=False) as process:
        try:
            for line in process.stdout:
                file.write(line)
                lines = [*lines[-14:], line]
                if terminal and line.strip():
                    elapsed = time.monotonic() - begin
                    print(f"\r{elapsed:6.0f} s  {line.strip()[:width]}\033[K", end="", file=sys.stderr, flush=True)
        except BaseException:
            process.terminate()
            raise
        finally:
            if terminal:
                print("\r\033[K", end="", file=sys.stderr, flush=True)
    if process.returncode:
        print("".join(lines), end="", file=sys.stderr)
        raise SetupError(f"{what} failed, {shlex.join(command[:4])} … exited with {process.returncode}: the whole output "
                         f"is in {log}")
    say(f"  done in {time.monotonic() - begin:.0f} s")


def main() -> int:
    """Prepare the environment and print its variables; 1 if something is missing, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path)
    parser.add_argument("ros", choices=(*WHEELS, "system"))
    parser.add_argument("--rebuild", action="store_true", help="build every package from nothing")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        environment = Environment(arguments.root, arguments.ros)
        environment.prepare(arguments.rebuild)
    except SetupError as error:
        say(str(error))
        return 1
    except OSError as error:
        say(f"{error.strerror}: {error.filename or environment.folder}; the checkout has to be writable, with 3 GB free")
        return 1
    except KeyboardInterrupt:
        say("interrupted; the next ./run goes on from a clean state")
        return 130
    for name, value in environment.variables().items():
        print(f"export {name}={shlex.quote(value)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
