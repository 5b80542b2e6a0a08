"""What nodes tell: there and back without a loss, and what does not fit together is refused."""

from dataclasses import fields, replace

import pytest
from ant_rl_interfaces.msg import EpisodeSummary, NodeStats, NodeTiming
from builtin_interfaces.msg import Time

from ant_rl_core.telemetry import REWARD_PARTS, Episode, Stats, Timing
from ant_rl_ros import telemetry

STAMP = Time(sec=12, nanosec=500_000_000)
TIMING = Timing("/robot/env", "desk", 7, "waiting", "for a policy", 20.0,
                {"physics": (0.001, 0.002, 0.003), "round_trip": (0.004, 0.005, 0.006)}, {"stale": 2, "clipped": 3},
                {"ticks": 100.0, "queued": 12.0})
STATS = Stats("/robot/env", "desk", 7, False, 25.0, 90.0, 80.0, 5, 61.5, 20.0, {"physics": (1.0, 2.0)}, (4.0, 5.0), 3,
              4, 12.0, 1500.0, 20.0, 4.0, 5.0)
EPISODE = Episode(3, 1, 8, 5, 10.5, 100, 9.5, 5.0, True, False, 2,
                  {part: float(i) for i, part in enumerate(REWARD_PARTS, 1)}, task="leg 3 lost")


@pytest.mark.parametrize("kind, told", [("timing", TIMING), ("stats", STATS), ("episode", EPISODE)])
def test_there_and_back(kind, told):
    message = getattr(telemetry, f"encode_{kind}")(told, STAMP)
    assert getattr(telemetry, f"decode_{kind}")(message) == replace(told, stamp=12.5)


@pytest.mark.parametrize("encode, told, kind", [
    (telemetry.encode_timing, TIMING, NodeTiming), (telemetry.encode_stats, STATS, NodeStats),
    (telemetry.encode_episode, EPISODE, EpisodeSummary)])
def test_every_field_of_the_message_is_filled(encode, told, kind):
    defaults = {field.name: field.default for field in fields(told)}
    assert {name for name, default in defaults.items() if getattr(told, name) == default} <= {"stamp", "truncated"}
    message, empty = encode(told, STAMP), kind()
    same = [name for name in kind.get_fields_and_field_types() if getattr(message, name) == getattr(empty, name)]
    assert same == (["truncated"] if kind is EpisodeSummary else ["alive"] if kind is NodeStats else [])


def test_a_node_that_measures_no_round_trip():
    assert TIMING.round_trip == (0.004, 0.005, 0.006)
    assert all(value != value for value in Timing("/env").round_trip)


@pytest.mark.parametrize("fields, sentence", [
    ({"stage_names": ["a", "b"], "stage_p50": [1.0], "stage_p99": [1.0], "stage_max": [1.0, 2.0]},
     "each stage of /env must have p50 and p99 and max, found 2 names and 1 of p50, 1 of p99, 2 of max"),
    ({"counter_names": ["a"]}, "each counter of /env must have value, found 1 names and 0 of value"),
    ({"value_values": [1.0]}, "each value of /env must have value, found 0 names and 1 of value")])
def test_arrays_that_do_not_match_are_refused(fields, sentence):
    with pytest.raises(ValueError, match=sentence):
        telemetry.decode_timing(NodeTiming(node="/env", **fields))


def test_stages_that_lack_a_figure_are_refused():
    sentence = "each stage of /env must have p50 and p99, found 1 names and 0 of p50, 1 of p99"
    with pytest.raises(ValueError, match=sentence):
        telemetry.decode_stats(NodeStats(node="/env", stage_names=["a"], stage_p99_ms=[1.0]))
