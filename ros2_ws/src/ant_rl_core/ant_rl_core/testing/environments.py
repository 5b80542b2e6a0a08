"""Environments whose numbers tell where they came from: a fake, and two whose best policy or values are known."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import numpy as np

from ant_rl_core.spec import ANT, RobotSpec
from ant_rl_core.step import TimeStep


class _Episodes:
    """Episodes, trials and steps of n rows, as every `TimeStep` carries them."""

    _NAMES = ("step", "episode_id", "trial_id", "left")

    def __init__(self, num_envs: int, per_trial: int = 1) -> None:
        self.num_envs, self.per_trial = num_envs, per_trial
        self.step = np.zeros(num_envs, np.uint32)
        self.episode_id = np.zeros(num_envs, np.int64)
        self.trial_id = np.zeros(num_envs, np.int64)
        self.left = np.zeros(num_envs, np.int64)  # episodes that the present trial still has
        self.started = False
        self._next_id = 0

    def restart(self, rows: np.ndarray, new_trials: bool = False) -> None:
        """Begin episodes in these rows, and trials where those have had all of theirs, or in all of the rows."""
        self.step[rows] = 0
        self.episode_id[rows] = np.arange(self._next_id, self._next_id + len(rows))
        self._next_id += len(rows)
        begin = rows if new_trials else rows[self.left[rows] == 0]
        self.trial_id[begin] = self.episode_id[begin]
        self.left[begin] = self.per_trial
        self.left[rows] -= 1

    def time_step(self, observation: np.ndarray, reward: np.ndarray, terminated: np.ndarray, truncated: np.ndarray,
                  final_observation: np.ndarray, task: np.ndarray | None = None) -> TimeStep:
        return TimeStep(observation, reward, terminated, truncated, final_observation, self.episode_id.copy(),
                        self.step.copy(), trial_id=self.trial_id.copy(), task=task)

    def save(self) -> dict[str, np.ndarray]:
        return {**{name: getattr(self, name).copy() for name in self._NAMES}, "next_id": np.asarray(self._next_id)}

    def restore(self, saved: Mapping[str, np.ndarray]) -> None:
        for name in self._NAMES:
            setattr(self, name, saved[name].copy())
        self._next_id, self.started = int(saved["next_id"]), True


class _FakeEnv:
    """What the fakes share: checks, episode ends by count, reset in the same step."""

    def __init__(self, spec: RobotSpec, num_envs: int, episodes_per_trial: int = 1) -> None:
        for name, value in (("num_envs", num_envs), ("episodes_per_trial", episodes_per_trial)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, found {value}")
        self.spec = spec
        self.num_envs = num_envs
        self.observation_size = spec.observation_size
        self.action_size = spec.action_size
        self._episodes = _Episodes(num_envs, episodes_per_trial)
        self._observation = np.zeros((num_envs, spec.observation_size), np.float32)

    def reset(self, seed: int | None = None) -> TimeStep:
        """Start new episodes in all rows; a seed restarts the random numbers, if there are any."""
        self._seed(seed)
        rows = np.arange(self.num_envs)
        self._episodes.restart(rows, new_trials=True)
        self._episodes.started = True
        self._observation = self._observe(np.zeros((self.num_envs, self.action_size), np.float32))
        return self._start()

    def step(self, action: np.ndarray) -> TimeStep:
        """Apply float32 [n, action_size] in [-1, 1]; ValueError for any other action, RuntimeError before a reset."""
        if not self._episodes.started:
            raise RuntimeError("step was called before reset")
        self.spec.check_action(action, self.num_envs)
        if action.min() < self.spec.action_low or action.max() > self.spec.action_high:
            raise ValueError(f"action must be in [{self.spec.action_low:g}, {self.spec.action_high:g}], "
                             f"found {action.min():g} to {action.max():g}")
        self._episodes.step += 1
        reward = self._reward(action).astype(np.float32)
        terminated, truncated = self._ends()
        final = self._observe(action)
        observation = final
        rows = np.flatnonzero(terminated | truncated)
        if len(rows):
            self._episodes.restart(rows)
            observation = final.copy()
            observation[rows] = self._observe(np.zeros_like(action))[rows]
        self._observation = observation.copy()
        return self._episodes.time_step(observation, reward, terminated, truncated, final, self._task())

    def save(self) -> dict[str, np.ndarray]:
        """State as named arrays; see `contracts.VectorEnv`."""
        return {**self._episodes.save(), "observation": self._observation.copy()}

    def restore(self, saved: Mapping[str, np.ndarray]) -> TimeStep:
        """Go on from what `save` gave."""
        self._episodes.restore(saved)
        self._observation = saved["observation"].copy()
        return self._start()

    def close(self) -> None:
        """Nothing to release."""

    def _start(self) -> TimeStep:
        """The present observation as a time step that completes no transition."""
        no, observation = np.zeros(self.num_envs, bool), self._observation.copy()
        return self._episodes.time_step(observation, np.zeros(self.num_envs, np.float32), no, no.copy(), observation,
                                        self._task())

    def _task(self) -> np.ndarray | None:
        """float32 [n, k] of the rows' present trials; None where all have the same."""
        return None

    def _seed(self, seed: int | None) -> None:
        """Restart random numbers."""

    def _observe(self, action: np.ndarray) -> np.ndarray:
        """float32 [n, observation_size] of the rows' present episodes and steps."""
        raise NotImplementedError

    def _reward(self, action: np.ndarray) -> np.ndarray:
        """[n] rewards of the action in the state last observed."""
        raise NotImplementedError

    def _ends(self) -> tuple[np.ndarray, np.ndarray]:
        """bool [n] terminated, bool [n] truncated after the step just made."""
        raise NotImplementedError


class FakeVectorEnv(_FakeEnv):
    """Episodes of known lengths and numbers that tell where they come from.

    Column 0 of an observation is the row, 1 the episode id, 2 the step within the episode, then follow the action
    that led to it (zeros after a reset) and zeros. The reward of a transition is step + 1000 * row, with the step
    counted from 1. Row i's episodes have `lengths[i % len(lengths)]` steps; those with an even id terminate,
    those with an odd id are truncated. Where a trial has several episodes, its id is its task.

    Args:
        num_envs: number of rows n.
        lengths: steps per episode.
        spec: sizes; the observation must have room for 3 + action_size columns.
        episodes_per_trial: episodes of each trial.
    """

    def __init__(self, num_envs: int = 1, lengths: Sequence[int] = (3, 5), spec: RobotSpec = ANT,
                 episodes_per_trial: int = 1) -> None:
        super().__init__(spec, num_envs, episodes_per_trial)
        if spec.observation_size < 3 + spec.action_size:
            raise ValueError(f"the observation needs at least {3 + spec.action_size} columns, "
                             f"found {spec.observation_size}")
        if min(lengths) < 1:
            raise ValueError(f"episode lengths must be at least 1, found {min(lengths)}")
        self.lengths = np.resize(np.asarray(lengths), num_envs)

    def _observe(self, action: np.ndarray) -> np.ndarray:
        observation = np.zeros((self.num_envs, self.observation_size), np.float32)
        observation[:, 0] = np.arange(self.num_envs)
        observation[:, 1] = self._episodes.episode_id
        observation[:, 2] = self._episodes.step
        observation[:, 3:3 + self.action_size] = action
        return observation

    def _reward(self, action: np.ndarray) -> np.ndarray:
        return self._episodes.step + 1000.0 * np.arange(self.num_envs)

    def _ends(self) -> tuple[np.ndarray, np.ndarray]:
        done = self._episodes.step >= self.lengths
        even = self._episodes.episode_id % 2 == 0
        return done & even, done & ~even

    def _task(self) -> np.ndarray | None:
        return self._episodes.trial_id[:, None].astype(np.float32) if self._episodes.per_trial > 1 else None


class IdentityEnv(_FakeEnv):
    """The action should equal the observation: reward = 1 - mean squared difference, at best 1 per step.

    Observations are uniform in ±`bound`, drawn anew at every step whatever the action, so that no credit has to
    travel through time. Episodes are truncated after `episode_length` steps. After stable-baselines3's IdentityEnvBox
    (tests/test_identity.py), with a smooth reward.

    Args:
        num_envs: number of rows n.
        size: length of observation and action.
        episode_length: steps per episode.
        seed: of the observations; `reset(seed)` starts them anew.
        bound: largest magnitude of an observation; below 1, so that tanh policies can reach it.
    """

    def __init__(self, num_envs: int = 1, size: int = 2, episode_length: int = 32, seed: int = 0,
                 bound: float = 0.8) -> None:
        super().__init__(RobotSpec("Identity", size, size, control_period=1.0), num_envs)
        self.episode_length = episode_length
        self.bound = bound
        self._random = np.random.default_rng(seed)

    def _seed(self, seed: int | None) -> None:
        if seed is not None:
            self._random = np.random.default_rng(seed)

    def save(self) -> dict[str, np.ndarray]:
        """As of the other fakes, with the random numbers."""
        state = json.dumps(self._random.bit_generator.state).encode()
        return {**super().save(), "random": np.frombuffer(state, np.uint8)}

    def restore(self, saved: Mapping[str, np.ndarray]) -> TimeStep:
        """Go on from what `save` gave."""
        self._random.bit_generator.state = json.loads(saved["random"].tobytes())
        return super().restore(saved)

    def _observe(self, action: np.ndarray) -> np.ndarray:
        return self._random.uniform(-self.bound, self.bound, action.shape).astype(np.float32)

    def _reward(self, action: np.ndarray) -> np.ndarray:
        return 1.0 - np.square(action - self._observation).mean(axis=1)

    def _ends(self) -> tuple[np.ndarray, np.ndarray]:
        return np.zeros(self.num_envs, bool), self._episodes.step >= self.episode_length


class EndlessRewardEnv(_FakeEnv):
    """Reward 1 for ever, cut by a time limit: the value of every state is 1 / (1 - gamma).

    A learner that treats the time limit as an end, or that bootstraps past a true end, learns another value.

    Args:
        num_envs: number of rows n.
        episode_length: steps until the episode ends.
        terminates: let the limit be a true end instead; the value `k` steps before it is then
            (1 - gamma**k) / (1 - gamma). The second column of the observation, k / episode_length, tells k then,
            and is 0 otherwise.
        action_size: length of the action, which has no effect.
    """

    def __init__(self, num_envs: int = 1, episode_length: int = 10, terminates: bool = False,
                 action_size: int = 1) -> None:
        super().__init__(RobotSpec("EndlessReward", 2, action_size, control_period=1.0), num_envs)
        self.episode_length = episode_length
        self.terminates = terminates

    def value(self, gamma: float) -> float:
        """Value of a state at the start of an episode under discount `gamma` < 1."""
        best = 1.0 / (1.0 - gamma)
        return best * (1.0 - gamma**self.episode_length) if self.terminates else best

    def _observe(self, action: np.ndarray) -> np.ndarray:
        observation = np.ones((self.num_envs, 2), np.float32)
        left = self.episode_length - self._episodes.step.astype(np.float32)
        observation[:, 1] = left / self.episode_length if self.terminates else 0.0
        return observation

    def _reward(self, action: np.ndarray) -> np.ndarray:
        return np.ones(self.num_envs)

    def _ends(self) -> tuple[np.ndarray, np.ndarray]:
        done = self._episodes.step >= self.episode_length
        no = np.zeros(self.num_envs, bool)
        return (done, no) if self.terminates else (no, done)
