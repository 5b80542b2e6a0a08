"""Sampling from a tanh-squashed Gaussian, the same for every backend and for the learner."""

from __future__ import annotations

import numpy as np

# Largest |action| that exploration gives: atanh of it is finite in float32, so that a learner can recover the
# Gaussian sample from the action alone.
ACTION_LIMIT = np.float32(1.0 - 1e-6)
_LOG_2PI = np.float32(np.log(2.0 * np.pi))


def sample(mean: np.ndarray, log_std: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw actions and their log-densities.

    Args:
        mean: float32 [n, action_size], mean before the squashing.
        log_std: float32 [n, action_size] or [action_size].
        rng: source of the noise; one draw of [n, action_size] per call.

    Returns:
        action float32 [n, action_size] in (-1, 1) and log_prob float32 [n], the density over actions
        (Haarnoja et al., Soft Actor-Critic Algorithms and Applications, arXiv:1812.05905, appendix C).
    """
    noise = rng.standard_normal(mean.shape, np.float32)
    squashed = mean + np.exp(log_std) * noise
    action = np.clip(np.tanh(squashed), -ACTION_LIMIT, ACTION_LIMIT)
    gaussian = -0.5 * np.square(noise) - log_std - np.float32(0.5) * _LOG_2PI
    log_prob = np.sum(gaussian - log_tanh_derivative(squashed), axis=1)
    return action, log_prob.astype(np.float32)


def log_tanh_derivative(x: np.ndarray) -> np.ndarray:
    """log(1 - tanh(x)^2), stable for large |x|."""
    return 2.0 * (np.float32(np.log(2.0)) - np.abs(x) - np.log1p(np.exp(-2.0 * np.abs(x))))
