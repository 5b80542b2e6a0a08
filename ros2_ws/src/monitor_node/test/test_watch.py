"""Following a process, and judging what is known of it."""

import math

import pytest

from ant_rl_core.telemetry import Timing
from monitor_node import health
from monitor_node.health import ERROR, OK, WARN, Figures, Thresholds, judge
from monitor_node.procstat import ProcessStat
from monitor_node.thermal import FREQUENCY_CAPPED, SOFT_TEMPERATURE_LIMIT, THROTTLED, UNDER_VOLTAGE, Host, Throttling
from monitor_node.watch import Growth, Sample, Watch


class Processes:
    """Stands in for /proc."""

    def __init__(self):
        self.stats = {7: ProcessStat(1.0, 3, 50.0, 90.0)}

    def watch(self, timing=None, now=100.0):
        return Watch(timing or Timing("/env", "host", 7), now, self.stats.get, lambda pid: 40.0)


def test_samples_of_a_living_process():
    processes = Processes()
    watch = processes.watch()
    first = watch.sample(100.0)
    assert first.alive and math.isnan(first.cpu_percent)
    assert (first.rss_mib, first.uss_mib, first.threads) == (90.0, 40.0, 3)
    processes.stats[7] = ProcessStat(1.25, 4, 50.0, 91.0)
    second = watch.sample(101.0)
    assert second.cpu_percent == pytest.approx(25.0)
    assert second.threads == 4


def test_a_process_that_vanishes_is_gone_for_good():
    processes = Processes()
    watch = processes.watch()
    watch.sample(100.0)
    stat = processes.stats.pop(7)
    assert not watch.sample(101.0).alive
    assert watch.died == 101.0
    processes.stats[7] = stat
    assert not watch.sample(102.0).alive
    assert watch.died == 101.0


def test_another_process_with_the_same_pid_is_not_taken_for_it():
    processes = Processes()
    watch = processes.watch()
    assert watch.sample(100.0).alive
    processes.stats[7] = ProcessStat(0.1, 1, 60.0, 10.0)
    sample = watch.sample(101.0)
    assert not sample.alive
    assert math.isnan(sample.rss_mib)


def test_what_a_silent_node_said_is_not_taken_for_now():
    timing = Timing("/env", "host", 7, "running", "", 20.0, {"round_trip": (0.001, 0.002, 0.003)})
    watch = Processes().watch(timing)
    assert watch.sample(102.0).timing.loop_rate == 20.0
    late = watch.sample(104.0)
    assert math.isnan(late.timing.loop_rate)
    assert math.isnan(late.figures().round_trip)
    assert late.silence == 4.0
    watch.hear(timing, 104.5)
    assert watch.sample(105.0).timing.loop_rate == 20.0


def test_deadline_misses_count_once():
    watch = Processes().watch(Timing("/env", "host", 7, counters={"deadline_misses": 3}))
    assert watch.sample(100.0).new_deadline_misses == 3
    assert watch.sample(101.0).new_deadline_misses == 0
    watch.hear(Timing("/env", "host", 7, counters={"deadline_misses": 5}), 101.5)
    assert watch.sample(102.0).new_deadline_misses == 2


def test_growth_of_a_counter_that_was_started_anew():
    growth = Growth()
    assert growth.since_last({"a": 5}) == {"a": 5}
    assert growth.since_last({"a": 2, "b": 1}) == {"a": 2, "b": 1}


def test_latency_in_milliseconds():
    stages = {"physics": (0.001, 0.003, 0.005), "round_trip": (0.002, 0.004, 0.006)}
    found = Sample(Timing("/env", stages=stages), alive=True).stats(Host())
    assert found.stages_ms == {"physics": (1.0, 3.0), "round_trip": (2.0, 4.0)}
    assert found.round_trip_ms == (2.0, 4.0)
    assert math.isnan(Sample(Timing("/env"), alive=True).stats(Host()).round_trip_ms[0])


@pytest.mark.parametrize("figures, level, words", [
    (Figures(), OK, "running"),
    (Figures(cpu=50.0, rss=100.0, silence=1.0, deadline_misses=0), OK, "running"),
    (Figures(alive=False), ERROR, "the process is gone"),
    (Figures(silence=5.0), WARN, "silent for 5 s"),
    (Figures(silence=50.0), ERROR, "silent for 50 s"),
    (Figures(deadline_misses=1), WARN, "1 deadlines missed"),
    (Figures(rss=2500.0, round_trip=500.0), ERROR, "holds 2500 MiB; round trip p99 is 500.0 ms"),
])
def test_judge(figures, level, words):
    assert judge(figures, Thresholds()) == (level, words)


@pytest.mark.parametrize("host, level, words", [
    (Host(), OK, "running"),
    (Host(50.0, 1500.0, 0.0, Throttling(0, 15)), OK, "running"),
    (Host(50.0, 600.0, 20.0), WARN, "the host's frequency is held 20 % lower"),
    (Host(throttling=Throttling(FREQUENCY_CAPPED, 0)), WARN, "the host's frequency is capped"),
    (Host(throttling=Throttling(THROTTLED, 0)), WARN, "the host is throttled"),
    (Host(throttling=Throttling(SOFT_TEMPERATURE_LIMIT, 0)), WARN, "the host is at its soft temperature limit"),
    (Host(throttling=Throttling(UNDER_VOLTAGE, 0)), ERROR, "the host's supply voltage is too low"),
    (Host(80.0, throttling=Throttling(UNDER_VOLTAGE | THROTTLED, 0)), ERROR,
     "the host has 80 degC; the host's supply voltage is too low; the host is throttled"),
])
def test_judge_a_host(host, level, words):
    assert judge(Figures.of_host(host), Thresholds(), "running") == (level, words)


def test_waiting_is_worth_a_warning():
    assert judge(Figures(), Thresholds(), "waiting", "waiting for a policy node") == (WARN, "waiting for a policy node")


@pytest.mark.parametrize("name", list(health._WORDS))
def test_each_threshold_counts(name):
    value = 5.0
    for warn, error, level in ((4.0, 4.5, ERROR), (4.0, 6.0, WARN), (6.0, 7.0, OK)):
        thresholds = Thresholds(**{f"{name}_warn": warn, f"{name}_error": error})
        assert judge(Figures(**{name: value}), thresholds)[0] == level


def test_a_warning_above_its_error_is_refused():
    with pytest.raises(ValueError, match="cpu_warn must be at most cpu_error = 8, found 9.0"):
        Thresholds(cpu_warn=9.0, cpu_error=8.0)
