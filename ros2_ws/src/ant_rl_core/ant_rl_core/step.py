"""Time steps and transitions: the one place where terminated, truncated and final observation meet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

_EPISODES = np.empty(0, np.int64)  # stands for: each episode is a trial


@dataclass(frozen=True)
class TimeStep:
    """What a vector environment returns: one row per robot, float32 at the edge.

    A row whose episode ended was reset at once: `observation` is then the first of the new episode and
    `final_observation` the last of the old one. In every other row the two are equal.

    Attributes:
        observation: float32 [n, observation_size], what the policy acts on next.
        reward: float32 [n], of the transition just made (0 after a reset).
        terminated: bool [n], the task itself ended the episode.
        truncated: bool [n], the time limit cut it.
        final_observation: float32 [n, observation_size], the successor state of the transition.
        episode_id: int64 [n], episode that `observation` belongs to; unique within the environment's life.
        step: uint32 [n], steps since that episode's reset.
        info: further arrays of the environment, as it names them (e.g. x_position [m]).
        trial_id: int64 [n], trial that `observation` belongs to, called after its first episode. A trial is one or more
            episodes in the same task; where nothing is given, each episode is one.
        task: float32 [n, k], the task of each row as a vector, for critics and viewers, not for actors; None where all
            rows have the same.
    """

    observation: np.ndarray
    reward: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    final_observation: np.ndarray
    episode_id: np.ndarray
    step: np.ndarray
    info: Mapping[str, Any] = field(default_factory=dict)
    trial_id: np.ndarray = field(default_factory=lambda: _EPISODES)
    task: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.trial_id is _EPISODES:
            object.__setattr__(self, "trial_id", self.episode_id)

    @property
    def done(self) -> np.ndarray:
        """bool [n], rows whose episode ended with this transition, for either reason."""
        return self.terminated | self.truncated

    @property
    def trial_first(self) -> np.ndarray:
        """bool [n], rows whose trial begins with `observation`: the actor's memory starts anew there.

        Told by the ids alone, so that it is the same wherever a time step comes from, also over ROS.
        """
        return (self.step == 0) & (self.trial_id == self.episode_id)


@dataclass(frozen=True)
class Transition:
    """One transition per row, as learners take it.

    Attributes:
        observation: float32 [n, observation_size], what the policy saw.
        action: float32 [n, action_size], as applied, in [-1, 1].
        reward: float32 [n].
        terminated, truncated: bool [n].
        next_observation: float32 [n, observation_size], true successor (the final observation where the episode ended).
        extras: what the actor reported, e.g. log_prob float32 [n], and unshaped_reward float32 [n] where the
            environment shapes rewards, and observation_ahead float32 [n, observation_size], what will be observed when
            the action arrives, where it looks ahead.
        policy_version: version of the policy that acted.
        trial_first: bool [n], rows whose trial begins with `observation`; None: not told.
        previous: what happened before `observation`, as the actor was given it; None: not told.
        state: the actor's state before the action, as it was given it, so without the fresh start of the rows of
            `trial_first`: arrays [n, ...]; () where it has none, and over ROS, where it stays with the actor.
        task: the task in which the action was taken, float32 [n, k], for teachers and critics that are told it; None:
            not told.
        trial_last: bool [n], rows whose trial ended with this transition; told where `trial_first` is.
        upcoming: float32 [n, observation_size], what the actor sees next, so the first observation of the next episode
            where one ended; told where `trial_first` is.
    """

    observation: np.ndarray
    action: np.ndarray
    reward: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    next_observation: np.ndarray
    extras: Mapping[str, np.ndarray] = field(default_factory=dict)
    policy_version: int = 0
    trial_first: np.ndarray | None = None
    previous: Previous | None = None
    state: tuple[np.ndarray, ...] = ()
    task: np.ndarray | None = None
    trial_last: np.ndarray | None = None
    upcoming: np.ndarray | None = None


@dataclass(frozen=True)
class Previous:
    """What happened before the current observation, for actors that learn within a trial (RL^2, arXiv:1611.02779).

    Attributes:
        action: float32 [n, action_size]; zeros at the first tick.
        reward: float32 [n], as the environment gave it; zeros at the first tick.
        done: bool [n], an episode ended with that transition.
    """

    action: np.ndarray
    reward: np.ndarray
    done: np.ndarray

    @classmethod
    def none(cls, num_envs: int, action_size: int) -> Previous:
        """What stands in before the first transition."""
        return cls(np.zeros((num_envs, action_size), np.float32), np.zeros(num_envs, np.float32),
                   np.zeros(num_envs, bool))

    def forgotten(self, rows: np.ndarray) -> Previous:
        """Zeros in these rows (bool [n]): nothing of one trial is told in the next."""
        if not rows.any():
            return self
        return Previous(np.where(rows[:, None], np.float32(0), self.action),
                        np.where(rows, np.float32(0), self.reward), self.done & ~rows)


def transition(before: TimeStep, action: np.ndarray, after: TimeStep, extras: Mapping[str, np.ndarray],
               policy_version: int, previous: Previous | None = None,
               state: tuple[np.ndarray, ...] = ()) -> Transition:
    """Join two consecutive time steps and the action between them.

    The unshaped_reward of an environment that shapes rewards goes with the actor's extras. `previous` and `state` are
    what the actor was given with `before`; see `Transition`.
    """
    if "unshaped_reward" in after.info:
        extras = {**extras, "unshaped_reward": after.info["unshaped_reward"]}
    if "observation_ahead" in before.info:
        extras = {**extras, "observation_ahead": before.info["observation_ahead"]}
    return Transition(before.observation, action, after.reward, after.terminated, after.truncated,
                      after.final_observation, extras, policy_version, before.trial_first, previous, state,
                      before.task, after.trial_first, after.observation)


def unshaped_reward(made: TimeStep | Transition) -> np.ndarray:
    """The default reward, float32 [n]; returns are sums of it, also where learning is from a shaped one."""
    beside = made.info if isinstance(made, TimeStep) else made.extras
    return beside.get("unshaped_reward", made.reward)


def bootstrap_mask(terminated: np.ndarray) -> np.ndarray:
    """float32, 1 where the value of the successor counts: everywhere but after a true end.

    A time limit is no property of the task's states, so truncation does not take part
    (Pardo et al., Time Limits in Reinforcement Learning, arXiv:1712.00378).
    """
    return 1.0 - np.asarray(terminated, np.float32)


class TimeStepEnv:
    """The stack's environment contract over any Gymnasium vector environment that resets in the same step.

    An environment with trials of several episodes says so in its info: `trial_first`, bool [n], which of the rows that
    it reset with a step begin another trial (with `reset` all do), and with each reset and step `task`, see `TimeStep`.

    Args:
        env: `gymnasium.vector.VectorEnv` in SAME_STEP autoreset mode, e.g. `VectorAnt`.

    Raises:
        ValueError: if `env` resets in another mode, since its final observations would then be mixed up.
    """

    def __init__(self, env: Any) -> None:
        mode = getattr(env.metadata.get("autoreset_mode"), "name", env.metadata.get("autoreset_mode"))
        if mode != "SAME_STEP":
            raise ValueError(f"the vector environment must use autoreset mode SAME_STEP, found {mode}")
        self.env = env
        self.num_envs: int = env.num_envs
        self.observation_size: int = int(np.prod(env.single_observation_space.shape))
        self.action_size: int = int(np.prod(env.single_action_space.shape))
        self._episode_id = np.arange(self.num_envs, dtype=np.int64)
        self._next_episode_id = 0
        self._step = np.zeros(self.num_envs, np.uint32)
        self._trial_id = self._episode_id.copy()
        self._task: np.ndarray | None = None

    def reset(self, seed: int | None = None) -> TimeStep:
        """Start new episodes in all rows; row i is seeded with seed + i when a seed is given."""
        observation, info = self.env.reset(seed=seed)
        observation = self._flat(observation)
        self._episode_id = self._new_episodes(self.num_envs)
        self._step[:] = 0
        self._trial_id, self._task = self._episode_id.copy(), _task(info)
        return self._start(observation, info)

    def step(self, action: np.ndarray) -> TimeStep:
        """Apply float32 [n, action_size] actions in [-1, 1] for one control period."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        observation = self._flat(observation)
        final = observation
        self._step += 1
        self._task = _task(info)
        done = terminated | truncated
        if done.any():
            rows = np.flatnonzero(done)
            final = observation.copy()
            for row in rows:
                final[row] = np.ravel(info["final_obs"][row])
            self._episode_id[rows] = self._new_episodes(len(rows))
            self._step[rows] = 0
            begins = done if "trial_first" not in info else done & info["trial_first"]
            self._trial_id = np.where(begins, self._episode_id, self._trial_id)
        return TimeStep(observation, np.array(reward, np.float32), terminated.copy(), truncated.copy(), final,
                        self._episode_id.copy(), self._step.copy(), info, self._trial_id, self._task)

    def save(self) -> dict[str, np.ndarray]:
        """Named arrays from which `restore` goes on bit for bit; the environment must have `save`, `restore`, `told`.

        Trials and tasks are named only where there are any.
        """
        saved = {**self.env.save(), "episode_id": self._episode_id.copy(), "step": self._step.copy(),
                 "next_episode_id": np.asarray(self._next_episode_id)}
        if (self._trial_id != self._episode_id).any():
            saved["trial_id"] = self._trial_id
        return saved if self._task is None else {**saved, "task": self._task}

    def restore(self, saved: Mapping[str, np.ndarray]) -> TimeStep:
        """Go on from what `save` gave, as if never interrupted."""
        observation = self._flat(self.env.restore(saved))
        self._episode_id, self._step = saved["episode_id"].copy(), saved["step"].copy()
        self._next_episode_id = int(saved["next_episode_id"])
        self._trial_id, self._task = saved.get("trial_id", self._episode_id).copy(), saved.get("task")
        return self._start(observation, self.env.told())

    def close(self) -> None:
        """Release the environment."""
        self.env.close()

    def _start(self, observation: np.ndarray, info: Mapping[str, Any]) -> TimeStep:
        """A time step that completes no transition."""
        no = np.zeros(self.num_envs, bool)
        return TimeStep(observation, np.zeros(self.num_envs, np.float32), no, no.copy(), observation,
                        self._episode_id.copy(), self._step.copy(), info, self._trial_id.copy(), self._task)

    def _flat(self, observation: np.ndarray) -> np.ndarray:
        return np.array(observation, np.float32).reshape(self.num_envs, self.observation_size)

    def _new_episodes(self, count: int) -> np.ndarray:
        ids = np.arange(self._next_episode_id, self._next_episode_id + count, dtype=np.int64)
        self._next_episode_id += count
        return ids


def _task(info: Mapping[str, Any]) -> np.ndarray | None:
    """The rows' tasks, where the environment tells them; a copy, since it may write over its own."""
    return np.array(info["task"], np.float32) if "task" in info else None
