"""Sampling from the tanh-squashed normal: densities against double precision and against integration."""

import math

import numpy as np
import pytest

from ant_rl_core.exploration import ACTION_LIMIT, log_tanh_derivative, sample

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
    for one, other in zip(sample(mean, log_std, RNG(3)), sample(mean, np.tile(log_std, (5, 1)), RNG(3))):
        assert np.array_equal(one, other)


def test_the_slope_of_tanh_is_stable_far_out():
    x = np.array([-50, -10, -1, 0, 1, 10, 50], np.float32)
    expected = [-2 * (abs(v) + math.log1p(math.exp(-2 * abs(v))) - math.log(2)) for v in x.astype(float)]
    assert np.allclose(log_tanh_derivative(x), expected, rtol=1e-6, atol=1e-6)
    inner = np.abs(x) < 5
    assert np.allclose(log_tanh_derivative(x)[inner], np.log(1 - np.tanh(x[inner].astype(np.float64))**2), atol=1e-6)
