"""What has to come from the system: a C++ compiler, a whole Python, what tests look with: found, installed or named."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import sysconfig
from ctypes.util import find_library
from importlib.util import find_spec
from pathlib import Path

from report import SetupError, run_logged, say

COMPILER, HEADERS, VENV = "a C++ compiler", "Python's headers", "Python's venv module"
# How each package manager installs, and its names of what is needed; {} is the Python version.
PACKAGE_MANAGERS = {
    "apt-get": {"install": "apt-get install -y --no-install-recommends",
                COMPILER: "g++", HEADERS: "python{}-dev", VENV: "python{}-venv"},
    "dnf": {"install": "dnf install -y", COMPILER: "gcc-c++", HEADERS: "python3-devel"},
    "zypper": {"install": "zypper install -y", COMPILER: "gcc-c++", HEADERS: "python3-devel"},
    "pacman": {"install": "pacman -S --noconfirm", COMPILER: "gcc"},
}
# Programs that can open pages; the first one is also the name of its package in Debian.
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def python_version() -> str:
    """Such as 3.11; what environments and their folders are named by."""
    return f"{sys.version_info[0]}.{sys.version_info[1]}"


def base_python() -> str:
    """The interpreter outside of any environment: the one that runs may lie in a folder that is made anew."""
    return f"{sys.base_prefix}/bin/python{python_version()}"


def check_platform() -> None:
    """Refuse to install ROS 2 wheels where there are none.

    Raises:
        SetupError: this is not Linux on x86-64.
    """
    system, machine = platform.system(), platform.machine()
    if (system, machine) != ("Linux", "x86_64"):
        raise SetupError(f"ROS 2 as wheels is for Linux on x86-64 and this is {system} on {machine}: source "
                         "a ROS 2 of the system, such as . /opt/ros/jazzy/setup.bash, and run again")


def missing(environment_exists: bool) -> list[str]:
    """What is needed and not there: COMPILER, HEADERS, VENV."""
    present = {
        COMPILER: os.environ.get("CXX") or shutil.which("g++") or shutil.which("c++"),
        HEADERS: (Path(sysconfig.get_path("include")) / "Python.h").exists(),
        VENV: environment_exists or (find_spec("venv") and find_spec("ensurepip")),
    }
    return [what for what, found in present.items() if not found]


def provide(needs: list[str], log: Path) -> None:
    """Install what is missing where this is root on Debian or Ubuntu.

    Args:
        needs: what missing() gave.
        log: where to write what apt-get prints; deleted if it succeeds.

    Raises:
        SetupError: elsewhere, with the command to type; or apt-get failed.
    """
    if not needs:
        return
    named = f"{' and '.join(needs)} not found"
    if sys.base_prefix != "/usr" and needs != [COMPILER]:
        raise SetupError(f"{named} for {base_python()}: choose a complete Python, such as "
                         "PYTHON=/usr/bin/python3 ./run setup")
    manager = next(filter(shutil.which, PACKAGE_MANAGERS), "")
    names = PACKAGE_MANAGERS.get(manager, {})
    if not set(needs) <= set(names):
        raise SetupError(f"{named}: install it with this system's package manager and run again")
    command = " ".join([names["install"], *(names[need].format(python_version()) for need in needs)])
    if manager != "apt-get" or os.geteuid() != 0:
        raise SetupError(f"{named}; type: sudo {command}; then run again")
    say(f"{named}; as root: {command}")
    _install(" and ".join(needs), command, log)


def provide_for_tests(log: Path) -> None:
    """Install a browser, a virtual display and EGL where tests lack them and this is root on Debian.

    Elsewhere, and where they can't be had, those tests are skipped, and say so. Ubuntu's Chromium is a snap, which
    does not run everywhere.

    Args:
        log: where to write what apt-get prints; deleted if it succeeds.
    """
    present = {BROWSERS[0]: any(map(shutil.which, BROWSERS)), "xvfb": shutil.which("Xvfb"),
               "libegl1 libgl1-mesa-dri": find_library("EGL")}
    missing = [packages for packages, found in present.items() if not found]
    if not missing or os.geteuid() != 0 or not shutil.which("apt-get") or not _is_debian():
        return
    command = " ".join([PACKAGE_MANAGERS["apt-get"]["install"], *missing])
    say(f"what the tests of pages and pictures look with is not found; as root: {command}")
    try:
        _install(" ".join(missing), command, log)
    except SetupError as error:
        say(f"{error}; tests of pages and pictures will be skipped")


def _is_debian() -> bool:
    try:
        return platform.freedesktop_os_release()["ID"] == "debian"
    except OSError:
        return False


def _install(what: str, command: str, log: Path) -> None:
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    run_logged("reading the package lists", ["apt-get", "update"], log, quiet)
    run_logged(f"installing {what}", command.split(), log, quiet)
    log.unlink()
