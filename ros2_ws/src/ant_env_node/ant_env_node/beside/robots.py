"""The live robots once more, in simulations of their own, in which they can do something else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ant_env_node.episodes import of_transition
from ant_env_node.tasks.ant import TaskAnt
from ant_env_node.vec_env import VectorAnt

_NO_TIME_LIMIT = 2**40
_JSON = ("streams", "tasks")  # of what is saved, texts whose lists have an entry for each row


@dataclass(frozen=True)
class Outcome:
    """What a step beside led to, one row each.

    Attributes:
        observation: float64 [r, obs]; of a robot that fell, where it lies.
        reward: float64 [r].
        displacement: float64 [r, 2], of the torso, as the reward counts it [m].
    """

    observation: np.ndarray
    reward: np.ndarray
    displacement: np.ndarray


class Beside:
    """Copies of each robot of an environment, `branches` of each: row k * n + i is branch k of robot i.

    What happens to them changes nothing of the live ones. They have no time limit, one that has fallen lies where it
    is, and tasks go with them, but no change of a task is foreseen.

    Args:
        live: the robots.
        branches: K.
        num_threads: threads that step physics.
    """

    def __init__(self, live: VectorAnt, branches: int, num_threads: int = 1) -> None:
        self._live, self._branches = live, branches
        rows = live.num_envs * branches
        self._robots: VectorAnt = (_LyingTaskAnt(live, rows, num_threads) if isinstance(live, TaskAnt)
                                   else _LyingAnt(live, rows, num_threads))

    def begin(self) -> np.ndarray:
        """Put every copy where its robot is now; returns the observations, float64 [r, obs]."""
        return self._robots.restore(repeated(self._live.save(), self._branches))

    def step(self, action: np.ndarray) -> Outcome:
        """Apply actions [r, 8], as those of `VectorAnt.step`."""
        observation, reward, terminated, _, infos = self._robots.step(action)
        velocity = [of_transition(infos, name, terminated) for name in ("x_velocity", "y_velocity")]
        return Outcome(observation, reward, np.stack(velocity, axis=1) * self._robots.dt)

    def close(self) -> None:
        """End the threads."""
        self._robots.close()


def repeated(saved: Mapping[str, np.ndarray], times: int) -> dict[str, np.ndarray]:
    """What `VectorAnt.save` gave of n robots, as if it were of times * n: all of them, then all again, and so on."""
    return {name: _repeated_lists(array, times) if name in _JSON else np.concatenate([array] * times)
            for name, array in saved.items()}


def _repeated_lists(text: np.ndarray, times: int) -> np.ndarray:
    lists = json.loads(text.tobytes())
    return np.frombuffer(json.dumps({name: values * times for name, values in lists.items()}).encode(), np.uint8)


def _keywords(ant: VectorAnt) -> dict[str, Any]:
    """Those of Ant-v5 that it was made with."""
    assert ant.spec is not None  # every VectorAnt makes one
    return ant.spec.kwargs


class _LyingAnt(VectorAnt):
    """Robots like others, which no step resets."""

    def __init__(self, like: VectorAnt, rows: int, num_threads: int) -> None:
        super().__init__(rows, 0, num_threads, max_episode_steps=_NO_TIME_LIMIT, **_keywords(like))

    def _reset_rows(self, mask: np.ndarray) -> None:
        """Nothing."""


class _LyingTaskAnt(TaskAnt):
    """The same with tasks, which stay."""

    def __init__(self, like: TaskAnt, rows: int, num_threads: int) -> None:
        super().__init__(rows, like.distribution, like.task_part, 0, num_threads, max_episode_steps=_NO_TIME_LIMIT,
                         **_keywords(like))
        self._hazard = 0.0

    def _reset_rows(self, mask: np.ndarray) -> None:
        """Nothing."""
