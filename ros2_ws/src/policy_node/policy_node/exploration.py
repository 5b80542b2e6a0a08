"""How a stochastic policy explores: a normal distribution squashed by tanh, the same for every backend."""

from __future__ import annotations

import numpy as np

# Actions stay this far from ±1, so that a learner can take atanh of what was applied.
EDGE = 1e-6
_LOG_SQRT_2PI = 0.5 * np.log(2 * np.pi)
_LOG_2 = np.log(2.0)


def sample(mean: np.ndarray, log_std: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw actions and their log-densities.

    u = mean + exp(log_std) * eps with eps from a standard normal, action = tanh(u). The density of the action is the
    normal's, divided by the slope of tanh (Haarnoja et al., Soft Actor-Critic, arXiv:1801.01290, appendix C).

    Args:
        mean: float32 [n, action_size], before tanh.
        log_std: float32 [n, action_size].
        random: its next n * action_size normals, drawn as float32, are used up.

    Returns:
        action float32 [n, action_size], in ±(1 - 1e-6); log_prob float32 [n].
    """
    eps = random.standard_normal(mean.shape, np.float32)
    u = mean + np.exp(log_std) * eps
    action = np.clip(np.tanh(u), -1 + EDGE, 1 - EDGE, dtype=np.float32)
    return action, log_prob(eps, log_std, u).astype(np.float32)


def log_prob(eps: np.ndarray, log_std: np.ndarray, u: np.ndarray) -> np.ndarray:
    """float64 [n], log-density of tanh(u): stable for any u, where log(1 - tanh(u)**2) itself is not.

    Args:
        eps: [n, action_size], (u - mean) / std.
        log_std, u: [n, action_size].
    """
    eps, u = eps.astype(np.float64), u.astype(np.float64)
    log_slope = 2.0 * (_LOG_2 - u - np.logaddexp(0.0, -2.0 * u))  # log(1 - tanh(u)**2)
    return (-0.5 * eps * eps - log_std - _LOG_SQRT_2PI - log_slope).sum(axis=1)
