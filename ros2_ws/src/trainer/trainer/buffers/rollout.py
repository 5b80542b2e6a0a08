"""Rollout buffer of on-policy methods: T consecutive ticks of n rows, then emptied."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ant_rl_core.step import Transition, bootstrap_mask

_ARRAYS = ("observation", "action", "reward", "terminated", "truncated", "next_observation")
# In buffers that keep states.
_MEMORY = ("trial_first", "trial_last", "previous_action", "previous_reward", "previous_done", "log_prob", "task")


class RolloutBuffer:
    """Holds `length` ticks of `num_envs` rows in arrays [length, num_envs, ...].

    Args:
        length, num_envs, observation_size, action_size: sizes.
        state_shapes: shape of each of the actor's states without the batch axis, () for an actor that has none but is
            told what happened before; None: neither states nor trials nor what happened before are kept.
        task_size: numbers of a task that are kept beside states; shorter tasks are filled up with zeros.

    Attributes:
        observation, action, reward, terminated, truncated, next_observation: as of `Transition`; but where states are
            kept, `next_observation` is the first of the next episode where one ended within a trial.
        trial_first, trial_last: bool [length, num_envs], where a trial begins with the observation, and where one ends
            with the transition.
        previous_action, previous_reward, previous_done: what happened before the observation, float32
            [length, num_envs, action_size], float32 and bool [length, num_envs]; zeros where a trial begins.
        log_prob: of the action as it was drawn, float32 [length, num_envs]; infinity where it was not told.
        task: float32 [length, num_envs, task_size]; zeros where none was told.
        states: the actor's states before the action, float32 [length, num_envs, *shape] each; zeros where a trial
            begins.
    """

    def __init__(self, length: int, num_envs: int, observation_size: int, action_size: int,
                 state_shapes: Sequence[tuple[int, ...]] | None = None, task_size: int = 0) -> None:
        self.length, self.num_envs = length, num_envs
        shape = (length, num_envs)
        self.observation = np.zeros((*shape, observation_size), np.float32)
        self.action = np.zeros((*shape, action_size), np.float32)
        self.reward = np.zeros(shape, np.float32)
        self.terminated = np.zeros(shape, bool)
        self.truncated = np.zeros(shape, bool)
        self.next_observation = np.zeros((*shape, observation_size), np.float32)
        self._names: tuple[str, ...] = _ARRAYS
        self.states: list[np.ndarray] = []
        if state_shapes is not None:
            self.trial_first, self.trial_last = np.zeros(shape, bool), np.zeros(shape, bool)
            self.log_prob, self.task = np.zeros(shape, np.float32), np.zeros((*shape, task_size), np.float32)
            self.previous_action = np.zeros((*shape, action_size), np.float32)
            self.previous_reward = np.zeros(shape, np.float32)
            self.previous_done = np.zeros(shape, bool)
            self._names += _MEMORY
            self.states = [np.zeros((*shape, *size), np.float32) for size in state_shapes]
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
        """Append one tick; RuntimeError when full, ValueError for another number of rows or of states."""
        if self.full:
            raise RuntimeError(f"the rollout buffer is full: {self.length} ticks were added and not yet learned from")
        if len(batch.reward) != self.num_envs:  # numpy would repeat a single row
            raise ValueError(f"expected one transition for each of {self.num_envs} rows, found {len(batch.reward)}")
        for name in _ARRAYS:
            getattr(self, name)[self.size] = getattr(batch, name)
        if self._names is not _ARRAYS:
            self._add_memory(batch)
        self.size += 1

    def _add_memory(self, batch: Transition) -> None:
        if (batch.trial_first is None or batch.trial_last is None or batch.upcoming is None or batch.previous is None
                or len(batch.state) != len(self.states)):
            raise ValueError("expected transitions with trial_first, previous and "
                             f"{len(self.states)} states of the actor, found "
                             f"{'' if batch.trial_first is not None else 'no '}trial_first, "
                             f"{'' if batch.previous is not None else 'no '}previous and {len(batch.state)} states")
        t, first, before = self.size, batch.trial_first, batch.previous.forgotten(batch.trial_first)
        self.trial_first[t] = first
        self.previous_action[t], self.previous_reward[t] = before.action, before.reward
        self.previous_done[t] = before.done
        self.trial_last[t] = batch.trial_last
        on = (batch.terminated | batch.truncated) & ~batch.trial_last
        self.next_observation[t, on] = batch.upcoming[on]
        self.log_prob[t] = batch.extras.get("log_prob", np.inf)
        self._add_task(batch.task)
        for kept, state in zip(self.states, batch.state, strict=True):
            kept[t] = state
            kept[t, first] = 0.0

    def _add_task(self, task: np.ndarray | None) -> None:
        kept = self.task[self.size]
        kept[:] = 0.0
        if task is not None and kept.shape[1]:
            if task.shape[1] > kept.shape[1]:
                raise ValueError(f"expected tasks of at most {kept.shape[1]} numbers, found {task.shape[1]}")
            kept[:, :task.shape[1]] = task

    def cuts(self) -> np.ndarray:
        """bool [length, num_envs], where the next tick's observation is not the successor of this transition.

        That is so where an episode ended, where ticks were missed in between, and in the last tick: the successor is
        then to be had from `next_observation` only, and no sum over time runs across.
        """
        cut = np.ones((self.length, self.num_envs), bool)
        cut[:-1] = (self.terminated | self.truncated)[:-1]
        cut[:-1] |= (self.next_observation[:-1] != self.observation[1:]).any(axis=2)
        return cut

    def trial_cuts(self) -> np.ndarray:
        """bool [length, num_envs], as `cuts`, but sums over time run across the ends of episodes within a trial.

        So they end where the next tick begins another trial, where ticks were missed in between, and in the last tick.
        Needs a buffer that keeps what happened before, which tells whether a tick follows the one added before it.
        """
        ended = self.terminated | self.truncated
        cut = np.ones((self.length, self.num_envs), bool)
        cut[:-1] = self.trial_first[1:] | (ended[:-1] != self.previous_done[1:])
        cut[:-1] |= self.reward[:-1] != self.previous_reward[1:]
        cut[:-1] |= (self.action[:-1] != self.previous_action[1:]).any(axis=2)
        cut[:-1] |= (self.next_observation[:-1] != self.observation[1:]).any(axis=2)
        return cut

    def save(self) -> dict[str, np.ndarray]:
        """The ticks that were added, as named arrays [size, num_envs, ...]."""
        return {f"rollout_{name}": array[:self.size].copy() for name, array in self._arrays().items()}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Continue from what `save` gave; ValueError, and nothing changed, if its ticks don't fit in here."""
        size, num_envs = state["rollout_reward"].shape
        if size > self.length or num_envs != self.num_envs:
            raise ValueError(f"the checkpoint is of a rollout with {size} ticks of {num_envs} rows, which "
                             f"{self.length} ticks of {self.num_envs} can't hold: set rollout_length and num_envs to "
                             "what it was made with")
        arrays = self._arrays()
        for name, array in arrays.items():
            found = state.get(f"rollout_{name}")
            if found is None or found.shape[2:] != array.shape[2:]:
                raise ValueError(f"the checkpoint's rollout must have {name} of shape {list(array.shape[2:])}, found "
                                 f"{'none' if found is None else list(found.shape[2:])}: it is of another actor")
        self.size = size
        for name, array in arrays.items():
            array[:size] = state[f"rollout_{name}"]

    def _arrays(self) -> dict[str, np.ndarray]:
        return {**{name: getattr(self, name) for name in self._names},
                **{f"state_{i}": array for i, array in enumerate(self.states)}}

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
