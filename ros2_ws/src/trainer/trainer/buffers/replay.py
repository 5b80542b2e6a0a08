"""Replay buffer of off-policy methods: the last transitions of every robot, drawn uniformly or by priority."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from ant_rl_core.step import Transition, bootstrap_mask
from trainer.buffers.sum_tree import SumTree
from trainer.checkpoint import pack_generator, unpack_generator


@dataclass(frozen=True)
class ReplayBatch:
    """m drawn transitions of up to n steps each.

    Attributes:
        observation, action: float32 [m, size], where the steps begin.
        reward: float32 [m], discounted sum over the steps.
        discount: float32 [m], what the value of `next_observation` counts: gamma^steps, 0 after a true end.
        next_observation: float32 [m, size], after the last of the steps.
        weight: float32 [m], importance weights, 1 for uniform draws.
        index: int64 [m], for `update_priorities`.
    """

    observation: np.ndarray
    action: np.ndarray
    reward: np.ndarray
    discount: np.ndarray
    next_observation: np.ndarray
    weight: np.ndarray
    index: np.ndarray


class ReplayBuffer:
    """Ring of ticks, each with one transition of every robot; the oldest tick is overwritten.

    Each observation is stored once: the successor of a transition is the observation of the next tick, and only
    where an episode ended or ticks were missed it is kept aside. A million transitions of the Ant take 0.47 GB.

    Args:
        capacity: number of transitions kept, rounded down to whole ticks.
        num_envs: rows of a tick.
        observation_size, action_size: sizes of the robot.
        seed: seed of the draws.
        n_step: steps that a drawn transition may span; fewer where an episode ends or the data does.
        discount: gamma.
        priority_exponent: alpha of prioritized replay (Schaul et al., arXiv:1511.05952); None draws uniformly.
    """

    def __init__(self, capacity: int, num_envs: int, observation_size: int, action_size: int,
                 seed: int | np.random.SeedSequence, *,
                 n_step: int = 1, discount: float = 0.99, priority_exponent: float | None = None) -> None:
        if not 1 <= num_envs <= capacity:
            raise ValueError(f"capacity must be at least num_envs = {num_envs}, found {capacity}")
        if n_step < 1:
            raise ValueError(f"n_step must be at least 1, found {n_step}")
        self.ticks, self.num_envs, self.n_step, self.discount = capacity // num_envs, num_envs, n_step, discount
        shape = (self.ticks, num_envs)
        self.observation = np.zeros((*shape, observation_size), np.float32)
        self.action = np.zeros((*shape, action_size), np.float32)
        self.reward = np.zeros(shape, np.float32)
        self.bootstrap = np.zeros(shape, np.float32)
        self.cut = np.zeros(shape, bool)  # the next tick does not go on from here
        self._aside: dict[int, np.ndarray] = {}  # successors of the transitions that are cut, by index
        self._successor = np.zeros((num_envs, observation_size), np.float32)  # of the newest tick
        self._written = 0  # ticks ever written
        self._rng = np.random.default_rng(seed)
        self._exponent = 0.0 if priority_exponent is None else priority_exponent
        self._tree = None if priority_exponent is None else SumTree(self.ticks * num_envs)
        self.max_priority = 1.0

    @property
    def capacity(self) -> int:
        """Number of transitions that fit."""
        return self.ticks * self.num_envs

    @property
    def size(self) -> int:
        """Number of transitions stored."""
        return min(self._written, self.ticks) * self.num_envs

    def add(self, batch: Transition) -> None:
        """Take one tick, the successor of the last one where its observations are; ValueError for other rows."""
        if len(batch.reward) != self.num_envs:
            raise ValueError(f"expected one transition for each of {self.num_envs} rows, found {len(batch.reward)}")
        if self._written:
            self._close_newest(batch.observation)
        t = self._written % self.ticks
        self._forget(t)
        self.observation[t], self.action[t], self.reward[t] = batch.observation, batch.action, batch.reward
        self.bootstrap[t] = bootstrap_mask(batch.terminated)
        self.cut[t] = batch.terminated | batch.truncated
        self._successor[:] = batch.next_observation
        if self._tree is not None:
            rows = t * self.num_envs + np.arange(self.num_envs)
            self._tree.set(rows, np.full(self.num_envs, self.max_priority**self._exponent))
        self._written += 1

    def sample(self, count: int, importance_exponent: float = 0.0) -> ReplayBatch:
        """Draw `count` of the stored transitions, with replacement; ValueError while empty.

        Args:
            count: number of draws m.
            importance_exponent: beta of the importance weights (size * probability)^-beta, which are divided by the
                largest of them in the batch.
        """
        if not self.size:
            raise ValueError("the replay buffer is empty: add transitions before drawing")
        if self._tree is None:
            index = self._rng.integers(0, self.size, count)
            weight: np.ndarray = np.ones(count, np.float32)
        else:
            strata = (np.arange(count) + self._rng.random(count)) / count
            index = self._tree.find(strata * self._tree.total)
            weight = (self.size * self._tree.get(index) / self._tree.total)**-importance_exponent
            weight = (weight / weight.max()).astype(np.float32)
        t, row = np.divmod(index, self.num_envs)
        reward, steps, last = self._run_ahead(t, row)
        discount = (self.discount**steps * self.bootstrap[last, row]).astype(np.float32)
        return ReplayBatch(self.observation[t, row], self.action[t, row], reward, discount,
                           self._successors(last, row), weight, index)

    def in_order(self) -> Iterator[Transition]:
        """What is stored, tick by tick, the oldest first; all ends but those of the task are time limits."""
        row = np.arange(self.num_envs)
        for i in range(max(0, self._written - self.ticks), self._written):
            t = np.full(self.num_envs, i % self.ticks)
            terminated = self.bootstrap[t, row] == 0
            yield Transition(self.observation[t, row], self.action[t, row], self.reward[t, row], terminated,
                             self.cut[t, row] & ~terminated, self._successors(t, row))

    def update_priorities(self, index: np.ndarray, priority: np.ndarray) -> None:
        """Set the priorities (> 0) of drawn transitions; new ones enter with the largest priority ever set.

        RuntimeError where draws are uniform.
        """
        if self._tree is None:
            raise RuntimeError("this replay buffer draws uniformly: it was made without a priority_exponent")
        self._tree.set(index, priority**self._exponent)
        self.max_priority = max(self.max_priority, float(priority.max()))

    def reset_max_priority(self) -> None:
        """Let new transitions enter with the largest priority among the stored ones."""
        if self._tree is not None and self._exponent:  # with 0 all leaves are 1, whatever the priorities
            self.max_priority = float(self._tree.leaves.max())**(1.0 / self._exponent)

    def save(self) -> dict[str, np.ndarray]:
        """Stored transitions, priorities and state of the draws as named arrays; those of the ring are no copies."""
        used = slice(0, min(self._written, self.ticks))
        arrays = {name: getattr(self, name)[used]
                  for name in ("observation", "action", "reward", "bootstrap", "cut")}
        aside = np.array(list(self._aside.values()), np.float32).reshape(-1, self._successor.shape[1])
        arrays.update(aside=aside, aside_index=np.array(list(self._aside), np.int64), successor=self._successor,
                      written=np.asarray(self._written), rng=pack_generator(self._rng),
                      ring=np.array([self.ticks, self.num_envs]))
        if self._tree is not None:
            arrays.update(leaves=self._tree.leaves[:self.size], max_priority=np.asarray(self.max_priority))
        return arrays

    def restore(self, saved: Mapping[str, np.ndarray]) -> None:
        """Continue from what `save` gave; ValueError if that was of another capacity, number of rows or kind."""
        ring = tuple(int(size) for size in saved["ring"])
        if ring != (self.ticks, self.num_envs) or ("leaves" in saved) != (self._tree is not None):
            raise ValueError(f"expected a replay buffer of {self.ticks} ticks of {self.num_envs} rows"
                             f"{' with priorities' if self._tree is not None else ''}, found one of {ring[0]} of "
                             f"{ring[1]}{' with priorities' if 'leaves' in saved else ''}")
        self._written = int(saved["written"])
        used = slice(0, min(self._written, self.ticks))
        for name in ("observation", "action", "reward", "bootstrap", "cut"):
            getattr(self, name)[used] = saved[name]
        self._aside = dict(zip(saved["aside_index"].tolist(), saved["aside"].copy(), strict=True))
        self._successor[:] = saved["successor"]
        unpack_generator(self._rng, saved["rng"])
        if self._tree is not None:
            leaves = np.zeros(self.capacity)  # those not in use too: this buffer may have been fuller
            leaves[:self.size] = saved["leaves"]
            self._tree.set(np.arange(self.capacity), leaves)
            self.max_priority = float(saved["max_priority"])

    def _close_newest(self, following: np.ndarray) -> None:
        """Keep the newest tick's successors aside where `following`, the next tick's observations, are others."""
        t = (self._written - 1) % self.ticks
        self.cut[t] |= (following != self._successor).any(axis=1)
        for row in np.flatnonzero(self.cut[t]):
            self._aside[t * self.num_envs + int(row)] = self._successor[row].copy()

    def _forget(self, t: int) -> None:
        """Drop what is kept aside for tick `t`, which will be overwritten."""
        for row in np.flatnonzero(self.cut[t]):
            self._aside.pop(t * self.num_envs + int(row), None)

    def _run_ahead(self, t: np.ndarray, row: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rewards summed over up to `n_step` steps, how many those were, and the tick of the last one."""
        newest = (self._written - 1) % self.ticks
        reward: np.ndarray = self.reward[t, row]
        steps, last = np.ones(len(t), np.int64), t
        going = np.ones(len(t), bool)
        for _ in range(1, self.n_step):
            going = going & ~self.cut[last, row] & (last != newest)
            if not going.any():
                break
            last = np.where(going, (last + 1) % self.ticks, last)
            gain = self.discount**steps * self.reward[last, row]
            reward = reward + np.where(going, gain, 0.0).astype(np.float32)
            steps = steps + going
        return reward, steps, last

    def _successors(self, t: np.ndarray, row: np.ndarray) -> np.ndarray:
        """Observations after the transitions, float32 [m, observation_size]."""
        newest = (self._written - 1) % self.ticks
        found = self.observation[(t + 1) % self.ticks, row]
        at_head = t == newest
        found[at_head] = self._successor[row[at_head]]
        for i in np.flatnonzero(self.cut[t, row] & ~at_head):
            found[i] = self._aside[int(t[i]) * self.num_envs + int(row[i])]
        return found
