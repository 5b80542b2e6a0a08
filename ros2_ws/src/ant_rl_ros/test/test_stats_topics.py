"""The topics of a namespace's nodes are found as they come, each once."""

from collections import deque

from ant_rl_ros import stats_topics
from ant_rl_ros.stats_topics import StatsTopics


class Graph:
    """A node of the namespace /a, as far as it is asked."""

    def __init__(self):
        self.topics = []

    def resolve_topic_name(self, name):
        return f"/a/{name}"

    def get_topic_names_and_types(self):
        return [(name, ["ant_rl_interfaces/msg/NodeStats"]) for name in self.topics]


def test_new_topics_are_subscribed_to_once_a_second(monkeypatch):
    monkeypatch.setattr(stats_topics.time, "monotonic", lambda: 10.0)
    graph, subscribed = Graph(), []

    def subscribe(name):
        subscribed.append(name)
        return deque([name])
    stats = StatsTopics(graph, subscribe)
    graph.topics = ["/a/stats/env", "/b/stats/env", "/stats/env", "/a/statistics", "/a/timing"]
    stats.look_if_due(10.9)
    assert stats.inboxes == {}
    stats.look_if_due(11.0)
    assert stats.inboxes == {"/a/stats/env": deque(["/a/stats/env"])}
    graph.topics = ["/a/stats/env", "/a/stats/policy"]
    stats.look_if_due(11.9)
    assert subscribed == ["/a/stats/env"]
    stats.look_if_due(12.0)
    assert subscribed == ["/a/stats/env", "/a/stats/policy"]
