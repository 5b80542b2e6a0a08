"""A policy that walks along x, turned: for robots that must find out in which direction walking is rewarded.

The robot has four legs alike, a quarter turn apart. So the world is turned until the wanted direction lies along x, and
the legs get other names, such that the torso points that way too, within an eighth of a turn.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

from ant_env_node.tasks import symmetry
from ant_rl_core.step import Transition
from trainer.algorithms.meta.guided.contract import Guide
from trainer.algorithms.meta.guided.estimator import Estimator
from trainer.algorithms.meta.guided.experts import Expert
from trainer.networks.mlp import dense
from trainer.networks.recurrent import State

_QUARTERS = 4
_KEPT = 0.5  # cosine of the angle, 60 degrees, up to which legs keep their names, so that they rarely change
_TURN = 0.03  # [rad] per tick: more than it walks by itself, and it does not stumble
_OBSERVATION, _ACTION = 105, 8
_PLACES = np.arange(_QUARTERS, dtype=np.float32)
_NO_TURN = np.eye(1, _QUARTERS, dtype=np.float32)


class Directions(Estimator):
    """An estimator of the direction, and the robot turned by it; see `Estimator`."""

    # The direction that it walks in; by how many quarters the legs were renamed, one of them 1; zeros: not yet.
    _further_states = (2, _QUARTERS)

    def _make_expert(self, guide: Guide, policy: keras.Model) -> Expert:
        return _Told(self, guide)

    def _further_layers(self, seeds: Iterator[int]) -> list[keras.layers.Layer]:
        self._solve = dense(64, next(seeds), activation="relu", name="solve")
        self._solved = dense(self._guide.size, next(seeds), name="solved")
        return [self._solve, self._solved]

    def _estimate(self, remembered: Any, sums: Any) -> Any:
        """The sums matter by their proportions."""
        proportions = sums / (sums[:, 2:3] + sums[:, 4:5] + 0.1)
        x = ops.concatenate([proportions, remembered], axis=-1)
        return super()._estimate(remembered, sums) + self._solved(self._solve(x))

    def _drive(self, observation: Any, outputs: Any, belief: Any, state: State) -> tuple[Any, State]:
        course, quarters = state
        course, quarters = _turned_towards(_ahead(observation), course, quarters, belief)
        seen = 0.0
        for k in range(_QUARTERS):
            seen = seen + quarters[:, k:k + 1] * _relabeled(observation, k)
        action = self._policy(_turned_back(seen, course))
        real = 0.0
        for k in range(_QUARTERS):
            real = real + quarters[:, k:k + 1] * _relabeled_action(action, -k)
        return real, (course, quarters)


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


def _ahead(observation: Any) -> Any:
    """Where the torso's own x axis points in the world's plane, [n, 2] of length 1."""
    w, x, y, z = _quaternion(observation)
    return _unit(ops.concatenate([1.0 - 2.0 * (y * y + z * z), 2.0 * (w * z + x * y)], axis=-1))


def _quaternion(observation: Any) -> list[Any]:
    """The torso's orientation, w, x, y and z, each [n, 1]."""
    return [observation[:, i:i + 1] for i in range(*symmetry.ORIENTATION.indices(_OBSERVATION))]


def _unit(vectors: Any) -> Any:
    return vectors / ops.sqrt(ops.sum(ops.square(vectors), axis=-1, keepdims=True) + 1e-6)


def _crossed(vectors: Any) -> Any:
    """A quarter turn on, [n, 2]."""
    return ops.concatenate([-vectors[:, 1:], vectors[:, :1]], axis=-1)


def _nearest(vectors: Any, wanted: Any) -> Any:
    """By how many quarters to turn vectors to come nearest to others, [n, 4], one of them 1."""
    along = ops.sum(vectors * wanted, axis=-1, keepdims=True)
    across = ops.sum(_crossed(vectors) * wanted, axis=-1, keepdims=True)
    nearness = ops.concatenate([along, across, -along, -across], axis=-1)
    # The first of the best, as DQN's head does it: what Keras has for that, LiteRT lacks.
    best = nearness >= ops.max(nearness, axis=-1, keepdims=True)
    first = ops.min(ops.where(best, _PLACES, float(_QUARTERS)), axis=-1, keepdims=True)
    return 1.0 - ops.minimum(1.0, ops.abs(first - _PLACES))


def _quarter_turned(vectors: Any, quarters: Any) -> Any:
    crossed = _crossed(vectors)
    return ((quarters[:, :1] - quarters[:, 2:3]) * vectors) + ((quarters[:, 1:2] - quarters[:, 3:]) * crossed)


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
    course = _quarter_turned(course, turn)
    added = [sum(quarters[:, i:i + 1] * turn[:, (k - i) % _QUARTERS:(k - i) % _QUARTERS + 1] for i in range(_QUARTERS))
             for k in range(_QUARTERS)]
    aside = ops.sum(_crossed(course) * belief, axis=-1, keepdims=True)  # sine of the angle that is left
    course = _unit(course + ops.clip(aside, -_TURN, _TURN) * _crossed(course))
    return course, ops.concatenate(added, axis=-1)


def _probe(function: Any, size: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    """From where each number comes, and with which sign, where a function only exchanges them and turns signs."""
    matrix = function(np.eye(size, dtype=np.float32), k)
    places = np.abs(matrix).argmax(axis=0)
    return places, matrix[places, np.arange(size)]


def _relabeled(observation: Any, quarters: int) -> Any:
    """`symmetry.relabel` by a number of quarters that is known; its turn of a quaternion keeps no sign, though."""
    places, signs = _RELABELED[quarters]
    turned = ops.take(observation, places, axis=1) * signs
    w, x, y, z = _quaternion(observation)
    c, s = float(np.cos(quarters * np.pi / 4)), float(np.sin(quarters * np.pi / 4))
    orientation = [c * w - s * z, c * x + s * y, c * y - s * x, c * z + s * w]
    return ops.concatenate([turned[:, :1], *orientation, turned[:, 5:]], axis=-1)


def _relabeled_action(action: Any, quarters: int) -> Any:
    places, signs = _RELABELED_ACTION[quarters % _QUARTERS]
    return ops.take(action, places, axis=1) * signs


def _turned_back(observation: Any, direction: Any) -> Any:
    """`symmetry.turn_world` by minus the angle of `direction` (cosine and sine)."""
    cos, sin = direction[:, :1], direction[:, 1:]
    half_cos = ops.sqrt(ops.maximum(0.5 * (1.0 + cos), 1e-12))
    half_sin = ops.where(sin < 0, -1.0, 1.0) * ops.sqrt(ops.maximum(0.5 * (1.0 - cos), 0.0))
    w, x, y, z = _quaternion(observation)
    orientation = ops.concatenate([half_cos * w + half_sin * z, half_cos * x + half_sin * y,
                                   half_cos * y - half_sin * x, half_cos * z - half_sin * w], axis=-1)
    orientation = ops.where(orientation[:, :1] < 0, -orientation, orientation)
    velocity = _about_z(observation[:, symmetry.VELOCITY], cos, sin)
    own = observation[:, symmetry.JOINTS], observation[:, symmetry.ANGULAR_VELOCITY.start:symmetry.CONTACTS.start]
    contacts = ops.reshape(observation[:, symmetry.CONTACTS], (-1, 26, 3))
    turned = _about_z(contacts, ops.expand_dims(cos, 1), ops.expand_dims(sin, 1))
    return ops.concatenate([observation[:, :1], orientation, own[0], velocity, own[1], ops.reshape(turned, (-1, 78))],
                           axis=-1)


def _about_z(vectors: Any, cos: Any, sin: Any) -> Any:
    """Turned by minus the angle."""
    x, y, z = vectors[..., :1], vectors[..., 1:2], vectors[..., 2:]
    return ops.concatenate([cos * x + sin * y, cos * y - sin * x, z], axis=-1)


_RELABELED = [_probe(symmetry.relabel, _OBSERVATION, k) for k in range(_QUARTERS)]
_RELABELED_ACTION = [_probe(symmetry.relabel_action, _ACTION, k) for k in range(_QUARTERS)]
