"""Recordings of real nodes: nothing missing, every byte as it was sent; what a kill and a full disk leave."""

import json
import resource
import sys

import numpy as np
import pytest
from ant_rl_interfaces.msg import JointTorques, Observation, PolicyUpdate
from programs import command
from rclpy.serialization import deserialize_message, serialize_message
from rosbags.interfaces import MessageDefinitionFormat, QosReliability
from rosbags.rosbag2 import Reader
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from system import System
from test_two_drivers import ARRAYS, TICKS, in_one_process

from ant_rl_core.spec import ANT
from ant_rl_ros import qos
from ant_rl_ros.messages import decode_observation
from ant_rl_ros.testing.process import Process
from recorder_node.codec import STATS, TOPICS, type_name

QUICK_TOPICS = {"/observation", "/joint_torques", "/joint_states", "/imu", "/odom", "/clock", "/timing"}


class Bag:
    """A bag, read whole."""

    def __init__(self, path):
        with Reader(path) as reader:
            self.connections = {connection.topic: connection for connection in reader.connections}
            self.data = {topic: [] for topic in self.connections}
            stamps = []
            for connection, stamp, data in reader.messages():
                self.data[connection.topic].append(data)
                stamps.append(stamp)
        assert stamps == sorted(stamps)

    def messages(self, topic, msg_type):
        return [deserialize_message(data, msg_type) for data in self.data[topic]]

    def ticks(self):
        """Observations in their order; a tick may have been sent again."""
        found = {}
        for message in self.messages("/observation", Observation):
            assert message.step_id in (len(found) - 1, len(found)), "step_ids must have no gap"
            found[message.step_id] = message
        return list(found.values())

    def answered(self):
        """step_ids of the torques, without those of ticks that were answered again."""
        return list(dict.fromkeys(message.step_id for message in self.messages("/joint_torques", JointTorques)))


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_a_recorded_run_has_every_tick_bit_for_bit(tmp_path, storage):
    path, summary = tmp_path / "bag", tmp_path / "summary.json"
    done = command("sim", f"steps:={TICKS}", "seed:=11", f"record:={path}", f"record_format:={storage}",
                   f"summary:={summary}")
    assert done.returncode == 0, done.stdout
    bag = Bag(path)
    assert QUICK_TOPICS <= set(bag.connections)
    ticks = [decode_observation(message, ANT) for message in bag.ticks()]
    assert len(ticks) == json.loads(summary.read_text())["ticks"] + 1 == TICKS + 1
    assert bag.answered()[:TICKS] == list(range(TICKS))
    expected = in_one_process("default", 1, False)
    for before, after, transition in zip(ticks[:-1], ticks[1:], expected, strict=True):
        for name in ARRAYS:
            np.testing.assert_array_equal(getattr(after.transition_from(before), name), getattr(transition, name))
    assert "dropped" not in json.loads(summary.read_text())["counters"]["recorder"]

    # What the bag says of its types is enough to read it without them.
    types = get_typestore(Stores.EMPTY)
    for topic, connection in bag.connections.items():
        msg_type = STATS if topic.startswith("/stats/") else TOPICS.get(topic) or TOPICS[topic[1:]]
        assert connection.msgtype == type_name(msg_type)
        assert connection.msgdef.format == MessageDefinitionFormat.MSG
        found = get_types_from_msg(connection.msgdef.data, connection.msgtype)
        types.register({name: fields for name, fields in found.items() if name not in types.fielddefs})
        assert types.hash_rihs01(connection.msgtype) == connection.digest
        read, sent = types.deserialize_cdr(bag.data[topic][-1], connection.msgtype), bag.messages(topic, msg_type)[-1]
        if topic == "/observation":
            assert (read.session, read.step_id, read.header.stamp.nanosec) == (
                sent.session, sent.step_id, sent.header.stamp.nanosec)
            assert read.observation.tobytes() == sent.observation.tobytes()
    offered = bag.connections["/observation"].ext.offered_qos_profiles
    assert [(profile.reliability, profile.depth) for profile in offered] == [(QosReliability.RELIABLE, 5)]


def recorder(system, path, **parameters):
    """A recorder beside the nodes of `system`, once it has written something."""
    node = system.start("recorder_node", "recorder_node", "recorder", record=str(path), **parameters)
    system.until(lambda: value(system, "messages") > 0, "the first messages of the recorder")
    return node


def value(system, name):
    """A figure of the recorder as last published."""
    timing = system.timings.get("recorder")
    return dict(zip(timing.value_names, timing.value_values, strict=True)).get(name, 0) if timing else 0


def test_a_policy_that_was_sent_before_is_recorded(tmp_path):
    with System(tmp_path) as system:
        publisher = system.node.create_publisher(PolicyUpdate, "policy", qos.profile("policy"))
        sent = serialize_message(PolicyUpdate(version=7, bundle=bytes(range(256)) * 100))
        publisher.publish(sent)
        node = recorder(system, tmp_path / "bag")
        assert node.stop() == 0
    bag = Bag(tmp_path / "bag")
    assert bag.data["/policy"] == [sent]
    assert bag.connections["/policy"].ext.offered_qos_profiles[0].durability.name == "TRANSIENT_LOCAL"


@pytest.mark.parametrize("mode, num_envs, size", [("lockstep", 1, 500_000), ("realtime", 16, 300_000)])
def test_a_recorder_that_is_killed_leaves_all_that_it_had_flushed(tmp_path, mode, num_envs, size):
    path = tmp_path / "bag"
    with System(tmp_path) as system:
        node = recorder(system, path)  # of what it hears itself say
        system.env(mode=mode, num_envs=num_envs, listeners=1)
        system.policy(policy="default", mode=mode)
        system.until(lambda: value(system, "bytes") > size, "something worth keeping")
        least = value(system, "messages")
        # What is published of a second is in the file after the next one.
        reported = system.timings["recorder"].header.stamp.sec
        system.until(lambda: system.timings["recorder"].header.stamp.sec >= reported + 2, "two more seconds")
        assert system.counter("recorder", "dropped") == 0
        node.kill()
    done = command("repair", str(path))
    assert done.returncode == 0 and f"{path}: " in done.stdout, done.stdout
    bag = Bag(path)
    assert sum(map(len, bag.data.values())) >= least
    assert len(bag.ticks()) > 30  # without a gap, from the first on
    answered = bag.answered()
    assert answered == sorted(answered) and len(answered) > 30
    if mode == "lockstep":  # in real time a policy may come too late for a tick
        assert answered == list(range(len(answered)))


def test_what_is_missed_is_counted(tmp_path):
    with System(tmp_path) as system:
        system.env()
        system.policy(policy="default")
        node = recorder(system, tmp_path / "bag", **{"qos_overrides./observation.subscription.depth": 2})
        system.until(lambda: system.counter("recorder", "dropped") > 100, "messages that there was no room for")
        assert node.stop() == 0
        ids = [message.step_id for message in Bag(tmp_path / "bag").messages("/observation", Observation)]
        missing = ids[-1] - ids[0] + 1 - len(set(ids))
        system.until(lambda: system.counter("recorder", "dropped") >= missing, f"the count of {missing} messages")
        assert system.counter("recorder", "dropped") <= missing + 5  # of an observation that was sent again


def test_a_full_disk_ends_the_recording_and_not_the_run(tmp_path):
    path = tmp_path / "bag"
    with System(tmp_path) as system:
        system.env()
        system.policy(policy="default")
        node = recorder(system, path)
        resource.prlimit(node.process.pid, resource.RLIMIT_FSIZE, (1_500_000, 1_500_000))
        assert node.wait() == 1
        assert node.said().count(f"recording stopped: the bag {path} can't be written: File too large") == 1
        assert "Traceback" not in node.said() and "messages of" in node.said()
        observations = system.listen(Observation, "observation")
        system.until(lambda: len(observations) > 100, "the robot that walks on")
    bag = Bag(path)
    assert len(bag.data["/observation"]) > 100 and (path / "bag_0.mcap").stat().st_size <= 1_500_000


def test_record_beside_a_stack_that_runs(tmp_path):
    with System(tmp_path) as system:
        system.env(mode="realtime")
        system.policy(policy="default", mode="realtime")
        observations = system.listen(Observation, "observation", "realtime")
        system.until(lambda: len(observations) > 3, "a robot that walks")
        with Process([sys.executable, "-m", "ant_rl", "record"], {"ROS_DOMAIN_ID": str(system.domain)},
                     cwd=tmp_path) as process:
            system.until(lambda: value(system, "messages") > 10, "the recorder's messages")
            assert process.stop() == 0, process.said()
        output = process.said()
    path, = tmp_path.glob("rosbag2_2*")
    assert f"topics in {path.name}" in output
    assert {"/observation", "/joint_torques", "/odom"} <= set(Bag(path).connections)


def test_what_can_not_be_recorded_to_is_said_before_anything_starts(tmp_path):
    for words, sentence in [
            (["sim", f"record:={tmp_path}"], f"record must be a folder that does not exist yet, found {tmp_path}"),
            (["record", "record_format:=bag"], "record_format must be mcap or sqlite3, found record_format:=bag"),
            (["repair", str(tmp_path)], f"{tmp_path} must be the folder of a recording"),
            (["repair"], "repair needs the folder of a recording")]:
        done = command(*words)
        assert done.returncode == 2 and done.stdout.count("\n") == 1 and sentence in done.stdout
