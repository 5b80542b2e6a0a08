"""Waiting for the subscribers of a publisher, over real DDS."""

import time

import pytest
from std_msgs.msg import String

from ant_rl_ros import qos
from ant_rl_ros.audience import Audience
from ant_rl_ros.testing.peer import Peer, fresh_namespace


@pytest.fixture
def peer():
    with Peer(fresh_namespace()) as made:
        yield made


@pytest.fixture
def publisher(peer):
    return peer.publisher(String, "answer", qos.profile("joint_torques"))


def test_nobody_is_waited_for_where_nobody_is_wanted(peer, publisher):
    assert Audience(peer.node, publisher, 0).awaited() == ""


def test_it_waits_until_all_are_there_and_never_again(peer, publisher):
    audience = Audience(peer.node, publisher, 2)
    first = peer.node.create_subscription(String, "answer", print, 1)
    peer.until(lambda: publisher.get_subscription_count() == 1, "the first subscriber")
    assert audience.awaited() == f"waits for 2 listener(s) of {publisher.topic_name}"
    peer.node.create_subscription(String, "answer", print, 1)
    peer.until(lambda: not audience.awaited(), "the second subscriber")
    peer.node.destroy_subscription(first)
    peer.until(lambda: publisher.get_subscription_count() == 1, "the first subscriber's end")
    assert audience.awaited() == ""


def test_patience_has_an_end_and_the_log_tells(peer, publisher, capfd):
    audience = Audience(peer.node, publisher, 1, patience_s=0.3)
    start = time.monotonic()
    while audience.awaited():
        time.sleep(0.01)
    assert 0.3 <= time.monotonic() - start < 10.0
    said = capfd.readouterr().err
    assert f"waited 0.3 s for 1 listener(s) of {publisher.topic_name} and found 0: goes on" in said
