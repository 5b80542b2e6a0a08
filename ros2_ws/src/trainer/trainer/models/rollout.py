"""Imagining: a policy and a model of the environment in a closed loop, for some steps from where robots are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from ant_env_node.tasks.moving import seen
from trainer.models import kinematics
from trainer.models.interface import EnvironmentModel, Moment
from trainer.models.kinematics import ops
from trainer.models.layout import branches_of, rows_of, spread

Array = Any  # np.ndarray or tf.Tensor
# Of rows where robots are imagined to be: actions [r, 8] in [-1, 1].
Policy = Callable[[Moment], Array]
# Of before, action and after: rewards [r].
Reward = Callable[[Moment, Array, Moment], Array]
# Of after: bool [r], whether the task ended.
End = Callable[[Moment], Array]


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
    """The reward of Ant-v5, or that of the tasks where they are told [r]; the model's own word where it has one."""
    return known_reward(before, action, after) if after.reward is None else after.reward


def known_reward(before: Moment, action: Array, after: Moment) -> Array:
    """The same by its formula, whatever the model itself says of it."""
    forward = kinematics.forward(after.displacement, after.state)
    if after.task is not None:
        forward = kinematics.forward_of_task(after.task, after.displacement, after.state)
    return kinematics.reward_of(forward, action, after.state, after.contact)


def default_end(after: Moment) -> Array:
    """Whether Ant-v5 ends the episode there, or a ball has hit, where tasks are told: bool [r]."""
    ended = kinematics.terminated(after.state)
    return ended if after.task is None else ended | seen.hit(after.task)


def imagine(model: EnvironmentModel, policy: Policy, observation: Array, horizon: int, *, branches: int = 1,
            first_action: Array | None = None, reward: Reward = default_reward, terminated: End = default_end,
            task: Array | None = None) -> Imagined:
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
        terminated: what ends the episode.
        task: of n robots, [n, VECTOR_SIZE], as they are told it now (`Transition.task`): moments have it as it is
            there. None: it is Ant-v5.
    """
    moment = model.begin(observation, branches)._replace(task=None if task is None else spread(task, branches))
    first = None if first_action is None else rows_of(first_action)
    found = imagine_rows(model, policy, moment, horizon, first, reward, terminated)
    columns = [[branches_of(part, branches) for part in column] for column in found[:-1]]
    return Imagined._make([*columns, found.last])


def imagine_rows(model: EnvironmentModel, policy: Policy, moment: Moment, horizon: int,
                 first_action: Array | None = None, reward: Reward = default_reward,
                 terminated: End = default_end) -> Imagined:
    """As `imagine`, of rows of any order: arrays [r, ...] instead of [K, n, ...].

    Args:
        model, policy, horizon, reward, terminated: as of `imagine`.
        moment: what `model.begin` gave, with the tasks where there are any.
        first_action: [r, 8]; None: the policy's.
    """
    alive = 0.0 * moment.contact + 1.0
    steps: list[tuple[Array, ...]] = []
    for i in range(horizon):
        action = policy(moment) if i or first_action is None else first_action
        after = model.step(moment, action)
        after = after._replace(task=None if moment.task is None else seen.moved(moment.task, after.displacement))
        ended = terminated(after)
        parts = (moment.state, action, after.state, after.place, after.displacement, after.contact,
                 reward(moment, action, after))
        if i:
            going = alive > 0
            told = tuple(_where(going, part, ops(part).zeros_like(part)) for part in parts)
            ends, goes_on = going & ended, going & ~ended
        else:  # nobody has ended before the first step
            told, ends, goes_on = parts, ended, ~ended
        steps.append((*told, alive, _as_float(ends, alive)))
        moment, alive = _chosen(goes_on, after, moment), _as_float(goes_on, alive)
    return Imagined._make([*map(list, zip(*steps, strict=True)), moment])


def _where(rows: Array, chosen: Array, other: Array) -> Array:
    of = ops(chosen)
    return of.where(of.reshape(rows, (-1,) + (1,) * (len(chosen.shape) - 1)), chosen, other)


def _chosen(rows: Array, after: Moment, before: Moment) -> Moment:
    """`after` in these rows, `before` in the others; what only the model understands goes on."""
    found = {name: _where(rows, new, old) for name, new, old in zip(Moment._fields, after, before, strict=True)
             if name != "inside" and new is not None}
    return after._replace(**found)


def _as_float(rows: Array, like: Array) -> Array:
    return ops(like).where(rows, 0.0 * like + 1.0, 0.0 * like)
