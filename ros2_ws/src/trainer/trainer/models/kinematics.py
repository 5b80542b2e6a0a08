"""What is known of the Ant without learning: its state, its reward and its end; for numpy and TensorFlow alike.

A state is the 27 kinematic numbers that an observation begins with: height and attitude (a unit quaternion, w first) of
the torso, 8 joint angles, linear velocity of the torso in the world, its angular velocity in the body, 8 joint
velocities. The ground is flat, so that where the robot is does not count. Contact forces, the observation's other 78
numbers, are a function of state and torque; models that predict them recursively are nearly twice as wrong about
everything else.

Each function takes numpy arrays or TensorFlow tensors, of any leading shape, and gives the same kind back.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ant_env_node.tasks import symmetry
from ant_env_node.tasks.moving import seen
from ant_env_node.tasks.task import VECTOR_SIZE, Task
from ant_env_node.vec_env import ANT_DEFAULTS
from ant_rl_core.spec import ANT

STATE_SIZE = symmetry.CONTACTS.start
HEIGHT = 0
QUATERNION = symmetry.ORIENTATION
VELOCITY = slice(symmetry.VELOCITY.start, symmetry.VELOCITY.start + 2)  # of the torso along x and y [m/s]
YAW_RATE = symmetry.ANGULAR_VELOCITY.stop - 1  # of the torso about its own z [rad/s]

LEAST_HEIGHT, LARGEST_HEIGHT = ANT_DEFAULTS["healthy_z_range"]  # [m] of a healthy torso, themselves allowed
# What a linear forward reward weighs, as `FEATURES` of tasks: velocities along x and y, yaw rate, height.
ALONG_X = (1.0, 0.0, 0.0, 0.0)
_TASK_PLACES = Task.places()

Array = Any  # np.ndarray or tf.Tensor


def ops(x: Array) -> Any:
    """The module whose functions take `x`: numpy, or keras.ops, which has the same ones by the same names."""
    if isinstance(x, (np.ndarray, np.generic)):
        return np
    import keras
    return keras.ops


def state_of(observation: Array) -> Array:
    """The state [..., 27] of observations [..., 105], or of what begins as those do."""
    return observation[..., :STATE_SIZE]


def contact_of(observation: Array) -> Array:
    """Sum of the squared contact forces, which the observation has clipped to ±1, [...]; a task behind it is none."""
    return ops(observation).sum(ops(observation).square(observation[..., symmetry.CONTACTS]), axis=-1)


def with_unit_quaternion(state: Array) -> Array:
    """The state with its quaternion scaled to length 1; one of length 0 becomes zeros, not NaN."""
    quaternion = state[..., QUATERNION]
    of = ops(state)
    length = of.sqrt(of.sum(of.square(quaternion), axis=-1, keepdims=True))
    return of.concatenate([state[..., :QUATERNION.start], quaternion / of.maximum(length, 1e-6),
                           state[..., QUATERNION.stop:]], axis=-1)


def advanced(state: Array, delta: Array) -> Array:
    """The state after a change of `delta` [..., 27]: the sum, with a quaternion of length 1."""
    return with_unit_quaternion(state + delta)


def terminated(state: Array) -> Array:
    """bool [...]: whether Ant-v5 ends the episode there: not finite, or the torso too low or too high."""
    of = ops(state)
    height = state[..., HEIGHT]
    return ~(of.all(of.isfinite(state), axis=-1) & (height >= LEAST_HEIGHT) & (height <= LARGEST_HEIGHT))


def forward(displacement: Array, state: Array, weights: Sequence[float] = ALONG_X) -> Array:
    """The forward part of the reward of a step [...].

    Args:
        displacement: of the torso in the step, along x and y [..., 2] [m].
        state: after the step.
        weights: what velocity along x and y [m/s], yaw rate [rad/s] and height [m] count, as in `Task.weights`; a
            heading is (cos, sin, 0, 0).
    """
    velocity = displacement / ANT.control_period
    parts = (velocity[..., 0], velocity[..., 1], state[..., YAW_RATE], state[..., HEIGHT])
    return sum(weight * part for weight, part in zip(weights, parts, strict=True) if weight)


def forward_of_task(task: Array, displacement: Array, state: Array) -> Array:
    """What stands for the forward part in the reward of a step where tasks are told [...], as `TaskAnt` has it.

    Args:
        task: vectors after the step, [..., VECTOR_SIZE].
        displacement, state: see `forward`.
    """
    of, places = ops(task), _TASK_PLACES
    velocity = displacement / ANT.control_period
    features = (velocity[..., 0], velocity[..., 1], state[..., YAW_RATE], state[..., HEIGHT])
    weights, heading, speed = (task[..., places[name]] for name in ("weights", "heading", "speed"))
    weighed = sum(weights[..., i] * feature for i, feature in enumerate(features))
    along = heading[..., 0] * velocity[..., 0] + heading[..., 1] * velocity[..., 1]
    found = of.where(of.any(heading != 0, axis=-1), along, velocity[..., 0])
    found = of.where(of.any(weights != 0, axis=-1), weighed, found)
    found = of.where(speed[..., 0] > 0, -of.abs(velocity[..., 0] - speed[..., 1]), found)
    return of.where(seen.has_goal(task), seen.reward(task, of), found)


def reward_of(forward_part: Array, action: Array, state: Array, contact: Array) -> Array:
    """The reward of a step [...]: that of Ant-v5 where the forward part is `forward`'s.

    Args:
        forward_part: [...], see `forward`; tasks have one of their own.
        action: as given, [..., 8].
        state: after the step; an unhealthy one earns no bonus.
        contact: sum of squared clipped contact forces after the step, [...].
    """
    of = ops(action)
    healthy = of.where(terminated(state), 0.0 * contact, 0.0 * contact + ANT_DEFAULTS["healthy_reward"])
    control = ANT_DEFAULTS["ctrl_cost_weight"] * of.sum(of.square(action), axis=-1)
    return (forward_part + healthy) - (control + ANT_DEFAULTS["contact_cost_weight"] * contact)


def displacement_of(reward: np.ndarray, action: np.ndarray, observation: np.ndarray, next_observation: np.ndarray,
                    task: np.ndarray | None = None) -> np.ndarray:
    """What the torso moved in each of a few steps, as far as transitions tell, float32 [..., 2] [m].

    Along x that is what the reward of Ant-v5 says. Along y no transition tells it; the mean of the velocities before
    and after stands for it, which is off by 0.1 m/s (rms), most where a foot hits the ground; so it does along x where
    a task rewards something else. Where a goal is told behind the observation, how it moves says both.

    Args:
        reward: default reward [...].
        action, observation, next_observation: [..., size], of the same steps.
        task: vectors [..., VECTOR_SIZE], in which they were made; None: Ant-v5.
    """
    after = state_of(next_observation)
    rest = reward_of(np.zeros_like(reward), action, after, contact_of(next_observation))
    mean = 0.5 * (observation[..., VELOCITY] + next_observation[..., VELOCITY])
    velocity_x = reward - rest if task is None else np.where(_rewards_x(task), reward - rest, mean[..., 0])
    found = (np.stack([velocity_x, mean[..., 1]], axis=-1) * ANT.control_period).astype(np.float32)
    if task is None or next_observation.shape[-1] != ANT.observation_size + VECTOR_SIZE:
        return found
    ahead = next_observation[..., ANT.observation_size:]
    return np.where(seen.has_goal(task)[..., None], seen.goal_offset(task) - seen.goal_offset(ahead), found)


def _rewards_x(task: Array) -> Array:
    """bool [...]: whether the forward part of the reward is the velocity along x."""
    of, places = ops(task), _TASK_PLACES
    return ~of.any(of.concatenate([task[..., places[name]] for name in ("heading", "goal", "speed", "weights")],
                                  axis=-1) != 0, axis=-1)
