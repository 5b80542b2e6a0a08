"""The wait loop within the test's own process."""

import time

import pytest
from rclpy.node import Node
from rclpy.serialization import deserialize_message
from std_msgs.msg import String
from std_srvs.srv import Trigger

from ant_rl_ros import qos
from ant_rl_ros.testing.peer import Peer, fresh_namespace
from ant_rl_ros.wait_loop import MODES, WaitLoop


@pytest.fixture(params=MODES)
def world(request):
    """A peer, and a node with its wait loop in the same process."""
    class World:
        pass

    world = World()
    namespace = fresh_namespace()
    with Peer(namespace) as peer:
        world.peer, world.stopped = peer, False
        world.node = Node("waiting", namespace=namespace, context=peer.context)
        world.loop = WaitLoop(world.node, request.param, lambda: world.stopped)
        yield world
        world.loop.close()
        world.node.destroy_node()


def connected(world, topic="data", depth=None):
    profile = qos.profile("timing")
    profile.depth = depth or profile.depth
    inbox = world.loop.subscribe(String, topic, profile)
    publisher = world.peer.publisher(String, topic, qos.profile("timing"))
    end = time.monotonic() + 20
    while not publisher.get_subscription_count():
        assert time.monotonic() < end
        world.loop.wait(0.01)
    return inbox, publisher


def test_another_mode_is_refused(world):
    with pytest.raises(ValueError, match="wait must be one of wait_set, executor, found 'busy'"):
        WaitLoop(world.node, "busy")


def test_it_waits_as_long_as_it_is_told_and_with_nothing_to_wait_for(world):
    start = time.monotonic()
    assert not world.loop.wait(0.12)
    assert time.monotonic() - start >= 0.12
    connected(world)
    start = time.monotonic()
    assert not world.loop.wait(0.12)
    assert time.monotonic() - start >= 0.12


def test_messages_come_in_order_and_one_left_ends_the_next_wait_at_once(world):
    inbox, publisher = connected(world)
    for i in range(8):
        publisher.publish(String(data=str(i)))
    received = []
    while len(received) < 8:
        assert world.loop.wait(10.0)
        received.append(inbox.popleft().data)
    assert received == [str(i) for i in range(8)]
    publisher.publish(String(data="left"))
    assert world.loop.wait(10.0) and world.loop.wait(10.0) and len(inbox) == 1
    world.loop.discard()
    assert not inbox and not world.loop.wait(0.01)


def test_all_that_is_there_is_drained_with_what_is_known_of_it(world):
    profile = qos.profile("timing")
    plain = world.loop.subscribe(String, "data", profile)
    raw = world.loop.subscribe(String, "data", qos.profile("timing"), raw=True, info=True)
    publisher = world.peer.publisher(String, "data", qos.profile("timing"))
    end = time.monotonic() + 20
    while publisher.get_subscription_count() < 2:
        assert time.monotonic() < end
        world.loop.wait(0.01)
    before = time.time_ns()
    for i in range(8):
        publisher.publish(String(data=str(i)))
    while len(plain) < 8 or len(raw) < 8:
        world.loop.drain()
        assert time.monotonic() < end
    assert [message.data for message in plain] == [str(i) for i in range(8)]
    assert [deserialize_message(data, String).data for data, _ in raw] == [str(i) for i in range(8)]
    numbers = [info["publication_sequence_number"] for _, info in raw]
    assert numbers == list(range(numbers[0], numbers[0] + 8))
    assert all(before <= info["source_timestamp"] <= info["received_timestamp"] for _, info in raw)
    for i in range(profile.depth + 5):
        publisher.publish(String(data=str(i)))
    world.loop.drain()
    assert len(raw) <= profile.depth


def test_an_inbox_keeps_the_newest(world):
    inbox, publisher = connected(world, depth=2)
    end = time.monotonic() + 20
    for i in range(5):
        publisher.publish(String(data=str(i)))
        while not inbox or inbox[-1].data != str(i):
            world.loop.serve()  # the executor takes data as well
            assert time.monotonic() < end
    assert [message.data for message in inbox] == ["3", "4"]


def test_other_callbacks_are_served_while_data_never_ceases(world):
    inbox, publisher = connected(world)
    asked = []
    world.node.create_service(Trigger, "ask", lambda request, response: (asked.append(1), response)[1])
    ticks = []
    world.node.create_timer(0.05, lambda: ticks.append(1))
    world.loop.refresh()
    client = world.peer.node.create_client(Trigger, "ask")
    end = time.monotonic() + 20
    while not client.service_is_ready():
        world.loop.wait(0.01)
        assert time.monotonic() < end
    client.call_async(Trigger.Request())
    data = 0
    while not (asked and len(ticks) > 3):
        publisher.publish(String(data="busy"))
        assert world.loop.wait(10.0)
        data += len(inbox)
        inbox.clear()
        assert time.monotonic() < end
    assert data > 3


def test_services_are_answered_at_once(world):
    connected(world)
    asked = []
    world.node.create_service(Trigger, "ask", lambda request, response: (asked.append(1), response)[1])
    world.loop.refresh()
    client = world.peer.node.create_client(Trigger, "ask")
    end = time.monotonic() + 20
    while not client.service_is_ready():
        world.loop.wait(0.01)
        assert time.monotonic() < end
    for i in range(40):  # looking once per second would take 40 s
        client.call_async(Trigger.Request())
        while len(asked) <= i:
            world.loop.wait(0.1)
            assert time.monotonic() < end


def test_destroyed_entities_do_not_trouble_it(world):
    inbox, publisher = connected(world)
    plain = world.node.create_subscription(String, "plain", lambda message: None, 1)
    timer = world.node.create_timer(0.01, lambda: None)
    world.loop.refresh()
    world.loop.wait(0.05)
    world.node.destroy_subscription(plain)
    world.node.destroy_timer(timer)
    publisher.publish(String(data="x"))
    assert world.loop.wait(10.0) and inbox.popleft().data == "x"
    world.loop.unsubscribe(inbox)
    with pytest.raises(ValueError, match="no subscription of this loop"):
        world.loop.unsubscribe(inbox)
    assert not world.loop.wait(0.05)


def test_stopping_ends_a_wait(world):
    def stop():
        world.stopped = True

    connected(world)
    world.node.create_timer(0.05, stop)
    world.loop.refresh()
    start = time.monotonic()
    assert not world.loop.wait(30.0)
    assert time.monotonic() - start < 10.0
    assert not world.loop.running
