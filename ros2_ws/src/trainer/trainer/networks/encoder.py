"""What imagined rollouts say, in a few numbers each: a memory that reads them from their end to their beginning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from trainer.networks.mlp import first_seed

Array = Any  # tensors, those of Keras that stand for a graph's too

_KEEP = 1.0  # is added to the forget gate: at first what was read is kept (Gers et al., 2000)


class Encoder:
    """An LSTM (Hochreiter and Schmidhuber, 1997) that is shown the steps of a rollout, the last one first.

    Its cell is two dense layers, called once for each step: a loop, or Keras's own LSTM, would not become operations
    that LiteRT has with any number of rows. Of a rollout of zeros the code is 0 as long as the biases of its candidates
    are, which are so at the start.

    Args:
        size: numbers of a code.
        seed: of the weights.
    """

    def __init__(self, size: int, seed: np.random.SeedSequence) -> None:
        inside, recurrent = seed.spawn(2)
        self._inside = keras.layers.Dense(
            4 * size, name="encoder_inside", kernel_initializer=keras.initializers.GlorotUniform(first_seed(inside)))
        self._recurrent = keras.layers.Dense(
            4 * size, name="encoder_recurrent", use_bias=False,
            kernel_initializer=keras.initializers.Orthogonal(1.0, first_seed(recurrent)))

    def __call__(self, steps: Sequence[Array]) -> Array:
        """Codes [r, size] of rollouts whose steps are [r, features] each, in the order of time."""
        of = keras.ops
        seen = of.split(self._inside(of.concatenate(list(steps), axis=0)), len(steps), axis=0)
        # Before that nothing was read: what is remembered is 0.
        enter, _, leave, new = of.split(seen[-1], 4, axis=-1)
        cell = of.sigmoid(enter) * of.tanh(new)
        hidden = of.sigmoid(leave) * of.tanh(cell)
        for step in reversed(seen[:-1]):
            enter, keep, leave, new = of.split(step + self._recurrent(hidden), 4, axis=-1)
            cell = of.sigmoid(keep + _KEEP) * cell + of.sigmoid(enter) * of.tanh(new)
            hidden = of.sigmoid(leave) * of.tanh(cell)
        return hidden
