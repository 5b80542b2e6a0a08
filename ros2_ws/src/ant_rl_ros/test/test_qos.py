import pytest
from rclpy.qos import DurabilityPolicy, ReliabilityPolicy

from ant_rl_ros import qos


def test_the_table():
    for topic in ("observation", "joint_torques"):
        lockstep, realtime = qos.profile(topic), qos.profile(topic, "realtime")
        assert (lockstep.reliability, lockstep.depth) == (ReliabilityPolicy.RELIABLE, 5)
        assert (realtime.reliability, realtime.depth) == (ReliabilityPolicy.BEST_EFFORT, 1)
    policy = qos.profile("policy", "realtime")
    assert (policy.durability, policy.depth) == (DurabilityPolicy.TRANSIENT_LOCAL, 1)
    assert qos.profile("episode").depth == 5000
    assert qos.profile("stats/env").depth == qos.profile("/clock").depth == 10


def test_peers_listen_without_acknowledgements():
    for topic in ("observation", "joint_torques"):
        assert qos.asking(topic).reliability == ReliabilityPolicy.BEST_EFFORT
        assert qos.asking(topic).depth == qos.profile(topic).depth


def test_a_topic_that_is_not_in_the_table():
    with pytest.raises(KeyError):
        qos.profile("no_such_topic")
