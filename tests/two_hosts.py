#!/usr/bin/env python3
"""Desktop and Pi as two network namespaces of one machine, joined by a poor Wi-Fi that is cut for a while.

    ./run exec python tests/two_hosts.py [--loss-percent 5] [--cut-seconds 3] [--discovery static] …

`./run desktop` runs in one namespace and `./run pi` in the other, so that DDS between them has the link alone. An
observer beside the desktop's nodes checks that the robot walks, that its torque is zero while the link is cut and comes
back after it, and that a new policy reaches the Pi. Needs root, iproute2 and util-linux. Exit code: 0 where all holds.
"""

from __future__ import annotations

import argparse
import ctypes
import fcntl
import heapq
import itertools
import json
import math
import os
import random
import select
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ant_rl_interfaces.msg import Observation, PolicyUpdate
from nav_msgs.msg import Odometry
from rcl_interfaces.srv import GetParameters
from system import System

from ant_rl import stack
from ant_rl.node_commands import share_folder
from ant_rl.supervisor import die_with
from ant_rl_core import bundle
from ant_rl_core.bundle import Bundle
from ant_rl_core.shipped import resolve_policy
from ant_rl_core.spec import ANT
from ant_rl_ros import qos
from ant_rl_ros.stamps import seconds, system_stamp
from ant_rl_ros.testing.process import Process
from trainer.ros.codec import encode_policy

ROOT = Path(__file__).resolve().parents[1]
DEVICE = "wlan0"
ADDRESSES = {"desktop": "10.213.0.1", "pi": "10.213.0.2"}
WALK_DISTANCE = 10.0  # [m] before the cut
WALK_TICKS = 100  # before the cut, and again after it: enough to tell some lost torques from all of them
LONGEST_STEP = 1.0  # [m] in a tick; the Ant makes 0.4 m
SETTLING = 0.2  # [s] for an env node that is late on a busy machine
FRESH_TORQUE = 5.0  # [s] bound of the time from the end of the cut to torque
NEW_POLICY = 10.0  # [s] bound of the time from a policy's way out to its first torque
# What a second machine does not share: its name, its shared memory, and the machine id by which DDS tells hosts apart.
_BECOME_ANOTHER_HOST = """
set -e
hostname "$1"
mount -t tmpfs tmpfs /dev/shm
[ ! -e /etc/machine-id ] || mount --bind "$2" /etc/machine-id
shift 2
exec "$@"
"""
_LIBC = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNET = 0x40000000
_TUNSETIFF = 0x400454CA
_IFF_TAP, _IFF_NO_PI = 0x0002, 0x1000
_LONGEST_FRAME = 65536  # [bytes]


class NetworkError(RuntimeError):
    """This machine can't make the network; the text is the command and what it said."""


@dataclass(frozen=True)
class Air:
    """What the link does to frames, in each direction.

    Attributes:
        delay_ms, jitter_ms: a frame takes delay ± jitter, evenly distributed [ms].
        loss_percent: frames that are lost, each by itself [%].
        multicast: whether multicast passes; many access points drop it.
    """

    delay_ms: float
    jitter_ms: float
    loss_percent: float
    multicast: bool


class NetemLink:
    """A veth pair whose ends have the kernel's network emulator, sch_netem."""

    name = "veth with tc netem"

    def __init__(self, namespaces: Mapping[str, str], air: Air) -> None:
        self._namespaces = tuple(namespaces.values())
        self._air = air
        one, other = self._namespaces
        _run("ip", "link", "add", DEVICE, "netns", one, "type", "veth", "peer", "name", DEVICE, "netns", other)
        try:
            _set_up(namespaces)
            for namespace in self._namespaces:
                self._emulate(namespace, "add", air.loss_percent)
                if not air.multicast:
                    _run("tc", "-n", namespace, "qdisc", "add", "dev", DEVICE, "clsact")
                    _run("tc", "-n", namespace, "filter", "add", "dev", DEVICE, "egress", "protocol", "ip", "u32",
                         "match", "ip", "dst", "224.0.0.0/4", "action", "drop")
        except NetworkError:
            self.close()
            raise

    def _emulate(self, namespace: str, verb: str, loss_percent: float) -> None:
        _run("tc", "-n", namespace, "qdisc", verb, "dev", DEVICE, "root", "netem",
             "delay", f"{self._air.delay_ms}ms", f"{self._air.jitter_ms}ms", "loss", f"{loss_percent}%")

    def set_cut(self, cut: bool) -> None:
        """Let nothing pass, or as before.

        Frames vanish while the devices stay up with their addresses and routes, as in a Wi-Fi out of range: for the
        seconds until the station gives its access point up, programs are told nothing. `ip link set down` would tell
        them at once.
        """
        for namespace in self._namespaces:
            self._emulate(namespace, "change", 100.0 if cut else self._air.loss_percent)

    def frames(self) -> tuple[int, int]:
        """Frames that were sent so far, and how many of them were lost."""
        reports = [json.loads(_run("tc", "-n", namespace, "-s", "-j", "qdisc", "show", "dev", DEVICE, "root"))[0]
                   for namespace in self._namespaces]
        lost = sum(report["drops"] for report in reports)
        return sum(report["packets"] for report in reports) + lost, lost

    def close(self) -> None:
        """Remove both ends."""
        _run("ip", "-n", self._namespaces[0], "link", "del", DEVICE)


class TapLink:
    """Two TAP devices between which a thread of this process carries the frames: for kernels without sch_netem."""

    name = "TAP devices with a forwarder in user space"

    def __init__(self, namespaces: Mapping[str, str], air: Air) -> None:
        self._air = air
        self._cut = self._closed = False
        self._sent = self._lost = 0
        self._ends: list[int] = []
        for namespace in namespaces.values():
            with inside(namespace):
                self._ends.append(_open_tap())
        _set_up(namespaces)  # before the first frame comes, for a device that is down takes none
        self._thread = threading.Thread(target=self._carry, name="air", daemon=True)
        self._thread.start()

    def set_cut(self, cut: bool) -> None:
        """Let nothing pass, or as before; what is in the air when the cut begins is lost too."""
        self._cut = cut

    def frames(self) -> tuple[int, int]:
        """Frames that were sent so far, and how many of them were lost."""
        return self._sent, self._lost

    def close(self) -> None:
        """Stop carrying and remove both ends."""
        self._closed = True
        self._thread.join()
        for end in self._ends:
            os.close(end)

    def _carry(self) -> None:
        other = dict(zip(self._ends, reversed(self._ends), strict=True))
        order = itertools.count()
        air: list[tuple[float, int, int, bytes]] = []  # due [s], order, end to write to, frame
        while not self._closed:
            timeout = min(max(air[0][0] - time.monotonic(), 0.0), 0.1) if air else 0.1
            for end in select.select(self._ends, [], [], timeout)[0]:
                frame = os.read(end, _LONGEST_FRAME)
                if _is_multicast(frame) and not self._air.multicast:
                    continue
                self._sent += 1
                if random.random() * 100.0 < self._air.loss_percent:
                    self._lost += 1
                    continue
                took_ms = self._air.delay_ms + random.uniform(-1.0, 1.0) * self._air.jitter_ms
                heapq.heappush(air, (time.monotonic() + took_ms / 1e3, next(order), other[end], frame))
            while air and air[0][0] <= time.monotonic():
                _, _, end, frame = heapq.heappop(air)
                if self._cut:
                    self._lost += 1
                else:
                    os.write(end, frame)


Link = NetemLink | TapLink
LINKS = {"netem": NetemLink, "tap": TapLink}


@contextmanager
def network(air: Air, kind: str | None = None) -> Iterator[tuple[dict[str, str], Link]]:
    """Two namespaces, by host, and the link between them, of a kind in `LINKS`; all of it is gone afterwards.

    Without a kind: netem where the kernel has it, else tap. NetworkError where this machine can't do it.
    """
    namespaces = {host: f"ant-{host}-{os.getpid()}" for host in ADDRESSES}
    try:
        for name in namespaces.values():
            _run("ip", "netns", "add", name)
        link = _link(namespaces, air, kind)
        try:
            yield namespaces, link
        finally:
            link.close()
    finally:
        for name in namespaces.values():
            if _namespace_file(name).exists():
                _run("ip", "netns", "del", name)


def _link(namespaces: Mapping[str, str], air: Air, kind: str | None) -> Link:
    if kind:
        return LINKS[kind](namespaces, air)
    try:
        return NetemLink(namespaces, air)
    except NetworkError as error:
        print(f"no netem here ({error}): the link is made of {TapLink.name}")
        return TapLink(namespaces, air)


def _set_up(namespaces: Mapping[str, str]) -> None:
    for host, name in namespaces.items():
        _run("ip", "-n", name, "address", "add", f"{ADDRESSES[host]}/24", "dev", DEVICE)
        for device in ("lo", DEVICE):
            _run("ip", "-n", name, "link", "set", device, "up")


def unavailable() -> str:
    """Why this machine can't make the network, as one sentence; empty where it can."""
    try:
        with network(Air(5.0, 2.0, 5.0, multicast=False)):
            return ""
    except NetworkError as error:
        return str(error)


@contextmanager
def inside(namespace: str) -> Iterator[None]:
    """This thread, and what it starts, is in the network namespace of that name; NetworkError if it can't be."""
    with open("/proc/thread-self/ns/net") as own, open(_namespace_file(namespace)) as other:
        _set_namespace(other.fileno())
        try:
            yield
        finally:
            _set_namespace(own.fileno())


def _namespace_file(name: str) -> Path:
    return Path("/run/netns", name)


def _set_namespace(file: int) -> None:
    if _LIBC.setns(file, _CLONE_NEWNET):
        raise NetworkError(f"setns: {os.strerror(ctypes.get_errno())}")


def _open_tap() -> int:
    """A TAP device in this thread's network namespace, which lasts until the file is closed."""
    try:
        file = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
        fcntl.ioctl(file, _TUNSETIFF, struct.pack("16sH22x", DEVICE.encode(), _IFF_TAP | _IFF_NO_PI))
    except OSError as error:
        raise NetworkError(f"/dev/net/tun: {error.strerror}") from error
    return file


def _is_multicast(frame: bytes) -> bool:
    """Whether an Ethernet frame goes to a group, IPv4 or IPv6; broadcasts, which ARP needs, do not count."""
    return bool(frame[0] & 1) and frame[:6] != b"\xff" * 6


def _run(*command: str) -> str:
    """Output of a command; NetworkError where it fails or is missing."""
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise NetworkError(f"{command[0]} is not installed") from error
    if result.returncode:
        raise NetworkError(f"{' '.join(command)}: {' '.join(result.stderr.split())}")
    return result.stdout


class Half(Process):
    """`./run ARRANGEMENT …` on one of the hosts, as its user types it."""

    def __init__(self, domain: int, folder: Path, namespace: str, arrangement: str, *words: str,
                 discovery: Mapping[str, str]) -> None:
        command = [str(ROOT / "run"), arrangement, *words]
        if arrangement == "pi":
            machine_id = folder / "machine-id"
            machine_id.write_text(uuid.uuid4().hex + "\n")
            command = ["unshare", "--mount", "--uts", "--ipc", "sh", "-c", _BECOME_ANOTHER_HOST, "sh",
                       namespace, str(machine_id), *command]
        super().__init__(["ip", "netns", "exec", namespace, *command],
                         {**discovery, "ROS_DOMAIN_ID": str(domain), "ROS_PYTHON_CHECK_FIELDS": "1"},
                         folder / f"{arrangement}.txt", preexec_fn=die_with(os.getpid()))


@dataclass(frozen=True)
class Applied:
    """One control tick as the observer saw it.

    Attributes:
        time: when its observation was taken, right after the torque was applied, of the system's clock [s].
        step_id: number of the tick within the session.
        policy_version: which version chose the torque; 0: none, and the env node put zero torque in its place.
        moving: whether any torque was other than zero.
    """

    time: float
    step_id: int
    policy_version: int
    moving: bool


class Ticks:
    """What the robot did, from `observation` and `odom`."""

    def __init__(self, system: System) -> None:
        self._observations: deque[Any] = system.listen(Observation, "observation", "realtime")
        self._odometry: deque[Any] = system.listen(Odometry, "odom")
        self._positions: list[tuple[float, float]] = []  # time [s], x [m]
        self.all: list[Applied] = []

    def take(self) -> list[Applied]:
        """All ticks so far in which a torque was applied, each once."""
        while self._observations:
            message = self._observations.popleft()
            # An unanswered observation is sent again, and the first one of a session tells of no torque.
            if message.action and not (self.all and message.step_id <= self.all[-1].step_id):
                self.all.append(Applied(seconds(message.header.stamp), message.step_id, message.policy_version,
                                        any(message.action)))
        return self.all

    def between(self, begin: float, end: float = math.inf) -> list[Applied]:
        """Ticks between two moments of the system's clock [s]."""
        return [tick for tick in self.take() if begin < tick.time < end]

    def distance(self, begin: float, end: float = math.inf) -> float:
        """Meters gone along x between two moments of the system's clock [s]."""
        while self._odometry:
            message = self._odometry.popleft()
            self._positions.append((seconds(message.header.stamp), message.pose.pose.position.x))
        gone = [x for moment, x in self._positions if begin < moment < end]
        # A larger step than the Ant can make in a tick is the reset that begins a new episode.
        return sum(step for before, x in itertools.pairwise(gone) if abs(step := x - before) < LONGEST_STEP)


def observe(system: System, link: Link, cut_seconds: float, policy: Bundle) -> dict[str, Any]:
    """Let the robot walk, cut the link for a while, let it walk again, send policies: what was seen, by name.

    Raises:
        AssertionError: something that was waited for did not come.
    """
    ticks, started = Ticks(system), time.time()
    start = system.until(lambda: [tick for tick in ticks.take() if tick.policy_version], "torques from the Pi")[0]
    system.until(lambda: ticks.distance(start.time) > WALK_DISTANCE and len(ticks.between(start.time)) > WALK_TICKS,
                 f"the robot to walk {WALK_DISTANCE:g} m")
    request = GetParameters.Request(names=["torque_timeout"])
    torque_timeout = system.call(GetParameters, "env/get_parameters", request).values[0].double_value

    link.set_cut(True)
    cut = time.time()
    _say(f"{ticks.distance(start.time):.0f} m walked; the link is cut for {cut_seconds:g} s")
    while time.time() < cut + cut_seconds:
        system.spin()
    mended = time.time()
    link.set_cut(False)
    back = system.until(lambda: [tick for tick in ticks.between(mended) if tick.moving], "fresh torques")[0].time
    _say("torques come again; the robot goes on")
    system.until(lambda: len(ticks.between(back)) > WALK_TICKS, "ticks after the cut")
    end = time.time()
    policies = send_policies(system, ticks, policy, start.policy_version)
    seen = _misses(ticks.take())
    system.until(lambda: system.counter("env", "deadline_misses") >= seen, f"the env to count {seen} misses")

    before, after = ticks.between(start.time, cut), ticks.between(back, end)
    in_cut = ticks.between(cut + torque_timeout + SETTLING, mended)
    moved = [tick.time for tick in ticks.between(cut, mended) if tick.moving]
    frames, lost = link.frames()
    return {
        "found_s": start.time - started,
        "ticks_before": len(before), "misses_before": _misses(before),
        "distance_before_m": ticks.distance(start.time, cut),
        "ticks_in_cut": len(in_cut), "misses_in_cut": _misses(in_cut),
        "moving_in_cut": sum(tick.moving for tick in in_cut),
        "last_torque_s": max(moved, default=cut) - cut, "longest_zero_run": _longest_run(ticks.between(cut)),
        "torque_back_s": back - mended,
        "ticks_after": len(after), "misses_after": _misses(after), "distance_after_m": ticks.distance(back, end),
        "misses_seen": seen, "misses_counted": system.counter("env", "deadline_misses"),
        **policies, "frames": frames, "frames_lost": lost}


def send_policies(system: System, ticks: Ticks, policy: Bundle, running: int) -> dict[str, Any]:
    """Send one policy for another robot and one for this, as a trainer on the desktop does: how they were taken.

    Both are the given one with another manifest: real sizes, and nothing to be learned or converted for it.

    Args:
        running: version that the Pi runs.
    """
    publisher = system.node.create_publisher(PolicyUpdate, "policy", qos.profile("policy"))
    system.until(publisher.get_subscription_count, "the policy node to listen")
    refused = system.counter("policy", "refused_policies")
    sent_wrong = time.time()
    publisher.publish(_update(policy, running + 1, observation_size=ANT.observation_size + 1))
    system.until(lambda: system.counter("policy", "refused_policies") > refused, "the wrong policy to be refused")
    told = time.time()
    system.until(lambda: [tick for tick in ticks.between(told) if tick.policy_version], "torques after the refusal")
    versions = {tick.policy_version for tick in ticks.between(sent_wrong)} - {0}
    update = _update(policy, running + 2)
    sent = time.time()
    publisher.publish(update)
    first = system.until(lambda: [tick for tick in ticks.between(sent) if tick.policy_version == update.version],
                         "the new policy to act")[0]
    return {"running_version": running, "refused_s": told - sent_wrong, "versions_at_refusal": sorted(versions),
            "policy_bytes": len(update.bundle), "policy_acts_s": first.time - sent}


def _update(policy: Bundle, version: int, **changes: Any) -> PolicyUpdate:
    """The policy as another version, its manifest changed."""
    data = bundle.pack(replace(policy.manifest, version=version, **changes), policy.members, policy.manifest.members)
    return encode_policy(data, version, system_stamp())


def _misses(ticks: Sequence[Applied]) -> int:
    """Ticks whose torque the env node replaced by zero."""
    return sum(not tick.policy_version for tick in ticks)


def _longest_run(ticks: Sequence[Applied]) -> int:
    """Most ticks in a row without torque."""
    return max((len(list(run)) for moving, run in itertools.groupby(tick.moving for tick in ticks) if not moving),
               default=0)


def shortcomings(report: Mapping[str, Any]) -> list[str]:
    """What is wrong in a report, as sentences."""
    running = report["running_version"]
    checks = {
        "the robot did not walk before the cut": report["distance_before_m"] > WALK_DISTANCE,
        "more than half of the torques were missed without a cut":
            2 * report["misses_before"] < report["ticks_before"] and 2 * report["misses_after"] < report["ticks_after"],
        "there were too few ticks in the cut to judge by": report["ticks_in_cut"] >= 10,
        "there was torque in the cut": report["moving_in_cut"] == 0,
        "ticks in the cut were not taken for misses": report["misses_in_cut"] == report["ticks_in_cut"],
        "the env node counted fewer misses than there were": report["misses_counted"] >= report["misses_seen"],
        f"torque took more than {FRESH_TORQUE:g} s to come back": report["torque_back_s"] <= FRESH_TORQUE,
        "another version than the running one acted after a policy was refused":
            report["versions_at_refusal"] == [running],
        f"a new policy took more than {NEW_POLICY:g} s to act": report["policy_acts_s"] <= NEW_POLICY,
    }
    return [sentence for sentence, holds in checks.items() if not holds]


def text(report: Mapping[str, Any]) -> str:
    """The report to read."""
    return """\
link           {link}, {delay_ms:g} ± {jitter_ms:g} ms, {loss_percent:g} % loss each way, discovery by {discovery}
frames         {frames}, of which {frames_lost} were lost, the cut's included
first torque   {found_s:.1f} s after the start of both hosts
before         {ticks_before} ticks, {misses_before} misses, {distance_before_m:.1f} m walked
cut            of {cut_seconds:g} s, zero torque from {last_torque_s:.2f} s on, {longest_zero_run} ticks in a row
               well inside {ticks_in_cut} ticks, {misses_in_cut} misses, {moving_in_cut} with torque
after          torque {torque_back_s:.2f} s after the end of the cut; {ticks_after} ticks, {misses_after} misses, \
{distance_after_m:.1f} m walked
misses         {misses_seen} seen, {misses_counted} counted by the env node
policies       one of other sizes refused within {refused_s:.1f} s, version {running_version} went on
               a new version of {policy_bytes} bytes acted after {policy_acts_s:.2f} s""".format(**report)


def main(words: Sequence[str]) -> int:
    """Run it once; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--delay-ms", type=float, default=5.0, help="of each frame, each way [ms]")
    parser.add_argument("--jitter-ms", type=float, default=2.0, help="the delay is even in ± this [ms]")
    parser.add_argument("--loss-percent", type=float, default=5.0, help="frames lost, each way [%%]")
    parser.add_argument("--cut-seconds", type=float, default=3.0, help="length of the cut [s]")
    parser.add_argument("--discovery", choices=("multicast", "static"), default="multicast",
                        help="static: the link drops multicast, as many access points do, and each host has the "
                             "other's address in ROS_STATIC_PEERS")
    parser.add_argument("--link", choices=tuple(LINKS), help="what delays and drops; default: netem, else tap")
    parser.add_argument("--send", default="default", metavar="BUNDLE", help="policy that is sent as a new version")
    parser.add_argument("--json", type=Path, metavar="PATH", help="file for the report")
    arguments = parser.parse_args(words)
    policy = bundle.read(resolve_policy(arguments.send))
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stop)
    air = Air(arguments.delay_ms, arguments.jitter_ms, arguments.loss_percent, arguments.discovery == "multicast")
    try:
        with network(air, arguments.link) as (namespaces, link):
            found = _run_both(namespaces, link, arguments.cut_seconds, policy, not air.multicast)
    except (NetworkError, AssertionError) as error:
        print(f"two_hosts: {error}", file=sys.stderr)
        return 1
    report = {"link": link.name, "discovery": arguments.discovery, "cut_seconds": arguments.cut_seconds,
              "delay_ms": air.delay_ms, "jitter_ms": air.jitter_ms, "loss_percent": air.loss_percent, **found}
    report["shortcomings"] = shortcomings(report)
    print(text(report))
    for sentence in report["shortcomings"]:
        print(f"two_hosts: {sentence}", file=sys.stderr)
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=2) + "\n")
    return int(bool(report["shortcomings"]))


def _run_both(namespaces: Mapping[str, str], link: Link, cut_seconds: float, policy: Bundle,
              static: bool) -> dict[str, Any]:
    peers = dict(zip(ADDRESSES, reversed(ADDRESSES.values()), strict=True))
    environments = {host: {"ROS_STATIC_PEERS": peer if static else ""} for host, peer in peers.items()}
    # The observer is one more node of the desktop, as a trainer would be.
    os.environ.update(environments["desktop"])
    os.environ.update(stack.environment("desktop", os.environ, share_folder() / "config"))
    with tempfile.TemporaryDirectory(prefix="two_hosts_") as name, inside(namespaces["desktop"]), \
            System(Path(name)) as system:
        for arrangement, words in (("desktop", ["seed:=1"]), ("pi", ["policy:=default"])):
            system.processes.append(Half(system.domain, Path(name), namespaces[arrangement], arrangement,
                                         "mode:=realtime", *words, discovery=environments[arrangement]))
        return observe(system, link, cut_seconds, policy)


def _say(sentence: str) -> None:
    print(sentence, flush=True)


def _stop(number: int, frame: object) -> None:
    """Unwind, so that everything is removed; once, so that a second signal does not stop that half-way."""
    for other in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(other, signal.SIG_IGN)
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
