"""Running statistics, returns of episodes and exploration, against numpy in float64."""

from dataclasses import replace

import numpy as np
import pytest

from ant_rl_core import exploration
from ant_rl_core.step import TimeStep, transition, unshaped_reward
from trainer.networks.statistics import Normalizer, RunningStatistics
from trainer.runs.returns import EpisodeReturns


@pytest.mark.parametrize("shape", [(), (5,)])
def test_statistics_equal_those_of_all_rows_at_once(shape):
    rng = np.random.default_rng(2)
    statistics, parts = RunningStatistics(shape), []
    for rows, offset in ((1, 1e4), (7, -3.0), (500, 0.0), (2, 1e4), (64, 1e3)):
        parts.append((offset + rng.normal(0, 1 + abs(offset) / 100, (rows, *shape))).astype(np.float32))
        statistics.update(parts[-1])
        everything = np.concatenate(parts).astype(np.float64)
        np.testing.assert_allclose(statistics.mean, everything.mean(axis=0), rtol=1e-12)
        np.testing.assert_allclose(statistics.variance, everything.var(axis=0), rtol=1e-10, atol=1e-12)
        assert statistics.count == len(everything)


def test_statistics_continue_exactly_after_restore():
    rng = np.random.default_rng(3)
    unbroken, other = RunningStatistics((4,)), RunningStatistics((4,))
    assert np.array_equal(unbroken.mean, np.zeros(4)) and np.array_equal(unbroken.variance, np.ones(4))
    unbroken.update(rng.normal(size=(10, 4)))
    other.restore(unbroken.save("x_"), "x_")
    rows = rng.normal(size=(11, 4))
    unbroken.update(rows)
    assert not np.array_equal(unbroken.mean, other.mean)
    other.update(rows)
    assert np.array_equal(unbroken.mean, other.mean) and np.array_equal(unbroken.variance, other.variance)


def test_a_normalizer_scales_by_what_it_saw_and_continues_exactly_after_restore():
    rng = np.random.default_rng(4)
    unbroken, other = Normalizer(3, 1.5, 0.5), Normalizer(3, 1.5, 0.5)
    rows = rng.normal([3.0, 0.0, -1.0], [0.1, 2.0, 0.6], (200, 3)).astype(np.float32)
    unbroken.update(rows[:50])
    unbroken.update(rows[50:])
    seen = rows.astype(np.float64)
    std = np.maximum(seen.std(axis=0), 0.5)
    assert (std == 0.5).tolist() == [True, False, False]
    expected = np.clip((seen - seen.mean(axis=0)) / std, -1.5, 1.5)
    np.testing.assert_allclose(unbroken(rows), expected, atol=1e-5)
    assert unbroken(rows).dtype == np.float32 and 0.05 < np.mean(np.abs(expected) == 1.5) < 0.5
    np.testing.assert_allclose(unbroken.mean, seen.mean(axis=0), rtol=1e-10)
    np.testing.assert_allclose(unbroken.variance, std**2, rtol=1e-10)
    other.restore(unbroken.save("x_"), "x_")
    assert np.array_equal(other(rows), unbroken(rows))


def test_returns_are_those_of_whole_episodes_and_survive_restore():
    returns = EpisodeReturns(2, window=4)
    assert np.isnan(returns.means()).all()
    ends = {2: [True, False], 3: [False, True], 5: [True, True], 7: [False, True]}
    for tick in range(8):
        if tick == 4:
            saved, returns = returns.save(), EpisodeReturns(2, window=4)
            returns.restore(saved)
        returns.add(np.array([tick, 100.0]), np.array(ends.get(tick, [False, False])))
    # Row 0: ticks 0-2 and 3-5; row 1: 0-3, 4-5 and 6-7. The first, of return 3, has left the window.
    assert list(map(tuple, returns.finished)) == [(400.0, 4.0), (12.0, 3.0), (200.0, 2.0), (200.0, 2.0)]
    assert returns.means() == (pytest.approx(812 / 4), pytest.approx(11 / 4))


def test_the_unshaped_reward_is_the_default_one_wherever_it_travels():
    reward, no = np.array([1.5], np.float32), np.zeros(1, bool)
    beside = {"unshaped_reward": np.array([-2.0], np.float32)}
    step = TimeStep(np.zeros((1, 2)), reward, no, no, np.zeros((1, 2)), np.zeros(1, np.int64), np.zeros(1, np.uint32))
    batch = transition(step, np.zeros((1, 1)), step, {}, 1)
    assert unshaped_reward(step) is reward and unshaped_reward(batch) is reward
    assert unshaped_reward(replace(step, info=beside)) == unshaped_reward(replace(batch, extras=beside)) == -2.0


def reference_log_prob(u, mean, log_std):
    """float64 log-density of tanh(u), written with log1p and exp where tanh itself saturates."""
    u, mean, log_std = (np.asarray(array, np.float64) for array in (u, mean, log_std))
    normal = -0.5 * ((u - mean) / np.exp(log_std)) ** 2 - log_std - 0.5 * np.log(2 * np.pi)
    log_cosh = np.abs(u) + np.log1p(np.exp(-2 * np.abs(u))) - np.log(2.0)
    return (normal + 2 * log_cosh).sum(axis=1)


@pytest.mark.parametrize("scale", [0.01, 1.0, 8.0])
@pytest.mark.parametrize("per_row", [False, True])
def test_log_prob_equals_the_density_in_float64(scale, per_row):
    rng = np.random.default_rng(7)
    mean = rng.normal(0, scale, (200, 8)).astype(np.float32)
    log_std = rng.uniform(-3, 0.5, (200, 8) if per_row else 8).astype(np.float32)
    noise = np.random.default_rng(11).standard_normal(mean.shape, np.float32)
    u = mean.astype(np.float64) + np.exp(log_std.astype(np.float64)) * noise
    action, log_prob = exploration.sample(mean, log_std, np.random.default_rng(11))
    assert action.dtype == log_prob.dtype == np.float32
    assert np.abs(action).max() <= 1 - 1e-6 + 1e-9
    np.testing.assert_allclose(action, np.clip(np.tanh(u), -1 + 1e-6, 1 - 1e-6), atol=3e-7)
    np.testing.assert_allclose(log_prob, reference_log_prob(u, mean, np.broadcast_to(log_std, mean.shape)),
                               rtol=3e-6, atol=3e-5)


@pytest.mark.parametrize(("mean", "log_std"), [(0.0, -0.5), (1.2, -1.0), (-2.0, 0.3)])
def test_the_density_over_actions_integrates_to_one_and_is_that_of_the_samples(mean, log_std):
    u = np.linspace(mean - 9 * np.exp(log_std), mean + 9 * np.exp(log_std), 200_001)
    action = np.tanh(u)
    density = np.exp(reference_log_prob(u[:, None], mean, log_std))
    mass = np.concatenate([[0.0], np.cumsum(0.5 * (density[1:] + density[:-1]) * np.diff(action))])
    assert mass[-1] == pytest.approx(1.0, abs=1e-6)
    drawn, log_prob = exploration.sample(np.full((20_000, 1), mean, np.float32), np.array([log_std], np.float32),
                                         np.random.default_rng(0))
    # The same density at the drawn actions, and as many of them below each quantile as there should be.
    inner = np.abs(drawn[:, 0]) < 0.999
    at = np.interp(drawn[inner, 0], action, density)
    np.testing.assert_allclose(np.exp(log_prob[inner]), at, rtol=2e-3)
    for quantile in (0.1, 0.5, 0.9):
        share = (drawn[:, 0] < np.interp(quantile, mass, action)).mean()
        assert share == pytest.approx(quantile, abs=0.01)


def test_a_learner_can_recover_what_was_drawn_from_the_action():
    rng = np.random.default_rng(5)
    mean = rng.normal(0, 1, (500, 8)).astype(np.float32)
    log_std = np.full(8, -0.5, np.float32)
    noise = np.random.default_rng(6).standard_normal(mean.shape, np.float32)
    u = mean.astype(np.float64) + np.exp(-0.5) * noise
    action, _ = exploration.sample(mean, log_std, np.random.default_rng(6))
    recovered = np.arctanh(action)
    assert recovered.dtype == np.float32 and np.isfinite(recovered).all()
    # One rounding of the action, magnified by the slope of atanh there.
    bound = 2e-7 * np.cosh(u) ** 2 + 1e-6
    assert (np.abs(recovered - u) < bound).all()
    far, _ = exploration.sample(np.full((1, 2), [[50.0, -50.0]], np.float32), log_std[:2], np.random.default_rng(0))
    assert np.isfinite(np.arctanh(far)).all() and (np.abs(far) < 1).all()
