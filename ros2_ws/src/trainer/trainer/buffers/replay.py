"""Replay buffer of off-policy methods: the last `capacity` transitions, drawn uniformly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ant_rl_core.step import Transition, bootstrap_mask
from trainer.checkpoint import pack_generator, unpack_generator


@dataclass(frozen=True)
class ReplayBatch:
    """Drawn transitions; `bootstrap` is 1 where the value of `next_observation` counts (see `bootstrap_mask`)."""

    observation: np.ndarray
    action: np.ndarray
    reward: np.ndarray
    bootstrap: np.ndarray
    next_observation: np.ndarray


class ReplayBuffer:
    """Ring of transitions in float32 arrays; the oldest are overwritten.

    Args:
        capacity: number of transitions kept.
        observation_size, action_size: sizes of the robot.
        seed: seed of the draws.
    """

    def __init__(self, capacity: int, observation_size: int, action_size: int, seed: int) -> None:
        if capacity < 1:
            raise ValueError(f"capacity must be at least 1, found {capacity}")
        self.capacity = capacity
        self.observation = np.zeros((capacity, observation_size), np.float32)
        self.action = np.zeros((capacity, action_size), np.float32)
        self.reward = np.zeros(capacity, np.float32)
        self.bootstrap = np.zeros(capacity, np.float32)
        self.next_observation = np.zeros((capacity, observation_size), np.float32)
        self.size = 0
        self._next = 0
        self._rng = np.random.default_rng(seed)

    def add(self, batch: Transition) -> None:
        """Take one transition per row; ValueError for more rows than the buffer can hold."""
        rows = len(batch.reward)
        if rows > self.capacity:
            raise ValueError(f"at most {self.capacity} rows fit into the buffer at once, found {rows}")
        at = (self._next + np.arange(rows)) % self.capacity
        self.observation[at] = batch.observation
        self.action[at] = batch.action
        self.reward[at] = batch.reward
        self.bootstrap[at] = bootstrap_mask(batch.terminated)
        self.next_observation[at] = batch.next_observation
        self._next = (self._next + rows) % self.capacity
        self.size = min(self.size + rows, self.capacity)

    def sample(self, count: int) -> ReplayBatch:
        """Draw `count` of the stored transitions, with replacement; ValueError while empty."""
        if not self.size:
            raise ValueError("the replay buffer is empty: add transitions before drawing")
        at = self._rng.integers(0, self.size, count)
        return ReplayBatch(self.observation[at], self.action[at], self.reward[at], self.bootstrap[at],
                           self.next_observation[at])

    def save(self) -> Mapping[str, np.ndarray]:
        """Stored transitions and state of the draws as named arrays."""
        used = slice(0, self.size)
        return {"observation": self.observation[used], "action": self.action[used], "reward": self.reward[used],
                "bootstrap": self.bootstrap[used], "next_observation": self.next_observation[used],
                "next": np.asarray(self._next), "rng": pack_generator(self._rng)}

    def restore(self, saved: Mapping[str, np.ndarray]) -> None:
        """Continue from what `save` gave; ValueError if it holds more than `capacity`."""
        size, oldest = len(saved["reward"]), 0
        if size > self.capacity:
            raise ValueError(f"the saved buffer holds {size} transitions, this one at most {self.capacity}")
        self.size, self._next = size, int(saved["next"]) % self.capacity
        if self._next < size < self.capacity:  # a smaller ring that had wrapped around: unroll it
            self._next, oldest = size, self._next
        for name in ("observation", "action", "reward", "bootstrap", "next_observation"):
            getattr(self, name)[:size] = np.roll(saved[name], -oldest, axis=0)
        unpack_generator(self._rng, saved["rng"])
