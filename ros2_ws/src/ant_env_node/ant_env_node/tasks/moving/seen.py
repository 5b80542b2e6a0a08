"""What a task's vector says of places seen from the torso, and what comes of it; for numpy and TensorFlow alike.

The environment goes by these functions, and so does whoever imagines: a step's displacement of the torso says exactly
where goal and ball are after it, and so whether the one was reached and the other hit. Only the ball to come after this
one is not foreseen, nor that one is gone once it has passed (until then it rolls on, as it would).

Functions take vectors [..., VECTOR_SIZE] as `TimeStep.task` has them, numpy arrays or tensors of any leading shape, and
give the same kind back. `of` is the module whose functions take them: numpy, or keras.ops for tensors.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np

from ant_env_node.tasks.task import SCALE, VECTOR_SIZE, Task
from ant_rl_core.spec import ANT

Array = Any  # np.ndarray or tf.Tensor
_TINY = 1e-12  # [m²]

_PLACES = Task.places()
_GOAL, _BALL = _PLACES["goal"].start, _PLACES["ball"].start  # whether there is one
_GOAL_RADIUS, _HIT_RADIUS = _PLACES["goal_radius"].start, _BALL + 1
_GOAL_OFFSET, _BALL_OFFSET, _BALL_VELOCITY = (_PLACES[name].start for name in ("goal_offset", "ball_offset",
                                                                              "ball_velocity"))


def within(offset: Array, radius: Array) -> Array:
    """bool [...]: whether a place at this offset [..., 2] [m] is no farther away than the radius [...] [m]."""
    return _squared(offset) <= radius * radius


def goal_reward(offset: Array, radius: Array, of: ModuleType = np) -> Array:
    """What stands in for the forward velocity where there is a goal, [...].

    Args:
        offset: of the goal from the torso, [..., 2] [m].
        radius: within which it is reached, which is worth 1 per step, [...] [m]; 0: what counts is the distance.
        of: see above.
    """
    reached = of.where(within(offset, radius), 1.0 + 0.0 * offset[..., 0], 0.0 * offset[..., 0])
    # The slope of the root is not finite at 0, where rows without a goal are.
    return of.where(radius > 0, reached, -of.sqrt(of.maximum(_squared(offset), _TINY)))


def hit(task: Array) -> Array:
    """bool [...]: whether a ball has hit, which ends the episode."""
    return (task[..., _BALL] > 0) & within(_pair(task, _BALL_OFFSET), task[..., _HIT_RADIUS])


def has_goal(task: Array) -> Array:
    """bool [...]: whether there is a goal."""
    return task[..., _GOAL] > 0


def goal_offset(task: Array) -> Array:
    """Where the goal is, seen from the torso, [..., 2] [m]; 0 where there is none."""
    return _pair(task, _GOAL_OFFSET)


def reached(task: Array) -> Array:
    """bool [...]: whether the robot is within the radius of its goal."""
    return has_goal(task) & within(_pair(task, _GOAL_OFFSET), task[..., _GOAL_RADIUS])


def reward(task: Array, of: ModuleType = np) -> Array:
    """`goal_reward` of vectors, [...]; without a meaning where there is no goal."""
    return goal_reward(_pair(task, _GOAL_OFFSET), task[..., _GOAL_RADIUS], of)


def moved(task: Array, displacement: Array, ticks: float = 1.0) -> Array:
    """The vectors once the torso has moved by `displacement` [..., 2] [m], in so many ticks; the task itself stays."""
    dx, dy = displacement[..., :1] / SCALE, displacement[..., 1:2] / SCALE
    seconds = ticks * ANT.control_period
    velocity_x = task[..., _BALL_VELOCITY:_BALL_VELOCITY + 1]
    velocity_y = task[..., _BALL_VELOCITY + 1:_BALL_VELOCITY + 2]
    goal = task[..., _GOAL:_GOAL + 1] * (dx * _unit(_GOAL_OFFSET) + dy * _unit(_GOAL_OFFSET + 1))
    ball = task[..., _BALL:_BALL + 1] * ((velocity_x * seconds - dx) * _unit(_BALL_OFFSET)
                                         + (velocity_y * seconds - dy) * _unit(_BALL_OFFSET + 1))
    return task - goal + ball


def write_goal(task: np.ndarray, offset: np.ndarray) -> None:
    """Write where the goal is [m] into a row's vector [VECTOR_SIZE]."""
    task[_GOAL_OFFSET:_GOAL_OFFSET + 2] = offset / SCALE


def write_ball(task: np.ndarray, radius: float, offset: np.ndarray, velocity: np.ndarray) -> None:
    """Write where a ball is [m], its velocity [m/s], and how near it must not come [m], into a row's vector."""
    task[_BALL], task[_HIT_RADIUS] = 1, radius
    task[_BALL_OFFSET:_BALL_OFFSET + 2] = offset / SCALE
    task[_BALL_VELOCITY:_BALL_VELOCITY + 2] = velocity / SCALE


def ball_of(task: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Whether a ball is on its way, bool [...], its offset [m] and its velocity [m/s], [..., 2] each."""
    return (task[..., _BALL] > 0, SCALE * task[..., _BALL_OFFSET:_BALL_OFFSET + 2],
            SCALE * task[..., _BALL_VELOCITY:_BALL_VELOCITY + 2])


def _pair(task: Array, start: int) -> Array:
    return SCALE * task[..., start:start + 2]


def _squared(offset: Array) -> Array:
    return offset[..., 0] * offset[..., 0] + offset[..., 1] * offset[..., 1]


def _unit(place: int) -> np.ndarray:
    found = np.zeros(VECTOR_SIZE, np.float32)
    found[place] = 1
    return found
