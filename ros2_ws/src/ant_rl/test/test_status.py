"""What is shown and summed up, from what was heard."""

import json
import math

import numpy as np
import pytest

from ant_rl.console import Console, frame_line
from ant_rl.status import Record, weighted_median
from ant_rl_core.telemetry import Episode, Stats, Timing
from ant_rl_core.tick import RowTasks


def episode(episode_return=10.0, **changes):
    return Episode(**{"seed": 3, "row": 0, "episode_id": 1, "session": 5, "episode_return": episode_return,
                      "length": 100, "distance": 10.0, "duration": 5.0, "terminated": False, "policy_version": 2,
                      **changes})


def env(rate=100.0, round_trip=(0.001, 0.002, 0.003), stamp=10.0, **values):
    return Timing("/env", "host", 7, "running", "", rate, {"round_trip": round_trip}, {"stale": 2}, values, stamp)


def record():
    result = Record(started=100.0)
    result.add_timing(env(ticks=500, env_steps=1000, episode_step=42, episode_return=1.5,
                          forward_speed=0.5))
    result.add_timing(Timing("/policy", "host", 8, "running", "", 100.0, {"inference": (1e-5, 2e-5, 3e-5)},
                             {"answered": 9}))
    return result


def test_summary_without_a_finished_episode():
    summary = Record(0.0).summary(1.0, {})
    assert summary["mean_return"] is None
    assert summary["std_return"] is None
    assert summary["episodes"] == []
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary


def test_summary_of_episodes():
    found = record()
    found.add_episode(episode(10.0))
    found.add_episode(episode(20.0, terminated=True, row=1))
    summary = found.summary(110.0, {"seed": "3"})
    assert summary["mean_return"] == 15.0
    assert summary["std_return"] == 5.0
    assert summary["episodes"][1]["return"] == 20.0
    assert {"seed", "return", "length", "distance", "terminated", "row", "episode_id"} <= set(summary["episodes"][0])
    assert summary["rates"] == {"ticks_per_second": 100.0, "env_steps_per_second": 200.0}
    assert summary["arguments"] == {"seed": "3"}
    assert summary["wall_time_s"] == 10.0
    assert summary["counters"]["env"] == {"stale": 2}


def test_tasks_are_shown_and_summed_up():
    found = record()
    assert "task" not in found.line(101.0) and not any("task" in line for line in found.frame(101.0))
    found.add_tasks(RowTasks(5, 1, 0, ("leg 3 lost", "nominal"), ("{}", "{}"), np.zeros(2, np.int64),
                             np.zeros(2, bool), np.zeros((2, 3), np.float32)))
    assert "task leg 3 lost" in found.line(101.0) and "  task    leg 3 lost" in found.frame(101.0)
    for value, task in ((10.0, "leg 3 lost"), (20.0, "nominal"), (30.0, "leg 3 lost")):
        found.add_episode(episode(value, task=task))
    summary = found.summary(110.0, {})
    assert [each["task"] for each in summary["episodes"]] == ["leg 3 lost", "nominal", "leg 3 lost"]
    said = [" ".join(line.split()) for line in found.table(summary)]
    assert "in leg 3 lost 2 episodes, return 20.0 ± 10.0" in said and "in nominal 1 episode, return 20.0 ± 0.0" in said


def test_rates_leave_out_the_window_in_which_the_ticks_began():
    found = Record(0.0)
    found.add_timing(env(rate=math.nan, stamp=1.0, ticks=0, env_steps=0))
    found.add_timing(env(rate=5.0, stamp=2.0, ticks=5, env_steps=20))
    found.add_timing(env(rate=300.0, stamp=3.0, ticks=305, env_steps=1220))
    found.add_timing(env(rate=300.0, stamp=3.5, ticks=455, env_steps=1820))
    rates = found.summary(4.0, {})["rates"]
    assert rates == {"ticks_per_second": 300.0, "env_steps_per_second": 1200.0}


def test_rates_go_by_the_environment_s_own_clock_whatever_the_stamps_say():
    """A clock that is set by an hour, back and forward, and simulated time."""
    for stamps in ([1.0, 2.0, 3.0, 3.5], [1.0, 2.0, -3597.0, -3596.5], [1.0, 2.0, 3603.0, 3603.5],
                   [0.0, 0.25, 15.25, 22.75]):
        found = Record(0.0)
        for stamp, uptime, rate, ticks in zip(stamps, (1.0, 2.0, 3.0, 3.5), (math.nan, 5.0, 300.0, 300.0),
                                              (0, 5, 305, 455), strict=True):
            found.add_timing(env(rate=rate, stamp=stamp, ticks=ticks, env_steps=4 * ticks, uptime=uptime, run=1))
        assert found.summary(4.0, {})["rates"] == {"ticks_per_second": 300.0, "env_steps_per_second": 1200.0}


def test_an_environment_that_was_started_again_counts_anew():
    found = Record(0.0)
    for run, uptime, ticks in ((1, 1.0, 100), (1, 2.0, 200), (1, 3.0, 300), (2, 1.0, 50), (2, 2.0, 150)):
        found.add_timing(env(rate=100.0, ticks=ticks, env_steps=ticks, uptime=uptime, run=run))
    assert found.summary(4.0, {})["rates"]["ticks_per_second"] == 100.0 and not found.contested


def test_a_summary_counts_its_own_environment_only():
    found = Record(0.0)
    for _ in range(2):
        found.add_timing(env(ticks=10, run=1, session=5))
    found.add_episode(episode(10.0, session=5))
    found.add_timing(env(ticks=900, run=2, session=6))  # it may have taken the place of the first …
    found.add_episode(episode(70.0, session=6))
    assert not found.contested and len(found.episodes) == 2
    found.add_timing(env(ticks=20, run=1, session=5))  # … but that one is there as well
    found.add_timing(env(ticks=990, run=2, session=7))
    found.add_episode(episode(80.0, session=7))
    found.add_timing(env(ticks=30, run=1, session=8))  # reset
    found.add_episode(episode(20.0, session=8))
    summary = found.summary(9.0, {})
    assert summary["contested"] and summary["ticks"] == 30
    assert [each["return"] for each in summary["episodes"]] == [10.0, 20.0] and summary["mean_return"] == 15.0


def test_latencies_are_medians_of_the_windows_weighted_by_their_ticks():
    found = Record(0.0)
    for _ in range(2):  # start-up: few ticks, and slow
        found.add_timing(env(rate=math.nan, round_trip=(9.0, 9.0, 9.0)))
    found.add_timing(env(rate=100.0, round_trip=(0.001, 0.002, 0.003)))
    assert found.summary(1.0, {})["latencies_ms"]["round_trip"] == {"p50": 1.0, "p99": 2.0, "max": 9000.0}


def test_a_stage_of_two_nodes_is_named_after_each():
    found = Record(0.0)
    for node in ("/env", "/policy"):
        found.add_timing(Timing(node, stages={"tick": (1e-3, 1e-3, 1e-3)}))
    assert set(found.summary(1.0, {})["latencies_ms"]) == {"env.tick", "policy.tick"}


def test_resources():
    found = record()
    for cpu, rss in ((math.nan, 50.0), (10.0, 90.0), (30.0, 80.0)):
        found.add_stats(Stats("/env", "host", 7, True, cpu, rss, 40.0, 5))
    node = found.summary(101.0, {})["nodes"]["env"]
    assert node["cpu_percent"] == 20.0  # the first sample is NaN and does not count
    assert node["rss_mib"] == 90.0
    assert node["temperature_celsius"] is None
    assert found.summary(101.0, {})["nodes"]["policy"]["cpu_percent"] is None


@pytest.mark.parametrize("values, weights, expected", [
    ([1, 2, 3], [1, 1, 1], 2), ([1, 2, 3], [1, 1, 5], 3), ([3, 1], [5, 1], 3), ([math.nan, 4], [9, 1], 4)])
def test_weighted_median(values, weights, expected):
    assert weighted_median(values, weights) == expected


def test_weighted_median_of_nothing():
    assert math.isnan(weighted_median([], []))


def test_line_and_frame_show_the_same_run():
    found = record()
    found.add_episode(episode(20.0))
    found.add_stats(Stats("/env", "host", 7, True, 33.0, 90.0, 40.0, 5))
    line, frame = found.line(3765.0), "\n".join(found.frame(3765.0))
    for text in ("01:01:05", "42", "1.5", "0.50 m/s", "20.0", "1.000", "2.000", "33", "90", "env stale 2"):
        assert text in line and text in frame, text
    assert "answered" not in line


def test_who_waits_for_whom_is_shown():
    found = Record(0.0)
    found.add_timing(Timing("/a/env", state="waiting", detail="waiting for a policy node on /a/joint_torques"))
    assert "env is waiting: waiting for a policy node" in found.line(1.0)
    assert any("waiting for a policy node on /a/joint_torques" in line for line in found.frame(1.0))


def test_a_node_that_is_gone():
    found = record()
    found.add_stats(Stats("/policy", "host", 8, alive=False))
    assert any("policy" in line and "gone" in line for line in found.frame(101.0))


def test_table_can_be_made_of_any_summary():
    for found in (Record(0.0), record()):
        assert found.table(found.summary(100.5, {}))
    found = record()
    found.add_episode(episode())
    assert any("10.0 ± 0.0" in line for line in found.table(found.summary(100.5, {})))


class Terminal:
    """A stream that says it is a terminal."""

    def __init__(self):
        self.text = ""

    def isatty(self):
        return True

    def write(self, text):
        self.text += text

    def flush(self):
        pass


def test_console_draws_in_place(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    console = Console(stream)
    assert console.live
    console.write("", frame_line(["one", "two"]))
    console.write("env", "hello")
    console.write("", frame_line(["three"]))
    assert stream.text == "one\ntwo\n" + "\x1b[2F\x1b[J[env] hello\none\ntwo\n" + "\x1b[2F\x1b[Jthree\n"


def test_console_is_not_live_on_a_dumb_terminal(monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    assert not Console(Terminal()).live
