"""Desktop and Pi as two hosts with a poor Wi-Fi between them, and what `two_hosts.py` calls wrong."""

import json
import signal
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import programs
import pytest
from programs import assert_gone, descendants, finish, read_until

pytest.importorskip("rclpy", reason="ROS is not installed")

import two_hosts  # noqa: E402

# What a run gives where all is well.
GOOD = {
    "ticks_before": 100, "misses_before": 3, "distance_before_m": 20.0,
    "ticks_in_cut": 54, "misses_in_cut": 54, "moving_in_cut": 0,
    "torque_back_s": 0.1, "ticks_after": 100, "misses_after": 3, "misses_seen": 65, "misses_counted": 65,
    "running_version": 7, "versions_at_refusal": [7], "policy_acts_s": 0.5,
}


@pytest.fixture(scope="module")
def network():
    if reason := two_hosts.unavailable():
        pytest.skip(f"two hosts need two network namespaces and a link between them: {reason}")


def start(*words):
    return programs.start([sys.executable, two_hosts.__file__, *words])


def namespaces_of(process):
    return [path.name for path in Path("/run/netns").glob(f"ant-*-{process.pid}")]


@pytest.mark.parametrize("discovery", ["multicast", "static"])
def test_the_robot_walks_stops_in_a_cut_walks_again_and_learns_of_a_new_policy(network, tmp_path, discovery):
    path = tmp_path / "report.json"
    process = start("--discovery", discovery, "--loss-percent", "5", "--cut-seconds", "3", "--json", str(path))
    code, output = finish(process, timeout_s=150)
    assert code == 0, output
    report = json.loads(path.read_text())
    assert report["distance_before_m"] > 10.0
    assert report["ticks_in_cut"] >= 10
    assert report["misses_in_cut"] == report["ticks_in_cut"]
    assert report["moving_in_cut"] == 0
    assert report["longest_zero_run"] >= report["ticks_in_cut"]
    assert report["misses_counted"] >= report["misses_seen"] >= report["misses_in_cut"]
    assert report["misses_after"] < report["ticks_after"] / 2
    assert report["versions_at_refusal"] == [report["running_version"]]
    assert 0 < report["frames_lost"] < report["frames"]
    assert not namespaces_of(process)


def test_stopped_half_way_it_leaves_nothing(network):
    process = start()
    read_until(process, "walked")
    assert len(namespaces_of(process)) == 2
    nodes = descendants(process)
    assert len(nodes) >= 7  # two supervisors; env, status and monitor; policy and monitor
    code, output = finish(process, signal.SIGTERM)
    assert code == 128 + signal.SIGTERM, output
    assert not namespaces_of(process)
    assert_gone(nodes)


@pytest.mark.parametrize("file", ["fastdds.xml", "fastdds_local.xml", "fastrtps.xml", "fastrtps_local.xml"])
def test_a_policy_goes_in_datagrams_of_one_frame(file):
    root = ElementTree.parse(two_hosts.ROOT / "ros2_ws/src/ant_rl/config" / file).getroot()
    dds = {"dds": root.tag.partition("}")[0][1:]}
    size = root.find(".//dds:data_writer[@profile_name='/policy']//dds:property"
                     "[dds:name='fastdds.max_message_size']/dds:value", dds)
    assert int(size.text) <= 1472  # an Ethernet frame's 1500 bytes less the headers of IP and UDP


@pytest.mark.parametrize("name", ["fastdds", "fastrtps"])
def test_the_profiles_within_one_machine_differ_in_nothing_but_transports(name):
    folder = two_hosts.ROOT / "ros2_ws/src/ant_rl/config"
    usual, local = (ElementTree.parse(folder / f"{name}{suffix}.xml").getroot() for suffix in ("", "_local"))
    added = {"transport_descriptors", "useBuiltinTransports", "userTransports", "initialPeersList"}
    found = set()
    for parent in list(local.iter()):
        for child in list(parent):
            tag = child.tag.partition("}")[2]
            if tag in added:
                found.add(tag)
                parent.remove(child)
    assert found == added
    left, wanted = (ElementTree.canonicalize(ElementTree.tostring(root), strip_text=True) for root in (local, usual))
    assert left == wanted


def test_nothing_is_wrong_in_a_good_run():
    assert two_hosts.shortcomings(GOOD) == []


@pytest.mark.parametrize("changes, sentence", [
    ({"distance_before_m": 0.3}, "did not walk"),
    ({"misses_before": 60}, "more than half"), ({"misses_after": 60}, "more than half"),
    ({"ticks_in_cut": 0, "misses_in_cut": 0}, "too few ticks"),
    ({"moving_in_cut": 1}, "torque in the cut"), ({"misses_in_cut": 20}, "not taken for misses"),
    ({"misses_counted": 60}, "counted fewer"), ({"torque_back_s": 9.0}, "to come back"),
    ({"versions_at_refusal": [7, 8]}, "another version"), ({"versions_at_refusal": []}, "another version"),
    ({"policy_acts_s": 30.0}, "to act")])
def test_what_is_wrong_is_said(changes, sentence):
    found, = two_hosts.shortcomings({**GOOD, **changes})
    assert sentence in found


def test_a_machine_without_iproute2_is_told_so(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert two_hosts.unavailable() == "ip is not installed"
