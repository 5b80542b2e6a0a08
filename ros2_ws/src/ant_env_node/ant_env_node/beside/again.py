"""Recorded steps simulated again, from what was observed alone."""

from __future__ import annotations

from typing import NamedTuple

import mujoco
import numpy as np

from ant_env_node.vec_env import ANT_DEFAULTS, load_model
from ant_env_node.workers import Workers

_HIDDEN = 2  # x and y of the torso, which no observation tells


class Simulated(NamedTuple):
    """Of T steps of r robots.

    Attributes:
        state: float64 [T, r, 27], the first numbers of the observation after each step.
        displacement: float64 [T, r, 2], what the torso moved in it along x and y [m].
        contact: float64 [T, r], sum of the squared clipped contact forces after it.
    """

    state: np.ndarray
    displacement: np.ndarray
    contact: np.ndarray


class Again:
    """The stock Ant-v5, put where observations say that robots were; a context manager.

    Observations lack the place on the ground, which is flat, and the solver's last solution, from which it begins: what
    follows is the same to 1e-9 after one step, in float32 to 1e-6.

    Args:
        num_threads: threads that step physics.
    """

    def __init__(self, num_threads: int = 1) -> None:
        self._model = load_model()
        self._frame_skip = int(ANT_DEFAULTS["frame_skip"])
        self._range = ANT_DEFAULTS["contact_force_range"]
        self._workers = Workers(num_threads - 1)

    def run(self, state: np.ndarray, action: np.ndarray) -> Simulated:
        """T steps.

        Args:
            state: [r, 27], where robots begin.
            action: [T, r, 8].
        """
        steps, rows = action.shape[:2]
        found = Simulated(np.zeros((steps, rows, state.shape[1])), np.zeros((steps, rows, 2)), np.zeros((steps, rows)))
        self._workers.run(self._take_rows, list(range(rows)), state, action, found)
        return found

    def close(self) -> None:
        """End the threads."""
        self._workers.close()

    def __enter__(self) -> Again:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _take_rows(self, waiting: list[int], state: np.ndarray, action: np.ndarray, found: Simulated) -> None:
        model, data = self._model, mujoco.MjData(self._model)
        while True:
            try:
                i = waiting.pop()
            except IndexError:
                return
            mujoco.mj_resetData(model, data)
            data.qpos[_HIDDEN:], data.qvel[:] = np.split(state[i], [model.nq - _HIDDEN])
            for t in range(len(action)):
                before = data.qpos[:2].copy()
                data.ctrl[:] = action[t, i]
                mujoco.mj_step(model, data, self._frame_skip)
                mujoco.mj_rnePostConstraint(model, data)
                found.state[t, i] = np.concatenate([data.qpos[_HIDDEN:], data.qvel])
                found.displacement[t, i] = data.qpos[:2] - before
                found.contact[t, i] = np.square(data.cfrc_ext.clip(*self._range)).sum()
