"""Stage timing: figures in seconds over the last durations of each stage."""

import pytest

from ant_rl_core.timing import StageTimer


def test_figures_of_known_durations():
    timer = StageTimer()
    for milliseconds in range(1, 102):
        timer.add("inference", milliseconds / 1000)
    timer.add("tick", 0.5)
    summary = timer.summary()
    assert list(summary) == ["inference", "tick"]
    inference = summary["inference"]
    assert inference.count == 101
    assert (inference.p50, inference.p99, inference.max) == pytest.approx((0.051, 0.1, 0.101))
    assert (summary["tick"].p50, summary["tick"].p99, summary["tick"].max) == (0.5, 0.5, 0.5)


def test_only_the_window_counts():
    timer = StageTimer(window=3)
    for seconds in (100.0, 1.0, 2.0, 3.0):
        timer.add("tick", seconds)
    assert (timer.summary()["tick"].count, timer.summary()["tick"].max) == (3, 3.0)


def test_clear_forgets_and_empty_stages_are_left_out():
    timer = StageTimer()
    assert timer.summary() == {}
    timer.add("tick", 1.0)
    timer.clear()
    assert timer.summary() == {}
    timer.add("tick", 2.0)
    assert timer.summary()["tick"].p50 == 2.0


def test_a_block_is_timed_unless_it_fails(monkeypatch):
    clock = iter((10.0, 10.25, 20.0))
    monkeypatch.setattr("ant_rl_core.timing.time.perf_counter", lambda: next(clock))
    timer = StageTimer()
    with timer.stage("physics"):
        pass
    with pytest.raises(RuntimeError), timer.stage("physics"):
        raise RuntimeError("fails")
    assert timer.summary()["physics"].count == 1 and timer.summary()["physics"].max == 0.25
