"""How policies explore: the same draws for every backend and for the learner."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

# Largest |action| that exploration gives: atanh of it is finite in float32, so that a learner can recover the
# Gaussian sample from the action alone.
ACTION_LIMIT = np.float32(1.0 - 1e-6)
_LOG_2PI = np.float32(np.log(2.0 * np.pi))

KINDS = ("squashed_gaussian", "uniform", "gaussian", "epsilon_greedy")


@dataclass(frozen=True)
class Exploration:
    """A way to explore around what an actor's graph gives.

    Attributes:
        kind: squashed_gaussian draws from the graph's own mean and log_std; uniform draws every torque evenly from
            [-limit, limit]; gaussian adds normal noise to the action and clips it to [-limit, limit]; epsilon_greedy
            now and then gives a joint a random level of torque.
        scale: gaussian: standard deviation of the noise, at least 0; epsilon_greedy: probability per joint and tick,
            0 to 1; otherwise 0.
        levels: epsilon_greedy: number of evenly spaced torques, at least 2; otherwise 0.
        limit: the largest torque, above 0 and at most 1; 1 for squashed_gaussian.

    Raises:
        ValueError: another kind, or a scale, number of levels or limit that it has no use for.
    """

    kind: str
    scale: float = 0.0
    levels: int = 0
    limit: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"exploration must be {' or '.join(KINDS)}, found {self.kind!r}")
        expected, largest = {"gaussian": ("a finite number of at least 0", math.inf),
                             "epsilon_greedy": ("a probability from 0 to 1", 1.0)}.get(self.kind, ("0", 0.0))
        number = isinstance(self.scale, (int, float)) and not isinstance(self.scale, bool)
        if not number or not 0.0 <= self.scale <= largest or self.scale == math.inf:
            raise ValueError(f"the scale of {self.kind} exploration must be {expected}, found {self.scale!r}")
        leveled = self.kind == "epsilon_greedy"
        if type(self.levels) is not int or (self.levels < 2 if leveled else self.levels != 0):
            raise ValueError(f"the levels of {self.kind} exploration must be {'at least 2' if leveled else '0'}, "
                             f"found {self.levels!r}")
        number = isinstance(self.limit, (int, float)) and not isinstance(self.limit, bool)
        limited = self.kind != "squashed_gaussian"
        if not number or not (0.0 < self.limit <= 1.0 if limited else self.limit == 1.0):
            raise ValueError(f"the limit of {self.kind} exploration must be "
                             f"{'above 0 and at most 1' if limited else '1'}, found {self.limit!r}")


def explore(exploration: Exploration, outputs: Mapping[str, np.ndarray],
            rng: np.random.Generator) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Draw exploring actions.

    Args:
        exploration: how to explore.
        outputs: what the actor's graph gave: `action`, float32 [n, action_size] in [-1, 1], and for
            squashed_gaussian also `mean` and `log_std`, see `sample`. What is given is not written to.
        rng: source of all draws; the same number of draws per call for the same sizes.

    Returns:
        action float32 [n, action_size] in [-1, 1], and extras: log_prob (float32 [n]) for squashed_gaussian,
        nothing for the others.
    """
    if exploration.kind == "squashed_gaussian":
        action, log_prob = sample(outputs["mean"], outputs["log_std"], rng)
        return action, {"log_prob": log_prob}
    best, limit = outputs["action"], np.float32(exploration.limit)
    if exploration.kind == "uniform":
        return limit * (2.0 * rng.random(best.shape, np.float32) - 1.0), {}
    if exploration.kind == "gaussian":
        noise = rng.standard_normal(best.shape, np.float32)
        return np.clip(best + np.float32(exploration.scale) * noise, -limit, limit), {}
    chosen = rng.random(best.shape) < exploration.scale
    levels = torque_levels(exploration.levels, exploration.limit)[rng.integers(exploration.levels, size=best.shape)]
    return np.where(chosen, levels, best), {}


def torque_levels(count: int, limit: float = 1.0) -> np.ndarray:
    """float32 [count], evenly spaced torques from -limit to limit, the ones that epsilon_greedy draws from."""
    return np.linspace(-limit, limit, count, dtype=np.float32)


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
