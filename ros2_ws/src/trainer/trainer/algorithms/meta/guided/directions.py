"""A policy that walks along x, turned: for robots that must find out in which direction walking is rewarded.

The robot has four legs alike, a quarter turn apart. So the world is turned until the wanted direction lies along x, and
the legs get other names, such that the torso points that way too, within an eighth of a turn.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from ant_rl_core.step import Transition
from trainer.algorithms.meta.guided.contract import Guide
from trainer.algorithms.meta.guided.estimator import Proportions
from trainer.algorithms.meta.guided.experts import Expert
from trainer.algorithms.meta.guided.turning import QUARTERS, ahead_of, crossed, quarter_turned, under_other_names, unit
from trainer.networks.recurrent import State

_KEPT = 0.5  # cosine of the angle, 60 degrees, up to which legs keep their names, so that they rarely change
_TURN = 0.03  # [rad] per tick: more than it walks by itself, and it does not stumble
_PLACES = np.arange(QUARTERS, dtype=np.float32)
_NO_TURN = np.eye(1, QUARTERS, dtype=np.float32)


class Directions(Proportions):
    """An estimator of the direction, and the robot turned by it; see `Estimator`."""

    # The direction that it walks in; by how many quarters the legs were renamed, one of them 1; zeros: not yet.
    _further_states = (2, QUARTERS)

    def _make_expert(self, guide: Guide, policy: keras.Model) -> Expert:
        return _Told(self, guide)

    def _proportions(self, sums: Any) -> Any:
        return sums / (sums[:, 2:3] + sums[:, 4:5] + 0.1)

    def _drive(self, observation: Any, outputs: Any, belief: Any, state: State) -> tuple[Any, State]:
        course, quarters = state
        course, quarters = _turned_towards(ahead_of(observation), course, quarters, belief)
        return under_other_names(self._policy, observation, course, quarters), (course, quarters)


class _Told:
    """The same, told the direction; it forgets at each tick in which it went."""

    def __init__(self, student: Directions, guide: Guide) -> None:
        self._student, self._guide = student, guide

    def label(self, batch: Transition) -> np.ndarray:
        """See `Expert`."""
        assert batch.task is not None
        return self.act(batch.observation, batch.task)

    def act(self, observation: np.ndarray, task: np.ndarray) -> np.ndarray:
        """See `Expert`."""
        belief = ops.convert_to_tensor(self._guide.labels(task))
        none = tuple(ops.zeros((len(observation), size)) for size in self._student._further_states)
        action, _ = self._student._drive(ops.convert_to_tensor(observation), None, belief, none)
        return np.array(action)


def _nearest(vectors: Any, wanted: Any) -> Any:
    """By how many quarters to turn vectors to come nearest to others, [n, 4], one of them 1."""
    along = ops.sum(vectors * wanted, axis=-1, keepdims=True)
    across = ops.sum(crossed(vectors) * wanted, axis=-1, keepdims=True)
    nearness = ops.concatenate([along, across, -along, -across], axis=-1)
    # The first of the best, as DQN's head does it: what Keras has for that, LiteRT lacks.
    best = nearness >= ops.max(nearness, axis=-1, keepdims=True)
    first = ops.min(ops.where(best, _PLACES, float(QUARTERS)), axis=-1, keepdims=True)
    return 1.0 - ops.minimum(1.0, ops.abs(first - _PLACES))


def _turned_towards(ahead: Any, course: Any, quarters: Any, belief: Any) -> tuple[Any, Any]:
    """The course [n, 2] of the next tick, and by how many quarters legs are renamed then.

    It is turned a little towards the belief, and by quarters at once where that is far: a quarter turn is but another
    name for each leg, anything else must be walked. At first the course is where the torso points.
    """
    begun = ops.cast(ops.sum(ops.square(course), axis=-1, keepdims=True) > 0.5, "float32")
    course = begun * course + (1.0 - begun) * ahead
    quarters = begun * quarters + (1.0 - begun) * _NO_TURN
    far = ops.cast(ops.sum(course * belief, axis=-1, keepdims=True) < begun * _KEPT + (1.0 - begun), "float32")
    turn = far * _nearest(course, belief) + (1.0 - far) * _NO_TURN
    course = quarter_turned(course, turn)
    added = [sum(quarters[:, i:i + 1] * turn[:, (k - i) % QUARTERS:(k - i) % QUARTERS + 1] for i in range(QUARTERS))
             for k in range(QUARTERS)]
    aside = ops.sum(crossed(course) * belief, axis=-1, keepdims=True)  # sine of the angle that is left
    course = unit(course + ops.clip(aside, -_TURN, _TURN) * crossed(course))
    return course, ops.concatenate(added, axis=-1)
