"""One tick of the stack as plain data: what the environment tells, what the policy answers."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from ant_rl_core.step import Previous, TimeStep, Transition, transition as join

# Bits of a whole number that a float64 holds exactly.
_EXACT_BITS = 53


def new_run_number() -> int:
    """A random number for one run of a node: a `session`, a `policy_node`.

    PlotJuggler keeps every number as float64 and refuses a whole recording that has one it can't hold exactly.
    """
    return secrets.randbits(_EXACT_BITS)


@dataclass(frozen=True)
class Tick:
    """One Observation message, decoded and checked.

    Attributes:
        session, step_id: which tick of which run of the environment.
        time_step: observation and the ends of the transition it completes (reward 0 and no ends at the first tick);
            its info has the unshaped_reward, float32 [n], where the environment shapes rewards.
        action: float32 [n, action_size] that was applied; None at the first tick of a session.
        extras: log_prob and value as the policy reported them, float32 [n] each; only what it gave.
        policy_version: version that chose the action; 0 for none.
        tasks_told: number of the newest `RowTasks` of its session; 0 where there are no tasks.
    """

    session: int
    step_id: int
    time_step: TimeStep
    action: np.ndarray | None = None
    extras: Mapping[str, np.ndarray] = field(default_factory=dict)
    policy_version: int = 0
    tasks_told: int = 0

    @property
    def num_envs(self) -> int:
        """Number of robots."""
        return len(self.time_step.observation)

    @property
    def reset_mask(self) -> np.ndarray:
        """bool [n], rows at the first tick of a trial."""
        return self.time_step.trial_first

    def previous(self, action_size: int) -> Previous:
        """What happened before this observation, as actors take it."""
        if self.action is None:
            return Previous.none(self.num_envs, action_size)
        return Previous(self.action, self.time_step.reward, self.time_step.done)

    def transition_from(self, before: Tick) -> Transition | None:
        """The transition from the tick before; None where this one does not follow it without a gap."""
        if self.action is None or before.session != self.session or before.step_id + 1 != self.step_id:
            return None
        return join(before.time_step, self.action, self.time_step, self.extras, self.policy_version,
                    before.previous(self.action.shape[1]))


@dataclass(frozen=True)
class RowTasks:
    """One RobotTasks message, decoded and checked: which task each robot is in.

    Attributes:
        session, step_id: tick since which it is so: the torques that answer that tick act in these tasks.
        number: counts these of the session, from 1.
        names: of the tasks.
        definitions: the tasks as JSON.
        since: int64 [n], tick since which each robot has its task.
        given: bool [n], by hand rather than drawn.
        vectors: float32 [n, k], as `TimeStep.task`.
    """

    session: int
    number: int
    step_id: int
    names: tuple[str, ...]
    definitions: tuple[str, ...]
    since: np.ndarray
    given: np.ndarray
    vectors: np.ndarray


@dataclass(frozen=True)
class Torques:
    """One JointTorques message, decoded and checked.

    Attributes:
        session, step_id: the tick it answers.
        action: float32 [n, action_size], finite, as sent: it may exceed [-1, 1].
        extras: log_prob and value, float32 [n] each; only what the policy gave.
        policy_version, policy_node: which version of which run of a policy node.
        inference_time: time spent in the actor [s].
    """

    session: int
    step_id: int
    action: np.ndarray
    extras: Mapping[str, np.ndarray]
    policy_version: int
    policy_node: int
    inference_time: float
