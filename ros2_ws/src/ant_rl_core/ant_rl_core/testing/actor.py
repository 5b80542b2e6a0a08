"""An actor whose action tells what it was chosen from."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ant_rl_core.spec import ANT, RobotSpec
from ant_rl_core.step import Previous


class FakeActor:
    """A deterministic actor whose action tells which version acted, on which row's data, at which tick.

    action[i, j] is a function of the version, observation[i, j], what happened before in row i and the number of
    ticks since row i's last reset: a mixed-up row, another version or a forgotten reset changes it (see `expected`).

    Args:
        spec: sizes of the robot.
        version: policy version it reports.
        recurrent: whether it counts ticks per row in its state, int64 [n]; otherwise the state is ().
        explore: whether it reports log_prob and value in its extras (log_prob[i] = -ticks, value[i] = 10 * ticks).
        memory_id: whose memory it takes over, as `policy_node.actor.BundleActor.memory_key`; None: nobody's.
    """

    def __init__(self, spec: RobotSpec = ANT, version: int = 1, recurrent: bool = False,
                 explore: bool = False, memory_id: str | None = None) -> None:
        self.spec = spec
        self.version = version
        self.memory_key = memory_id if recurrent else ()
        self.calls = 0
        self._recurrent = recurrent
        self._explore = explore

    def initial_state(self, num_envs: int) -> np.ndarray | tuple[()]:
        """int64 [n] zeros, or () where the actor is not recurrent."""
        return np.zeros(num_envs, np.int64) if self._recurrent else ()

    def act(self, observation: np.ndarray, previous: Previous, state: np.ndarray | tuple[()],
            reset_mask: np.ndarray) -> tuple[np.ndarray, Mapping[str, np.ndarray], np.ndarray | tuple[()]]:
        """As `contracts.Actor.act`; ValueError where an argument breaks the contract."""
        self.spec.check_observation(observation)
        rows = len(observation)
        self.spec.check_action(previous.action, rows)
        _check_rows("previous.reward", previous.reward, np.float32, rows)
        _check_rows("previous.done", previous.done, np.bool_, rows)
        _check_rows("reset_mask", reset_mask, np.bool_, rows)
        if self._recurrent:
            _check_rows("state", np.asarray(state), np.int64, rows)
            ticks = np.where(reset_mask, 0, state) + 1
            state = ticks
        else:
            if not isinstance(state, tuple) or state:
                raise ValueError(f"state must be () for a feed-forward actor, found {state!r}")
            ticks = np.zeros(rows, np.int64)
        self.calls += 1
        action = self.expected(observation, previous, ticks)
        if not self._explore:
            return action, {}, state
        return action, {"log_prob": -ticks.astype(np.float32), "value": 10 * ticks.astype(np.float32)}, state

    def expected(self, observation: np.ndarray, previous: Previous, ticks: np.ndarray) -> np.ndarray:
        """float32 [n, action_size] in (-1, 1): what `act` returns for these inputs."""
        seen = np.resize(observation[:, :self.spec.action_size].T, (self.spec.action_size, len(observation))).T
        before = 0.5 * previous.reward[:, None] + 0.125 * previous.action + 0.75 * previous.done[:, None]
        phase = self.version + seen.astype(np.float64) + before + 0.25 * ticks[:, None]
        return (0.9 * np.sin(phase)).astype(np.float32)


def _check_rows(what: str, array: np.ndarray, dtype: type, rows: int) -> None:
    if array.dtype != dtype or array.shape != (rows,):
        raise ValueError(f"{what} must be {np.dtype(dtype)} ({rows},), found {array.dtype} {array.shape}")
