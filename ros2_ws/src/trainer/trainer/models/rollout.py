"""Imagining: a policy and a model of the environment in a closed loop, for some steps from where robots are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from trainer.models import kinematics
from trainer.models.interface import EnvironmentModel, Moment
from trainer.models.kinematics import ops
from trainer.models.layout import branches_of, rows_of

Array = Any  # np.ndarray or tf.Tensor
# Of rows where robots are imagined to be: actions [r, 8] in [-1, 1].
Policy = Callable[[Moment], Array]
# Of before, action and after: rewards [r].
Reward = Callable[[Moment, Array, Moment], Array]


class Imagined(NamedTuple):
    """H imagined steps of K branches of n robots, in lists of H arrays [K, n, ...].

    After an imagined end everything is 0, whatever the model makes of it.

    Attributes:
        state: before each step, [K, n, 27].
        action: [K, n, 8].
        next_state: after it, [K, n, 27].
        place: how far the torso has moved since the start, [K, n, 2].
        displacement: in the step, [K, n, 2].
        contact: after it, [K, n].
        reward: of it, [K, n].
        alive: 1 where the step was made, 0 after an end, [K, n].
        terminated: 1 where the step led to an end of the task, [K, n].
        last: where the rollouts are after the last step, those that ended where they were before they did: rows [K *
            n].
    """

    state: list[Array]
    action: list[Array]
    next_state: list[Array]
    place: list[Array]
    displacement: list[Array]
    contact: list[Array]
    reward: list[Array]
    alive: list[Array]
    terminated: list[Array]
    last: Moment


def default_reward(before: Moment, action: Array, after: Moment) -> Array:
    """The reward of Ant-v5 [r]: the model's own word where it has one."""
    return known_reward(before, action, after) if after.reward is None else after.reward


def known_reward(before: Moment, action: Array, after: Moment) -> Array:
    """The reward of Ant-v5 [r] by its formula, whatever the model itself says of it."""
    forward = kinematics.forward(after.displacement, after.state)
    return kinematics.reward_of(forward, action, after.state, after.contact)


def imagine(model: EnvironmentModel, policy: Policy, observation: Array, horizon: int, *, branches: int = 1,
            first_action: Array | None = None, reward: Reward = default_reward) -> Imagined:
    """Roll the policy out in the model.

    Runs in eager mode as well as within a TensorFlow function, and is differentiable where model and policy are. After
    an imagined end a robot stays where it was before, so that neither values nor gradients come of what is no state.

    Args:
        model: see `EnvironmentModel`.
        policy: chooses all actions, or all but the first ones.
        observation: of n robots, [n, size].
        horizon: H, steps.
        branches: K, rollouts of each robot.
        first_action: [K, n, 8], the first action of each rollout; None: the policy's.
        reward: of a step.
    """
    moment = model.begin(observation, branches)
    alive = 0.0 * moment.contact + 1.0
    steps: list[tuple[Array, ...]] = []
    for i in range(horizon):
        action = policy(moment) if i or first_action is None else rows_of(first_action)
        after = model.step(moment, action)
        ended = kinematics.terminated(after.state)
        parts = (moment.state, action, after.state, after.place, after.displacement, after.contact,
                 reward(moment, action, after))
        going = alive > 0
        told = (_where(going, part, ops(part).zeros_like(part)) for part in parts)
        steps.append((*told, alive, _as_float(going & ended, alive)))
        goes_on = going & ~ended
        moment, alive = _chosen(goes_on, after, moment), _as_float(goes_on, alive)
    columns = [[branches_of(part, branches) for part in column] for column in zip(*steps, strict=True)]
    return Imagined._make([*columns, moment])


def _where(rows: Array, chosen: Array, other: Array) -> Array:
    of = ops(chosen)
    return of.where(of.reshape(rows, (-1,) + (1,) * (len(chosen.shape) - 1)), chosen, other)


def _chosen(rows: Array, after: Moment, before: Moment) -> Moment:
    """`after` in these rows, `before` in the others; what only the model understands goes on."""
    parts = [None if new is None else _where(rows, new, old) for new, old in zip(after[:-1], before[:-1], strict=True)]
    return Moment._make([*parts, after.inside])


def _as_float(rows: Array, like: Array) -> Array:
    return ops(like).where(rows, 0.0 * like + 1.0, 0.0 * like)
