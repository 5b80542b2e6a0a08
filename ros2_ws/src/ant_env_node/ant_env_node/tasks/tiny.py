"""Environments without physics: all rows in flat arrays, each with random numbers of its own."""

from __future__ import annotations

import secrets
from collections.abc import Mapping

import numpy as np

from ant_env_node.tasks.distribution import PARTS
from ant_rl_core.spec import RobotSpec
from ant_rl_core.step import TimeStep

_STREAM = 0x71E1  # parts the keys of rows from other users of the same seeds


class RowStreams:
    """Random numbers for n rows at once, those of a row of its seed alone (SplitMix64, Steele et al. 2014).

    The i-th number of a row is a hash of its key and i, so that no generator has to be called row by row.

    Args:
        seeds: of each row.
        part: rows of another part have other numbers for the same seed.
    """

    def __init__(self, seeds: list[int], part: int) -> None:
        self._key = np.array([np.random.SeedSequence([seed, _STREAM, part]).generate_state(1, np.uint64)[0]
                              for seed in seeds], np.uint64)
        self._drawn = np.zeros(len(seeds), np.uint64)

    def uniform(self, rows: np.ndarray, count: int) -> np.ndarray:
        """The next `count` numbers of each of these rows (indices), float64 [len(rows), count] in [0, 1)."""
        index = self._drawn[rows, None] + np.arange(1, count + 1, dtype=np.uint64)
        self._drawn[rows] += np.uint64(count)
        x: np.ndarray = self._key[rows, None] + index * np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        x = x ^ (x >> np.uint64(31))
        return (x >> np.uint64(11)) * 2.0**-53  # the upper 53 bits

    def save(self) -> dict[str, np.ndarray]:
        """State as named arrays."""
        return {"key": self._key.copy(), "drawn": self._drawn.copy()}

    def restore(self, saved: Mapping[str, np.ndarray]) -> None:
        """Go on from what `save` gave."""
        self._key, self._drawn = saved["key"].copy(), saved["drawn"].copy()


class TinyEnv:
    """A `VectorEnv` whose episodes all have the same length, and whose trials have the same number of episodes.

    A kind adds `_draw`, `_begin`, `_move`, `_observe` and `_task`, and says in ARRAYS which of its arrays [n, ...] are
    its state.

    Args:
        num_envs: number of rows n.
        seed: row i has the random numbers of seed + i; None: others each time.
        part: "train" or "held_out": for the same seed each has tasks of its own.
        robot: sizes.
        episode_steps: ticks of an episode.
        episodes_per_trial: episodes in one task.
        terminates: whether an episode's last tick is its true end, or a time limit.
    """

    ARRAYS: tuple[str, ...] = ()
    _EPISODES = ("_step", "_episode_id", "_trial_id", "_left")

    def __init__(self, num_envs: int, seed: int | None, part: str, robot: RobotSpec, episode_steps: int,
                 episodes_per_trial: int, terminates: bool) -> None:
        if num_envs < 1:
            raise ValueError(f"num_envs must be at least 1, found {num_envs}")
        self.robot, self.num_envs, self._part = robot, num_envs, PARTS.index(part)
        self.observation_size, self.action_size = robot.observation_size, robot.action_size
        self.episode_steps, self.episodes_per_trial, self._terminates = episode_steps, episodes_per_trial, terminates
        self._step = np.zeros(num_envs, np.uint32)
        self._episode_id = np.zeros(num_envs, np.int64)
        self._trial_id = np.zeros(num_envs, np.int64)
        self._left = np.zeros(num_envs, np.int64)  # episodes that the present trial has after this one
        self._next_id = 0
        self._seed(secrets.randbits(32) if seed is None else seed)

    def reset(self, seed: int | None = None) -> TimeStep:
        """Start new trials in all rows; row i is seeded with seed + i when a seed is given."""
        if seed is not None:
            self._seed(seed)
        self._left[:] = 0
        self._restart(np.arange(self.num_envs))
        return self._start()

    def step(self, action: np.ndarray) -> TimeStep:
        """Apply float32 [n, action_size] in [-1, 1] for one tick; ValueError for any other action."""
        self.robot.check_action(action, self.num_envs)
        reward = self._move(action).astype(np.float32)
        self._step += 1
        done, no = self._step >= self.episode_steps, np.zeros(self.num_envs, bool)
        final = observation = self._observe()
        if done.any():
            self._restart(np.flatnonzero(done))
            observation = self._observe()
        terminated, truncated = (done, no) if self._terminates else (no, done)
        return self._time_step(observation, reward, terminated, truncated, final)

    def save(self) -> dict[str, np.ndarray]:
        """State as named arrays, from which `restore` goes on bit for bit."""
        return {**{name: getattr(self, name).copy() for name in (*self._EPISODES, *self.ARRAYS)},
                **self._streams.save(), "next_id": np.asarray(self._next_id)}

    def restore(self, saved: Mapping[str, np.ndarray]) -> TimeStep:
        """Go on from what `save` gave; ValueError where it was of another number of rows."""
        if len(saved["_step"]) != self.num_envs:
            raise ValueError(f"expected what was saved with {self.num_envs} rows, found {len(saved['_step'])}")
        for name in (*self._EPISODES, *self.ARRAYS):
            getattr(self, name)[:] = saved[name]
        self._streams.restore(saved)
        self._next_id = int(saved["next_id"])
        return self._start()

    def close(self) -> None:
        """Nothing to release."""

    def _seed(self, seed: int) -> None:
        self._streams = RowStreams([seed + row for row in range(self.num_envs)], self._part)

    def _restart(self, rows: np.ndarray) -> None:
        """Begin episodes in these rows, and trials where those have had all of theirs."""
        self._step[rows] = 0
        self._episode_id[rows] = np.arange(self._next_id, self._next_id + len(rows))
        self._next_id += len(rows)
        fresh = rows[self._left[rows] == 0]
        self._trial_id[fresh] = self._episode_id[fresh]
        self._left[fresh] = self.episodes_per_trial
        self._left[rows] -= 1
        self._draw(fresh)
        self._begin(rows)

    def _start(self) -> TimeStep:
        """A time step that completes no transition."""
        no, observation = np.zeros(self.num_envs, bool), self._observe()
        return self._time_step(observation, np.zeros(self.num_envs, np.float32), no, no.copy(), observation)

    def _time_step(self, observation: np.ndarray, reward: np.ndarray, terminated: np.ndarray, truncated: np.ndarray,
                   final: np.ndarray) -> TimeStep:
        return TimeStep(observation, reward, terminated, truncated, final, self._episode_id.copy(), self._step.copy(),
                        trial_id=self._trial_id.copy(), task=self._task())

    # -- of each kind ------------------------------------------------------------------------------------------------

    def _draw(self, rows: np.ndarray) -> None:
        """Give these rows (indices) other tasks."""
        raise NotImplementedError

    def _begin(self, rows: np.ndarray) -> None:
        """Put these rows at the start of an episode."""
        raise NotImplementedError

    def _move(self, action: np.ndarray) -> np.ndarray:
        """Make one tick; returns rewards [n]."""
        raise NotImplementedError

    def _observe(self) -> np.ndarray:
        """float32 [n, observation_size], a new array."""
        raise NotImplementedError

    def _task(self) -> np.ndarray:
        """float32 [n, k], the task of each row, a new array."""
        raise NotImplementedError
