"""A guide and an estimator for robots that may lose a leg, whose policy can do without one of them.

The shipped policy was never taught to, but hardly uses its leg 1: without it it runs on. Any leg can be that one: the
robot has four legs alike, a left and a right that are, and legs get other names. Where those are a quarter turn apart,
the robot walks on in a curve until it runs along x again.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from ant_env_node.tasks import symmetry
from ant_env_node.tasks.presets import lost_leg
from ant_env_node.tasks.task import NUM_ACTUATORS
from trainer.algorithms.meta.guided.contract import Guide, OneOf, Strengths, Unseen
from trainer.algorithms.meta.guided.estimator import NUM_KINEMATICS, Proportions
from trainer.algorithms.meta.guided.turning import QUARTERS, crossed, quarter_turned, under_other_names, unit
from trainer.analytic.lost_leg import SPARE, TURN
from trainer.networks.recurrent import State

_NUM_BELIEFS = 1 + symmetry.NUM_LEGS
_NUM_NAMES = 2 * QUARTERS  # by quarters, and by quarters with left and right exchanged
_FIRST_NAMES = np.eye(1, _NUM_NAMES, dtype=np.float32)
_ALONG_X = np.eye(1, 2, dtype=np.float32)
_SURE = 0.8  # from here on legs are renamed


class LostLeg(Strengths, OneOf, Unseen):
    """Which leg is lost, its two motors dead, if any is; see `LostLegs` for how the robot is led by it."""

    size = _NUM_BELIEFS

    def labels(self, task: np.ndarray) -> np.ndarray:
        """1 for no leg or for the lost one, 0 elsewhere."""
        return np.eye(_NUM_BELIEFS, dtype=np.float32)[1 + lost_leg(task)]


class LostLegs(Proportions):
    """An estimator of the leg that is lost, and the robot's legs renamed by it; see `Estimator`.

    It learns from what happened and from its mirror image, and so knows a loss on the left from one on the right.
    """

    # The direction that it walks in; what legs are called, one of them 1; zeros: not yet.
    _further_states = (2, _NUM_NAMES)

    def varied(self, lessons: dict[str, np.ndarray], order: np.random.Generator) -> dict[str, np.ndarray]:
        """Half of the rows with left and right exchanged; what was remembered would not fit, so they begin anew."""
        mirrored = order.random(lessons["first"].shape[1:]) < 0.5
        first = lessons["first"].copy()
        first[0] |= mirrored
        seen = np.zeros((*lessons["seen"].shape[:2], symmetry.CONTACTS.stop), np.float32)
        seen[..., :NUM_KINEMATICS] = lessons["seen"]
        other = {"seen": symmetry.mirror(_rows(seen))[:, :NUM_KINEMATICS],
                 "action": symmetry.mirror_action(_rows(lessons["action"])),
                 "task": _rows(lessons["task"])[:, [0, *range(symmetry.NUM_LEGS, 0, -1)]]}
        return {**lessons, "first": first, **{
            name: np.where(mirrored[:, None], array.reshape(lessons[name].shape), lessons[name])
            for name, array in other.items()}}

    def _make_expert(self, guide: Guide, policy: keras.Model) -> None:
        """Who takes over would have to know what the legs are called."""

    def _proportions(self, sums: Any) -> Any:
        return sums[:, :NUM_ACTUATORS] / (sums[:, NUM_ACTUATORS:] + 0.1)

    def _drive(self, observation: Any, outputs: Any, belief: Any, state: State) -> tuple[Any, State]:
        course, names = state
        course, names = _renamed(course, names, belief)
        quarters, mirrored = names[:, :QUARTERS] + names[:, QUARTERS:], names[:, QUARTERS:]
        action = under_other_names(self._policy, observation, course, quarters,
                                   ops.sum(mirrored, axis=-1, keepdims=True))
        return action, (course, names)


def _rows(array: np.ndarray) -> np.ndarray:
    """[T, n, ...] as [T * n, ...]."""
    return array.reshape(-1, *array.shape[2:])


def _renamed(course: Any, names: Any, belief: Any) -> tuple[Any, Any]:
    """Course [n, 2] and names [n, 8] of the next tick; both are zeros at first."""
    begun = ops.cast(ops.sum(names, axis=-1, keepdims=True) > 0.5, "float32")
    course = begun * course + (1.0 - begun) * _ALONG_X
    names = begun * names + (1.0 - begun) * _FIRST_NAMES
    lost = ops.cast(belief[:, 1:] > _SURE, "float32")
    lost = ops.concatenate([1.0 - ops.sum(lost, axis=-1, keepdims=True), lost], axis=-1)
    both = ops.reshape(ops.expand_dims(lost, 2) * ops.expand_dims(names, 1), (-1, _NUM_BELIEFS * _NUM_NAMES))
    following = ops.matmul(both, _RENAMING)
    course = quarter_turned(course, following[:, _NUM_NAMES:])
    aside = -course[:, 1:]  # sine of the angle to x
    turn = ops.where(course[:, :1] < 0, ops.where(aside < 0, -TURN, TURN), ops.clip(aside, -TURN, TURN))
    return unit(course + turn * crossed(course)), following[:, :_NUM_NAMES]


def _renaming() -> np.ndarray:
    """From a lost leg (or none) and names to the names after and the quarters between, all as 1 among zeros."""
    lost, mirrored, quarters = (array.ravel() for array in np.meshgrid(
        np.arange(_NUM_BELIEFS) - 1, np.arange(2), np.arange(QUARTERS), indexing="ij"))
    turn, mirrored_then = symmetry.names_for(lost, SPARE, quarters, mirrored > 0)
    names = (quarters + turn) % QUARTERS + QUARTERS * mirrored_then
    return np.concatenate([np.eye(_NUM_NAMES)[names], np.eye(QUARTERS)[turn % QUARTERS]], axis=1).astype(np.float32)


_RENAMING = _renaming()
