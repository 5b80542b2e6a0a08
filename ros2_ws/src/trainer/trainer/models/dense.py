"""One network of a learned model as layers of Keras, for graphs that are exported."""

from __future__ import annotations

import keras
import numpy as np

from trainer.models import kinematics
from trainer.models.interface import Array, Moment, start
from trainer.models.kinematics import STATE_SIZE
from trainer.models.learned import INPUTS, STATE_CLIP, LearnedModel


class DenseModel:
    """What `LearnedModel.step` of a single network gives, of built-in layers alone; see `EnvironmentModel`.

    It takes tensors, those of Keras that stand for a graph's too. Scaling is a diagonal layer, so that every number
    that can change is a weight.

    Args:
        learned: sizes are taken from it, and by `renew` the weights of its first network.
    """

    begin = staticmethod(start)

    def __init__(self, learned: LearnedModel) -> None:
        self._learned, ensemble = learned, learned.ensemble
        self._clip, self._tells_reward = ensemble.config.input_clip, ensemble.config.reward_head
        self._scale = diagonal(INPUTS, "model_scale")
        self._hidden = [keras.layers.Dense(size, "silu", name=f"model_hidden_{i}", trainable=False)
                        for i, size in enumerate(ensemble.config.model_hidden)]
        self._outcome = keras.layers.Dense(ensemble.outputs, name="model_outcome", trainable=False)
        self._state = diagonal(STATE_SIZE, "model_state")
        for layer, (kernel, _) in zip([*self._hidden, self._outcome], ensemble.layers_of(0), strict=True):
            layer.build((None, len(kernel)))

    def step(self, moment: Moment, action: Array) -> Moment:
        """As `EnvironmentModel.step`."""
        of = keras.ops
        scaled = of.clip(self._scale(of.concatenate([moment.state, action], axis=-1)), -self._clip, self._clip)
        x = scaled
        for layer in self._hidden:
            x = layer(x)
        outcome = self._outcome(x)
        # The change is in the state's standard deviations here.
        state = self._state(of.clip(scaled[:, :STATE_SIZE] + outcome[:, :STATE_SIZE], -STATE_CLIP, STATE_CLIP))
        displacement = outcome[:, STATE_SIZE:STATE_SIZE + 2]
        return Moment(kinematics.with_unit_quaternion(state), moment.place + displacement, displacement,
                      of.relu(outcome[:, STATE_SIZE + 2]),
                      outcome[:, STATE_SIZE + 3] if self._tells_reward else None)

    def renew(self, spoiled: np.ndarray | None = None) -> None:
        """Take the weights and the scaling that were learned.

        Args:
            spoiled: what is added to the last layer's weights, as shares of their root mean square; None: nothing.
        """
        ensemble = self._learned.ensemble
        mean, std = (scale.numpy() for scale in ensemble.input_scale)
        set_diagonal(self._scale, 1.0 / std, -mean / std)
        set_diagonal(self._state, std[:STATE_SIZE], mean[:STATE_SIZE])
        *hidden, (kernel, bias) = ensemble.layers_of(0)
        for layer, found in zip(self._hidden, hidden, strict=True):
            layer.set_weights(found)
        if spoiled is not None:
            kernel = kernel + spoiled * np.sqrt(np.square(kernel).mean())
        shift, scale = ensemble.outcome_scale
        unit = np.ones_like(shift)
        unit[:STATE_SIZE] = std[:STATE_SIZE]
        self._outcome.set_weights([kernel * scale / unit, (bias * scale + shift) / unit])


def diagonal(size: int, name: str) -> keras.layers.Dense:
    """A layer that scales and moves each number by itself; see `set_diagonal`."""
    layer = keras.layers.Dense(size, name=name, kernel_initializer="identity", trainable=False)
    layer.build((None, size))
    return layer


def set_diagonal(layer: keras.layers.Dense, scale: np.ndarray, shift: np.ndarray) -> None:
    """From now on give scale * x + shift."""
    layer.set_weights([np.diag(scale).astype(np.float32), shift.astype(np.float32)])
