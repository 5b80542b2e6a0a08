"""What nodes tell becomes points: what is not known draws none."""

import math

import pytest

from ant_rl_core.telemetry import Episode, Stats, Timing
from viewer_node import series
from viewer_node.view import open_view


def test_each_kind_has_its_own_series():
    timing = Timing("/a/env", stages={"round_trip": (0.001, 0.002, 0.003), "physics": (1.0, 1.0, 1.0)},
                    values={"episode_return": 12.0})
    assert series.named_values(timing) == {"return/so_far": 12.0, "latency/round_trip_p50": pytest.approx(1.0),
                                 "latency/round_trip_p99": pytest.approx(2.0)}
    assert series.named_values(Stats("/a/env", cpu_percent=50.0, rss_mib=math.nan)) == {"cpu/env": 50.0}
    episode = Episode(seed=1, row=0, episode_id=4, session=7, episode_return=99.0, length=10, distance=1.0,
                      duration=0.5, terminated=True)
    assert series.named_values(episode) == {"return/episode": 99.0}


def test_nothing_is_shown_where_nothing_is_asked_for():
    assert open_view("none", "", None) is None
