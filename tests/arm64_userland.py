"""A Raspberry Pi's userland, unpacked in a folder, whose Python runs as a Pi's processor would run it; see arm64.py.

Nothing is installed or registered on this computer: programs of the userland are only unpacked, and QEMU is called by
its name for one of them.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCES = [ROOT / "ros2_ws" / "src" / package for package in ("ant_rl_core", "ant_rl_ros", "policy_node")]
REQUIREMENTS, CONSTRAINTS = ROOT / "requirements" / "pi.txt", ROOT / "requirements" / "constraints.txt"
RELEASE, PYTHON, GLIBC = "trixie", "3.13", 41  # Debian 13, which Raspberry Pi OS is made of; glibc 2.41
TOOLS = {"qemu-aarch64-static": "qemu-user-static", "debootstrap": "debootstrap", "fakeroot": "fakeroot",
         "dpkg-deb": "dpkg"}
LIMIT_S = 600.0  # for one call of arm64_actions.py, which takes seconds


class CannotRunError(Exception):
    """The comparison can't be made; the text is one sentence with what to do."""


@dataclass(frozen=True)
class Computer:
    """A Pi as QEMU and the libraries see it.

    Attributes:
        name: for the table.
        cpu: QEMU's name of its processor.
        features, variant, part, revision: of a core, as its /proc/cpuinfo has them.
    """

    name: str
    cpu: str
    features: str
    variant: str
    part: str
    revision: int

    def cpuinfo(self) -> str:
        """Text of /proc/cpuinfo with as many cores as this computer, since the rest of /proc and /sys is this one's."""
        return "".join(f"processor\t: {core}\nBogoMIPS\t: 108.00\nFeatures\t: {self.features}\n"
                       f"CPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: {self.variant}\n"
                       f"CPU part\t: {self.part}\nCPU revision\t: {self.revision}\n\n"
                       for core in range(os.cpu_count() or 1))


# LiteRT has other kernels for int8 where the processor has dot products (asimddp), as the Pi 5's does.
COMPUTERS = (
    Computer("Pi 4", "cortex-a72", "fp asimd evtstrm crc32 cpuid", "0x0", "0xd08", 3),
    Computer("Pi 5", "cortex-a76", "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm "
             "lrcpc dcpop asimddp", "0x4", "0xd0b", 1),
)


def check_tools() -> None:
    """CannotRunError names the packages that this computer lacks."""
    missing = sorted({package for tool, package in TOOLS.items() if shutil.which(tool) is None})
    if missing:
        raise CannotRunError(f"expected the programs {', '.join(TOOLS)}, found some missing: apt-get install "
                             f"{' '.join(missing)}")


class Userland:
    """A Debian for arm64 and the wheels of requirements/pi.txt, unpacked below a folder; what is missing is made."""

    def __init__(self, cache: Path) -> None:
        self._cache = cache
        self._root = cache / f"debian-{RELEASE}"
        pins = hashlib.sha256(REQUIREMENTS.read_bytes() + CONSTRAINTS.read_bytes()).hexdigest()[:12]
        self._wheels = cache / f"wheels-{PYTHON}-{pins}"
        try:
            cache.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CannotRunError(f"expected a folder that can be made for the userland, found {cache} "
                                 f"({error.strerror}): name another one with --cache") from error
        if not self._root.exists():
            self._unpack_debian()
        if not self._wheels.exists():
            self._unpack_wheels()

    def run(self, computer: Computer, arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """Run the userland's Python as this computer would."""
        # QEMU looks for every file in the userland first. The library that tells LiteRT what the processor can do reads
        # this one, and crashes on that of an x86-64 computer.
        proc = self._root / "proc"
        proc.mkdir(exist_ok=True)
        (proc / "cpuinfo").write_text(computer.cpuinfo())
        variables = {"PYTHONPATH": os.pathsep.join(map(str, [self._wheels, *SOURCES])), "LC_ALL": "C.UTF-8",
                     "PYTHONPYCACHEPREFIX": str(self._cache / "pycache")}
        return run(["qemu-aarch64-static", "-cpu", computer.cpu, "-L", str(self._root),
                    str(self._root / "usr" / "bin" / "python3"), *arguments], variables)

    def _unpack_debian(self) -> None:
        print(f"downloading Debian {RELEASE} for arm64 to {self._root}", flush=True)
        aside = _emptied(self._root)
        # The second stage of debootstrap would run programs of the userland that start others, which only a kernel with
        # QEMU registered for arm64 can do. Unpacking every package does for a Python that is called by its path.
        _make(["fakeroot", "debootstrap", "--foreign", "--arch=arm64", "--variant=minbase",
               "--include=python3-minimal,libpython3-stdlib", RELEASE, str(aside)], "debootstrap")
        archives = aside / "var" / "cache" / "apt" / "archives"
        for package in sorted(archives.glob("*.deb")):
            _make(["dpkg-deb", "--extract", str(package), str(aside)], "dpkg-deb")
        shutil.rmtree(archives)
        aside.rename(self._root)

    def _unpack_wheels(self) -> None:
        print(f"downloading the wheels of requirements/pi.txt for arm64 to {self._wheels}", flush=True)
        aside = _emptied(self._wheels)
        platforms = ["manylinux2014_aarch64", *(f"manylinux_2_{minor}_aarch64" for minor in range(17, GLIBC + 1))]
        _make([sys.executable, "-m", "pip", "install", "--quiet", "--target", str(aside), "--python-version", PYTHON,
               "--only-binary=:all:", *(f"--platform={name}" for name in platforms), "-r", str(REQUIREMENTS),
               "-c", str(CONSTRAINTS)], "pip")
        for outdated in self._cache.glob("wheels-*"):
            if outdated != aside:
                shutil.rmtree(outdated)
        aside.rename(self._wheels)


def _emptied(target: Path) -> Path:
    """A place beside `target` for what will be renamed to it when it is whole."""
    aside = target.with_name(target.name + ".part")
    shutil.rmtree(aside, ignore_errors=True)
    return aside


def _make(command: Sequence[str], name: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise CannotRunError(f"{name} ended with exit code {done.returncode} ({last_line(done)}): see that this "
                             "computer reaches its packages, then call this again")


def run(command: Sequence[str], variables: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a command with these environment variables and no others; one that takes too long has failed."""
    try:
        return subprocess.run(command, env=variables, capture_output=True, text=True, timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, "", f"it took more than {LIMIT_S:g} s")


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    """The last words of a process."""
    said = (done.stderr.strip() or done.stdout.strip() or "it said nothing").splitlines()
    return said[-1][:300]
