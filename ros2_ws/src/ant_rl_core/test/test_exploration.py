"""Exploration: densities against double precision and integration, the other kinds against their moments."""

import math

import numpy as np
import pytest

from ant_rl_core.exploration import ACTION_LIMIT, Exploration, explore, log_tanh_derivative, sample, torque_levels

RNG = np.random.default_rng


def density(action, mean, log_std):
    """Density of tanh(u) at `action` for one joint, in double precision, straight from the definition."""
    std = math.exp(log_std)
    eps = (math.atanh(action) - mean) / std
    return math.exp(-0.5 * eps * eps) / (std * math.sqrt(2 * math.pi)) / (1 - action * action)


def test_shapes_types_and_limits():
    mean, log_std = np.linspace(-20, 20, 24, dtype=np.float32).reshape(3, 8), np.full((3, 8), 1, np.float32)
    action, log_prob = sample(mean, log_std, RNG(0))
    assert action.dtype == log_prob.dtype == np.float32
    assert action.shape == (3, 8) and log_prob.shape == (3,)
    assert np.abs(action).max() <= ACTION_LIMIT < 1 and np.isfinite(np.arctanh(action)).all()
    assert np.isfinite(log_prob).all()


def test_one_draw_per_call_in_row_order():
    mean, log_std = np.zeros((2, 3), np.float32), np.zeros((2, 3), np.float32)
    random = RNG(4)
    first, second = sample(mean, log_std, random)[0], sample(mean, log_std, random)[0]
    noise = RNG(4).standard_normal((4, 3), np.float32)
    assert np.array_equal(np.concatenate([first, second]), np.tanh(noise))


@pytest.mark.parametrize("mean, log_std", [(0.0, 0.0), (0.7, -0.5), (-2.0, -1.5), (1.0, 0.5)])
def test_log_prob_is_the_logarithm_of_the_density(mean, log_std):
    shape = (500, 4)
    action, log_prob = sample(np.full(shape, mean, np.float32), np.full(shape, log_std, np.float32), RNG(1))
    inner = (np.abs(action) < 0.999).all(axis=1)  # beyond, float32 actions lie too far apart to be compared by
    assert inner.sum() > 20
    expected = [sum(math.log(density(float(a), mean, log_std)) for a in row) for row in action[inner]]
    assert np.allclose(log_prob[inner], expected, atol=2e-3)


@pytest.mark.parametrize("mean, log_std", [(0.0, -0.5), (0.7, -1.0), (-1.2, 0.0)])
def test_densities_integrate_to_one_and_samples_follow_them(mean, log_std):
    edges = np.tanh(np.linspace(mean - 8 * math.exp(log_std), mean + 8 * math.exp(log_std), 20001))
    middle = (edges[1:] + edges[:-1]) / 2
    mass = np.array([density(a, mean, log_std) for a in middle]) * np.diff(edges)
    assert mass.sum() == pytest.approx(1, abs=1e-4)
    action, log_prob = sample(np.full((200_000, 1), mean, np.float32), np.full((200_000, 1), log_std, np.float32),
                              RNG(2))
    for limit in (-0.5, 0.0, 0.5):
        assert (action < limit).mean() == pytest.approx(mass[middle < limit].sum(), abs=5e-3)
    # E[1 / p(a)] over samples is the length of the interval they fill; here of the inner part.
    inner = np.abs(action[:, 0]) < 0.5
    assert (np.exp(-log_prob.astype(np.float64)) * inner).mean() == pytest.approx(1.0, abs=0.03)


def test_a_log_std_for_all_rows_is_the_same_as_one_per_row():
    mean, log_std = np.zeros((5, 2), np.float32), np.array([-1, 0.5], np.float32)
    for one, other in zip(sample(mean, log_std, RNG(3)), sample(mean, np.tile(log_std, (5, 1)), RNG(3)), strict=True):
        assert np.array_equal(one, other)


def test_the_slope_of_tanh_is_stable_far_out():
    x = np.array([-50, -10, -1, 0, 1, 10, 50], np.float32)
    expected = [-2 * (abs(v) + math.log1p(math.exp(-2 * abs(v))) - math.log(2)) for v in x.astype(float)]
    assert np.allclose(log_tanh_derivative(x), expected, rtol=1e-6, atol=1e-6)
    inner = np.abs(x) < 5
    assert np.allclose(log_tanh_derivative(x)[inner], np.log(1 - np.tanh(x[inner].astype(np.float64))**2), atol=1e-6)


def drawn(exploration, best, seed=0):
    given = best.copy()
    action, extras = explore(exploration, {"action": best}, RNG(seed))
    assert action.dtype == np.float32 and action.shape == best.shape and np.abs(action).max() <= 1 and extras == {}
    assert np.array_equal(best, given)
    return action


def test_a_squashed_gaussian_is_sampled_as_ever():
    mean, log_std = RNG(0).normal(size=(2, 3, 8)).astype(np.float32)
    action, extras = explore(Exploration("squashed_gaussian"), {"mean": mean, "log_std": log_std}, RNG(1))
    expected, log_prob = sample(mean, log_std, RNG(1))
    assert np.array_equal(action, expected) and np.array_equal(extras["log_prob"], log_prob)


def test_uniform_torques_fill_the_range_evenly_whatever_the_action():
    action = drawn(Exploration("uniform"), np.full((20_000, 8), 0.9, np.float32))
    shares = np.histogram(action, 10, (-1, 1))[0] / action.size
    np.testing.assert_allclose(shares, 0.1, atol=5 * math.sqrt(0.09 / action.size))
    assert abs(action.mean()) < 5 * math.sqrt(1 / 3 / action.size)
    assert abs(np.corrcoef(action.T) - np.eye(8)).max() < 0.04


def test_gaussian_noise_has_its_mean_and_deviation_and_is_clipped_at_the_limits():
    best = np.tile(np.array([0.2, -0.3, 1.0, -1.0], np.float32), (50_000, 1))
    action = drawn(Exploration("gaussian", 0.1), best)
    noise = (action - best)[:, :2]
    np.testing.assert_allclose(noise.mean(axis=0), 0, atol=5 * 0.1 / math.sqrt(50_000))
    np.testing.assert_allclose(noise.std(axis=0), 0.1, rtol=0.02)
    # At the limit half of the noise is cut: E[min(noise, 0)] = -scale / sqrt(2 pi).
    np.testing.assert_allclose(action[:, 2:].mean(axis=0), np.array([1, -1]) * (1 - 0.1 / math.sqrt(2 * math.pi)),
                               atol=2e-3)
    np.testing.assert_allclose((np.abs(action[:, 2:]) == 1).mean(axis=0), 0.5, atol=0.01)
    assert np.array_equal(drawn(Exploration("gaussian"), best), best)


def test_exploring_torques_stay_within_a_smaller_limit():
    best = np.tile(np.array([0.1, 0.3, -0.3], np.float32), (50_000, 1))
    action = drawn(Exploration("gaussian", 0.05, limit=0.3), best)
    assert np.array_equal([action.min(), action.max()], np.array([-0.3, 0.3], np.float32))
    assert action[:, 0].std() == pytest.approx(0.05, rel=0.02)  # far from the limit nothing is cut
    np.testing.assert_allclose((np.abs(action[:, 1:]) == np.float32(0.3)).mean(axis=0), 0.5, atol=0.01)
    action = drawn(Exploration("uniform", limit=0.3), best)
    assert 0.299 < np.abs(action).max() <= 0.3 and np.histogram(action, 4, (-0.3, 0.3))[0].min() > 0.24 * action.size


def test_epsilon_greedy_gives_joints_random_levels_as_often_as_it_says():
    best = np.full((40_000, 3), 0.25, np.float32)  # no level, so that a random torque shows
    action = drawn(Exploration("epsilon_greedy", 0.3, 5), best)
    random = action != best
    assert random.mean(axis=0) == pytest.approx(np.full(3, 0.3), abs=5 * math.sqrt(0.21 / 40_000))
    assert abs(np.corrcoef(random.T) - np.eye(3)).max() < 0.03  # one joint's draw says nothing about another's
    values, counts = np.unique(action[random], return_counts=True)
    assert np.array_equal(values, torque_levels(5)) and values.tolist() == [-1, -0.5, 0, 0.5, 1]
    np.testing.assert_allclose(counts / counts.sum(), 0.2, atol=0.012)
    assert np.array_equal(drawn(Exploration("epsilon_greedy", 0.0, 3), best), best)
    assert set(np.unique(drawn(Exploration("epsilon_greedy", 1.0, 3), best))) == {-1, 0, 1}
    assert set(np.unique(drawn(Exploration("epsilon_greedy", 1.0, 5, 0.5), best))) == {-0.5, -0.25, 0, 0.25, 0.5}


@pytest.mark.parametrize("exploration", [Exploration("uniform"), Exploration("gaussian", 0.2),
                                         Exploration("epsilon_greedy", 0.5, 3)])
def test_equal_seeds_draw_equally_and_others_otherwise(exploration):
    best = np.zeros((50, 8), np.float32)
    first, again, other = (drawn(exploration, best, seed) for seed in (3, 3, 4))
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    random, twice = RNG(3), RNG(3)
    explore(exploration, {"action": best}, random)
    explore(exploration, {"action": best + 1}, twice)  # how much is drawn does not hang on the action
    assert random.bit_generator.state == twice.bit_generator.state


@pytest.mark.parametrize("fields, sentence", [
    ({"kind": "boltzmann"}, "exploration must be squashed_gaussian or uniform .* found 'boltzmann'"),
    ({"kind": "gaussian", "scale": -0.1}, "scale of gaussian exploration must be a finite number of at least 0.* -0.1"),
    ({"kind": "gaussian", "scale": math.nan}, "found nan"),
    ({"kind": "gaussian", "scale": math.inf}, "found inf"),
    ({"kind": "gaussian", "scale": "0.1"}, "found '0.1'"),
    ({"kind": "gaussian", "scale": True}, "found True"),
    ({"kind": "gaussian", "scale": 0.1, "levels": 3}, "levels of gaussian exploration must be 0, found 3"),
    ({"kind": "uniform", "scale": 0.1}, "scale of uniform exploration must be 0, found 0.1"),
    ({"kind": "squashed_gaussian", "scale": 1}, "scale of squashed_gaussian exploration must be 0, found 1"),
    ({"kind": "epsilon_greedy", "scale": 1.1, "levels": 3}, "must be a probability from 0 to 1, found 1.1"),
    ({"kind": "epsilon_greedy", "scale": 0.1}, "levels of epsilon_greedy exploration must be at least 2, found 0"),
    ({"kind": "epsilon_greedy", "scale": 0.1, "levels": 3.0}, "must be at least 2, found 3.0"),
    ({"kind": "epsilon_greedy", "levels": 3, "limit": 0.0},
     "limit of epsilon_greedy .* above 0 and at most 1, found 0.0"),
    ({"kind": "epsilon_greedy", "levels": 3, "limit": math.nan}, "above 0 and at most 1, found nan"),
    ({"kind": "gaussian", "limit": 1.5}, "limit of gaussian .* above 0 and at most 1, found 1.5"),
    ({"kind": "squashed_gaussian", "limit": 0.5}, "limit of squashed_gaussian exploration must be 1, found 0.5"),
])
def test_what_no_policy_can_explore_with_is_refused(fields, sentence):
    with pytest.raises(ValueError, match=sentence):
        Exploration(**fields)
