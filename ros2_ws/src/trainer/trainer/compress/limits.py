"""A child process within the limits of a Raspberry Pi: one core at a share of its speed, and little memory.

Control groups set both where their files can be written, which is root's right by default. Elsewhere the child is
bound to one core and its own data are limited, and the description says what is missing.
"""

from __future__ import annotations

import errno
import os
import select
import shlex
import signal
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from ant_rl_core.settings import Settings, setting

# As short as a share of a tenth allows: the kernel runs a group for no less than 1 ms. A core that is held for the
# rest of each period is then slow in steps of 10 ms; with the usual period of 100 ms it would be fast, then gone.
PERIOD_US = 10_000
_MOUNT = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")


@dataclass(frozen=True)
class Limits(Settings):
    """What a child may have of this machine.

    A core's speed by Geekbench 6 on one core is 2,500 for the desktop's Core i7-12700 by definition (Primate Labs,
    Geekbench 6 CPU Workloads), about 750 for a Raspberry Pi 5 and about 300 for a Pi 4 (Primate Labs, Geekbench
    Browser): shares of 0.3, the default, and 0.12. Pages of files that are in memory already, such as a library that
    ran before, don't count: a child may have more resident memory than its limit and still not be killed.
    """

    core_share: float = setting(0.3, "share of one core's time", minimum=0.1, maximum=1)
    memory_bytes: int = setting(512 * 10**6, "memory that it may fill", unit="bytes", minimum=2**20)

    @property
    def memory(self) -> str:
        """The memory in words."""
        return f"{self.memory_bytes / 1e6:.0f} MB"


@dataclass(frozen=True)
class Confinement:
    """Limits that are in force.

    Attributes:
        description: by what means, and what could not be limited.
        preparation: shell commands by which a process goes under the limits.
        kills: file in which the kernel counts the processes that it killed for memory; None where it refuses memory
            instead.
    """

    description: str
    preparation: Sequence[str]
    kills: Path | None = None

    def command(self, argv: Sequence[str]) -> list[str]:
        """The command that goes under the limits and becomes `argv`, in the same process.

        A shell does it, as code of this process between fork and exec could wait forever for a lock of TensorFlow's.
        """
        core = max(os.sched_getaffinity(0))
        return ["/bin/sh", "-c", " && ".join([*self.preparation, f'exec taskset -c {core} "$@"']), "sh", *argv]

    def ran_out_of_memory(self, errors: str) -> bool:
        """Whether memory ended the child, which wrote `errors` on stderr; to be asked before the limits are lifted."""
        if self.kills is None:
            return "MemoryError" in errors or "bad_alloc" in errors
        counts = dict(line.split() for line in self.kills.read_text().splitlines())
        return int(counts["oom_kill"]) > 0


@contextmanager
def enforced(limits: Limits) -> Iterator[Confinement]:
    """Limits for the children that are started with `Confinement.command` within the block.

    At its end all that still runs under them is killed, and nothing of them stays in the system.
    """
    with ExitStack() as stack:
        try:
            confinement = _grouped(limits, stack)
        except OSError as error:
            stack.close()
            confinement = Confinement(
                f"affinity to one core and RLIMIT_DATA of {limits.memory}; no share of the core could be set "
                f"({error})", [f"ulimit -d {limits.memory_bytes // 1024}"])
        yield confinement


@dataclass(frozen=True)
class _Group:
    """A control group to be made: the folder it lies in, and what goes into which of its files, in this order."""

    parent: Path
    settings: Mapping[str, str]


@dataclass(frozen=True)
class _Means:
    """How this machine's version of control groups sets the limits.

    Attributes:
        name: of the version.
        groups: to be made; the one of memory is the last.
        swap: file and value that keep memory from being swapped out; the file is there only where swap is counted.
        kills: file of the group of memory with the number of processes killed.
    """

    name: str
    groups: Sequence[_Group]
    swap: tuple[str, str]
    kills: str


def _grouped(limits: Limits, stack: ExitStack) -> Confinement:
    means = _means(limits)
    paths = [stack.enter_context(_made(group)) for group in means.groups]
    file, value = means.swap
    counts_swap = (paths[-1] / file).is_file()
    if counts_swap:
        (paths[-1] / file).write_text(value)
    return Confinement(f"{means.name}: {100 * limits.core_share:.0f} % of one core, {limits.memory}"
                       f"{'' if counts_swap else ' and as much swap as there is'}",
                       [f"echo 0 > {shlex.quote(str(path / 'cgroup.procs'))}" for path in paths],
                       paths[-1] / means.kills)


def _means(limits: Limits) -> _Means:
    quota, memory = str(round(limits.core_share * PERIOD_US)), str(limits.memory_bytes)
    own = {controller: path.lstrip("/") for _, controllers, path in
           (line.split(":", 2) for line in _MEMBERSHIP.read_text().splitlines())
           for controller in controllers.split(",")}
    if (_MOUNT / "cgroup.controllers").is_file():
        group = _Group(_handing_on(_MOUNT / own[""]), {"cpu.max": f"{quota} {PERIOD_US}", "memory.max": memory})
        return _Means("cgroup v2", [group], ("memory.swap.max", "0"), "memory.events")
    processor = _Group(_within(_MOUNT / "cpu", own.get("cpu", "")),
                       {"cpu.cfs_period_us": str(PERIOD_US), "cpu.cfs_quota_us": quota})
    memory_group = _Group(_within(_MOUNT / "memory", own.get("memory", "")), {"memory.limit_in_bytes": memory})
    return _Means("cgroup v1", [processor, memory_group], ("memory.memsw.limit_in_bytes", memory),
                  "memory.oom_control")


def _within(mount: Path, own: str) -> Path:
    """This process's own group, so that its limits hold for the child as well."""
    # In a container the mount may begin at the group that the kernel names from further up.
    return mount / own if (mount / own).is_dir() else mount


def _handing_on(own: Path) -> Path:
    """The group nearest to this process's own that lets groups in it limit processor and memory, in version 2."""
    for group in (own, *own.parents):
        if group.is_relative_to(_MOUNT) and {"cpu", "memory"} <= set(_words(group / "cgroup.subtree_control")):
            return group
    raise OSError(errno.ENOTSUP, "no control group hands on cpu and memory", str(_MOUNT))


@contextmanager
def _made(group: _Group) -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix=f"compress_{os.getpid()}_", dir=group.parent))
    try:
        for file, value in group.settings.items():
            (path / file).write_text(value)
        yield path
    finally:
        _end_all(path)
        path.rmdir()


def _end_all(group: Path) -> None:
    """Kill what runs in a group, and wait until it has ended."""
    while processes := [int(pid) for pid in _words(group / "cgroup.procs")]:
        for pid in processes:
            with suppress(ProcessLookupError):  # it ended by itself
                descriptor = os.pidfd_open(pid)
                try:
                    signal.pidfd_send_signal(descriptor, signal.SIGKILL)
                    select.select([descriptor], [], [])
                finally:
                    os.close(descriptor)


def _words(file: Path) -> list[str]:
    return file.read_text().split() if file.is_file() else []
