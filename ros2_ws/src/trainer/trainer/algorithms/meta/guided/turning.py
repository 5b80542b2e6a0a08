"""The symmetries of `ant_env_node.tasks.symmetry` as parts of a network, and a policy behind them.

Ant-v5's observation of 105 numbers and action of 8; the layers are Keras' `ops` that LiteRT has.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from ant_env_node.tasks import symmetry
from ant_rl_core.spec import ANT

QUARTERS = symmetry.NUM_LEGS
_OBSERVATION, _ACTION = ANT.observation_size, ANT.action_size


def ahead_of(observation: Any) -> Any:
    """Where the torso's own x axis points in the world's plane, [n, 2] of length 1."""
    w, x, y, z = _quaternion(observation)
    return unit(ops.concatenate([1.0 - 2.0 * (y * y + z * z), 2.0 * (w * z + x * y)], axis=-1))


def _quaternion(observation: Any) -> list[Any]:
    """The torso's orientation, w, x, y and z, each [n, 1]."""
    return [observation[:, i:i + 1] for i in range(*symmetry.ORIENTATION.indices(_OBSERVATION))]


def unit(vectors: Any) -> Any:
    """The same directions, of length 1; zeros stay zeros."""
    return vectors / ops.sqrt(ops.sum(ops.square(vectors), axis=-1, keepdims=True) + 1e-6)


def crossed(vectors: Any) -> Any:
    """A quarter turn on, [n, 2]."""
    return ops.concatenate([-vectors[:, 1:], vectors[:, :1]], axis=-1)


def quarter_turned(vectors: Any, quarters: Any) -> Any:
    """[n, 2], turned by quarters [n, 4], one of which is 1."""
    along, across = quarters[:, :1] - quarters[:, 2:3], quarters[:, 1:2] - quarters[:, 3:]
    return along * vectors + across * crossed(vectors)


def under_other_names(policy: keras.Model, observation: Any, course: Any, quarters: Any, mirrored: Any = None) -> Any:
    """What a policy that walks along x does to walk along `course`, with legs under other names.

    Args:
        policy: from observations to actions.
        observation: [n, 105].
        course: cosine and sine of the direction, [n, 2].
        quarters: by how many quarters legs are renamed, [n, 4], one of them 1.
        mirrored: 1 where left and right are exchanged after that, else 0, [n, 1]; None: nowhere.

    Returns:
        Actions for the legs under their own names, [n, 8].
    """
    seen = turned_back(sum(quarters[:, k:k + 1] * relabeled(observation, k) for k in range(QUARTERS)), course)
    if mirrored is not None:
        seen = (1.0 - mirrored) * seen + mirrored * _exchanged(seen, _MIRRORED)
    action = policy(seen)
    if mirrored is not None:
        action = (1.0 - mirrored) * action + mirrored * _exchanged(action, _MIRRORED_ACTION)
    return sum(quarters[:, k:k + 1] * relabeled_action(action, -k) for k in range(QUARTERS))


def _probe(function: Callable[..., np.ndarray], size: int, *arguments: int) -> tuple[np.ndarray, np.ndarray]:
    """From where each number comes, and with which sign, where a function only exchanges them and turns signs."""
    matrix = function(np.eye(size, dtype=np.float32), *arguments)
    places = np.abs(matrix).argmax(axis=0)
    return places, matrix[places, np.arange(size)]


def relabeled(observation: Any, quarters: int) -> Any:
    """`symmetry.relabel` by a number of quarters that is known; its turn of a quaternion keeps no sign, though."""
    turned = _exchanged(observation, _RELABELED[quarters])
    w, x, y, z = _quaternion(observation)
    c, s = float(np.cos(quarters * np.pi / 4)), float(np.sin(quarters * np.pi / 4))
    orientation = [c * w - s * z, c * x + s * y, c * y - s * x, c * z + s * w]
    return ops.concatenate([turned[:, :1], *orientation, turned[:, 5:]], axis=-1)


def relabeled_action(action: Any, quarters: int) -> Any:
    """`symmetry.relabel_action`."""
    return _exchanged(action, _RELABELED_ACTION[quarters % QUARTERS])


def _exchanged(numbers: Any, probed: tuple[np.ndarray, np.ndarray]) -> Any:
    places, signs = probed
    return ops.take(numbers, places, axis=1) * signs


def turned_back(observation: Any, direction: Any) -> Any:
    """`symmetry.turn_world` by minus the angle of `direction` (cosine and sine)."""
    cos, sin = direction[:, :1], direction[:, 1:]
    # Of half the angle, first the larger of cosine and sine: the root of what is nearly 0 is not to be trusted.
    larger = ops.sqrt(0.5 * (1.0 + ops.abs(cos)))
    smaller = 0.5 * ops.abs(sin) / larger
    half_cos = ops.where(cos < 0, smaller, larger)
    half_sin = ops.where(sin < 0, -1.0, 1.0) * ops.where(cos < 0, larger, smaller)
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


_RELABELED = [_probe(symmetry.relabel, _OBSERVATION, k) for k in range(QUARTERS)]
_RELABELED_ACTION = [_probe(symmetry.relabel_action, _ACTION, k) for k in range(QUARTERS)]
_MIRRORED = _probe(symmetry.mirror, _OBSERVATION)
_MIRRORED_ACTION = _probe(symmetry.mirror_action, _ACTION)
