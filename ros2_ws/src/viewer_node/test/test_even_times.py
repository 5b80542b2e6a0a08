"""A clock that is set moves no point of the line of time; other clocks and simulated time are left alone."""

import pytest

from viewer_node.even_times import EvenTimes

NOON = 1.7e9


def test_a_clock_that_is_set_goes_on_evenly():
    now = [100.0]
    times, set_by = EvenTimes(lambda: now[0]), 0.0
    for tick in range(600):
        now[0] = 100.0 + 0.05 * tick
        set_by = {200: -3600.0, 400: 7200.0}.get(tick, set_by)
        assert times.even("env", NOON + 0.05 * tick + set_by) == pytest.approx(NOON + 0.05 * tick, abs=0.01)
        # Another host, half a minute ahead.
        assert times.even("policy", NOON + 30.0 + 0.05 * tick) == NOON + 30.0 + 0.05 * tick


def test_simulated_time_has_its_own_pace():
    now = [0.0]
    times = EvenTimes(lambda: now[0])
    for tick in range(1000):
        now[0] += 0.0005
        assert times.even("env", 0.05 * tick) == 0.05 * tick
