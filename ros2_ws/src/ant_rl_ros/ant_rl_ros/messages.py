"""Observation, JointTorques and RobotTasks to and from the step types: the one place that all nodes use."""

from __future__ import annotations

import array
from collections.abc import Mapping
from typing import Any

import numpy as np
from ant_rl_interfaces.msg import JointTorques, Observation, RobotTasks

from ant_rl_core.spec import RobotSpec
from ant_rl_core.step import TimeStep
from ant_rl_core.tick import RowTasks, Tick, Torques
from ant_rl_ros.arrays import flat, unflat

WORLD_FRAME = "world"
# Assigned where an array is empty; messages are serialized at once and never change them.
_NO_FLOATS, _NO_BYTES, _NO_ROWS = array.array("f"), array.array("B"), array.array("I")


def encode_observation(tick: Tick, stamp: Any, message: Observation | None = None) -> Observation:
    """The message of a tick; `stamp` is a builtin_interfaces Time. A message given is filled anew, which is faster."""
    step = tick.time_step
    message = message or Observation()
    message.header.stamp = stamp
    message.header.frame_id = WORLD_FRAME
    message.session = tick.session
    message.step_id = tick.step_id
    message.num_envs = tick.num_envs
    message.observation = flat(step.observation)
    message.episode_id = flat(step.episode_id)
    message.episode_step = flat(step.step)
    message.trial_id = flat(step.trial_id)
    message.tasks_told = tick.tasks_told
    message.policy_version = tick.policy_version
    first = tick.action is None
    message.action = _NO_FLOATS if tick.action is None else flat(tick.action)
    message.reward = _NO_FLOATS if first else flat(step.reward)
    unshaped = step.info.get("unshaped_reward")
    message.unshaped_reward = _NO_FLOATS if unshaped is None else flat(unshaped)
    message.terminated = _NO_BYTES if first else flat(step.terminated)
    message.truncated = _NO_BYTES if first else flat(step.truncated)
    done = step.done
    if done.any():
        rows = np.flatnonzero(done)
        message.final_rows = flat(rows.astype(np.uint32))
        message.final_observation = flat(step.final_observation[rows])
    else:
        message.final_rows = _NO_ROWS
        message.final_observation = _NO_FLOATS
    _encode_extras(tick.extras, message)
    return message


def decode_observation(message: Observation, spec: RobotSpec) -> Tick:
    """Check and decode; ValueError where an array has another length than num_envs and `spec` call for."""
    n = message.num_envs
    if n < 1:
        raise ValueError("num_envs must be at least 1, found 0")
    size = spec.observation_size
    observation = unflat(message.observation, np.float32, (n, size), "observation")
    episode_id = unflat(message.episode_id, np.int64, (n,), "episode_id")
    episode_step = unflat(message.episode_step, np.uint32, (n,), "episode_step")
    trial_id = unflat(message.trial_id, np.int64, (n,), "trial_id")
    if not message.action:
        no = np.zeros(n, bool)
        step = TimeStep(observation, np.zeros(n, np.float32), no, no, observation, episode_id, episode_step,
                        trial_id=trial_id)
        return Tick(message.session, message.step_id, step, tasks_told=message.tasks_told)
    final = observation
    if message.final_rows:
        rows = unflat(message.final_rows, np.uint32, (len(message.final_rows),), "final_rows")
        if rows.max() >= n:
            raise ValueError(f"final_rows must be below num_envs = {n}, found {rows.max()}")
        final = observation.copy()
        final[rows] = unflat(message.final_observation, np.float32, (len(rows), size), "final_observation")
    info = {}
    if message.unshaped_reward:
        info["unshaped_reward"] = unflat(message.unshaped_reward, np.float32, (n,), "unshaped_reward")
    step = TimeStep(
        observation=observation,
        reward=unflat(message.reward, np.float32, (n,), "reward"),
        terminated=unflat(message.terminated, bool, (n,), "terminated"),
        truncated=unflat(message.truncated, bool, (n,), "truncated"),
        final_observation=final, episode_id=episode_id, step=episode_step, info=info, trial_id=trial_id)
    action = unflat(message.action, np.float32, (n, spec.action_size), "action")
    return Tick(message.session, message.step_id, step, action, _decode_extras(message, n), message.policy_version,
                message.tasks_told)


def encode_torques(torques: Torques, stamp: Any, message: JointTorques | None = None) -> JointTorques:
    """The message of an answer; `stamp` is a builtin_interfaces Time. A message given is filled anew."""
    message = message or JointTorques()
    message.header.stamp = stamp
    message.header.frame_id = WORLD_FRAME
    message.session = torques.session
    message.step_id = torques.step_id
    message.policy_version = torques.policy_version
    message.policy_node = torques.policy_node
    message.torque = flat(torques.action)
    _encode_extras(torques.extras, message)
    message.inference_time = torques.inference_time
    return message


def decode_torques(message: JointTorques, num_envs: int, spec: RobotSpec) -> Torques:
    """Check and decode; ValueError for another number of torques, NaN or infinity."""
    action = unflat(message.torque, np.float32, (num_envs, spec.action_size), "torque")
    if not np.isfinite(action).all():
        row, joint = np.argwhere(~np.isfinite(action))[0]
        raise ValueError(f"torque must be finite, found {action[row, joint]} in row {row}, joint {joint}")
    return Torques(message.session, message.step_id, action, _decode_extras(message, num_envs), message.policy_version,
                   message.policy_node, message.inference_time)


def encode_tasks(tasks: RowTasks, stamp: Any) -> RobotTasks:
    """The message that tells the robots' tasks; `stamp` is a builtin_interfaces Time."""
    message = RobotTasks(session=tasks.session, number=tasks.number, step_id=tasks.step_id, name=list(tasks.names),
                         definition=list(tasks.definitions), since=flat(tasks.since.astype(np.uint64)),
                         given=tasks.given.tolist(), vector=flat(tasks.vectors))
    message.header.stamp = stamp
    message.header.frame_id = WORLD_FRAME
    return message


def decode_tasks(message: RobotTasks) -> RowTasks:
    """Check and decode; ValueError where an array has another number of robots than there are names."""
    n = len(message.name)
    for name in ("definition", "since", "given"):
        if len(getattr(message, name)) != n:
            raise ValueError(f"{name} must have {n} values, one per robot, found {len(getattr(message, name))}")
    if not n or len(message.vector) % n:
        raise ValueError(f"vector must have as many values for each of {n} robots, found {len(message.vector)}")
    return RowTasks(message.session, message.number, message.step_id, tuple(message.name), tuple(message.definition),
                    np.array(message.since, np.int64), np.array(message.given, bool),
                    np.array(message.vector, np.float32).reshape(n, -1))


def _encode_extras(extras: Mapping[str, np.ndarray], message: Observation | JointTorques) -> None:
    message.log_prob = flat(extras["log_prob"]) if "log_prob" in extras else _NO_FLOATS
    message.value = flat(extras["value"]) if "value" in extras else _NO_FLOATS


def _decode_extras(message: Observation | JointTorques, num_envs: int) -> dict[str, np.ndarray]:
    extras = {}
    if message.log_prob:
        extras["log_prob"] = unflat(message.log_prob, np.float32, (num_envs,), "log_prob")
    if message.value:
        extras["value"] = unflat(message.value, np.float32, (num_envs,), "value")
    return extras
