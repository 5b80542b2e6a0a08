"""Robots that are told their task: the oracle, beside which a policy that finds it out is measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from ant_env_node.tasks.task import VECTOR_SIZE
from ant_rl_core.contracts import VectorEnv
from ant_rl_core.step import TimeStep


class ToldTask:
    """A `VectorEnv` whose observations end with the task's vector, so that any method learns to go by it.

    `observation` has the task that is in force from then on, `final_observation` of an ended episode the one that the
    episode ended in, as it was then. Everything else is that of the environment inside.

    Args:
        env: has tasks: its time steps tell `task`, float32 [n, task_size].
        task_size: numbers of a task's vector.
    """

    def __init__(self, env: VectorEnv, task_size: int = VECTOR_SIZE) -> None:
        self.env = env
        self.num_envs, self.action_size = env.num_envs, env.action_size
        self.observation_size = env.observation_size + task_size
        self._task = np.zeros((env.num_envs, task_size), np.float32)

    def reset(self, seed: int | None = None) -> TimeStep:
        """Start new episodes in all rows; row i is seeded with seed + i when a seed is given."""
        return self._start(self.env.reset(seed))

    def step(self, action: np.ndarray) -> TimeStep:
        """Apply float32 [n, action_size] actions in [-1, 1] for one control period."""
        step = self.env.step(action)
        before, self._task = self._task, _task_of(step)
        ended_in = np.where(step.done[:, None], step.info.get("final_task", before), self._task)
        return replace(step, observation=_joined(step.observation, self._task),
                       final_observation=_joined(step.final_observation, ended_in))

    def save(self) -> dict[str, np.ndarray]:
        """State as named arrays: that of the environment inside."""
        return self.env.save()

    def restore(self, saved: Mapping[str, np.ndarray]) -> TimeStep:
        """Go on from what `save` gave, as if never interrupted."""
        return self._start(self.env.restore(saved))

    def close(self) -> None:
        """Release the environment."""
        self.env.close()

    def _start(self, start: TimeStep) -> TimeStep:
        self._task = _task_of(start)
        observation = _joined(start.observation, self._task)
        return replace(start, observation=observation, final_observation=observation)


def _task_of(step: TimeStep) -> np.ndarray:
    if step.task is None:
        raise ValueError("expected an environment whose robots have tasks, found one without: choose tasks:=NAME")
    return step.task


def _joined(observation: np.ndarray, task: np.ndarray) -> np.ndarray:
    return np.concatenate([observation, task], axis=1)
