"""Rollout buffer of on-policy methods: T consecutive ticks of n rows, then emptied."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ant_rl_core.step import Transition, bootstrap_mask

_ARRAYS = ("observation", "action", "reward", "terminated", "truncated", "next_observation")


class RolloutBuffer:
    """Holds `length` ticks of `num_envs` rows in arrays [length, num_envs, ...]."""

    def __init__(self, length: int, num_envs: int, observation_size: int, action_size: int) -> None:
        self.length, self.num_envs = length, num_envs
        shape = (length, num_envs)
        self.observation = np.zeros((*shape, observation_size), np.float32)
        self.action = np.zeros((*shape, action_size), np.float32)
        self.reward = np.zeros(shape, np.float32)
        self.terminated = np.zeros(shape, bool)
        self.truncated = np.zeros(shape, bool)
        self.next_observation = np.zeros((*shape, observation_size), np.float32)
        self.size = 0

    @property
    def full(self) -> bool:
        """Whether `length` ticks were added."""
        return self.size == self.length

    @property
    def transitions(self) -> int:
        """Transitions that were added."""
        return self.size * self.num_envs

    def add(self, batch: Transition) -> None:
        """Append one tick; RuntimeError when full, ValueError for another number of rows."""
        if self.full:
            raise RuntimeError(f"the rollout buffer is full: {self.length} ticks were added and not yet learned from")
        if len(batch.reward) != self.num_envs:  # numpy would repeat a single row
            raise ValueError(f"expected one transition for each of {self.num_envs} rows, found {len(batch.reward)}")
        for name in _ARRAYS:
            getattr(self, name)[self.size] = getattr(batch, name)
        self.size += 1

    def cuts(self) -> np.ndarray:
        """bool [length, num_envs], where the next tick's observation is not the successor of this transition.

        That is so where an episode ended, where ticks were missed in between, and in the last tick: the successor is
        then to be had from `next_observation` only, and no sum over time runs across.
        """
        cut = np.ones((self.length, self.num_envs), bool)
        cut[:-1] = (self.terminated | self.truncated)[:-1]
        cut[:-1] |= (self.next_observation[:-1] != self.observation[1:]).any(axis=2)
        return cut

    def save(self) -> dict[str, np.ndarray]:
        """The ticks that were added, as named arrays [size, num_envs, ...]."""
        return {f"rollout_{name}": getattr(self, name)[:self.size].copy() for name in _ARRAYS}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Continue from what `save` gave; ValueError, and nothing changed, if its ticks don't fit in here."""
        size, num_envs = state["rollout_reward"].shape
        if size > self.length or num_envs != self.num_envs:
            raise ValueError(f"the checkpoint is of a rollout with {size} ticks of {num_envs} rows, which "
                             f"{self.length} ticks of {self.num_envs} can't hold: set rollout_length and num_envs to "
                             "what it was made with")
        self.size = size
        for name in _ARRAYS:
            getattr(self, name)[:size] = state[f"rollout_{name}"]

    def clear(self) -> None:
        """Forget all ticks."""
        self.size = 0


def generalized_advantages(reward: np.ndarray, value: np.ndarray, next_value: np.ndarray, terminated: np.ndarray,
                           cut: np.ndarray, discount: float, gae_lambda: float) -> np.ndarray:
    """Generalized advantage estimates (Schulman et al., arXiv:1506.02438, equation 16).

    Args:
        reward, value, next_value: [T, n]; `next_value` is the value of the true successor, so at a time limit that
            of the final observation.
        terminated: bool [T, n], true ends, where the successor's value does not count.
        cut: bool [T, n], where the sum over time ends, see `RolloutBuffer.cuts`.

    Returns:
        Advantages [T, n] in the dtype of `value`.
    """
    delta = reward + discount * bootstrap_mask(terminated) * next_value - value
    carry = (discount * gae_lambda * ~cut).astype(value.dtype)
    advantage = np.zeros_like(value)
    running = np.zeros_like(value[0])
    for t in range(len(reward) - 1, -1, -1):
        running = delta[t] + carry[t] * running
        advantage[t] = running
    return advantage
