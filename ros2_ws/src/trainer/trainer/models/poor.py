"""A model that is made worse on purpose: what is left of imagination where the model is bad?"""

from __future__ import annotations

import keras
import numpy as np

from trainer.models import kinematics
from trainer.models.interface import Array, EnvironmentModel, Moment
from trainer.models.kinematics import ops


class PoorModel:
    """Another model with noise on every state that it predicts; see `EnvironmentModel`.

    Args:
        model: is made worse.
        std: float [27], of each number of the state in the data.
        share: standard deviation of the noise per step, as a share of `std`.
        seed: of the noise.
    """

    def __init__(self, model: EnvironmentModel, std: np.ndarray, share: float = 0.3, seed: int = 0) -> None:
        self._model, self._std = model, np.asarray(share * std, np.float32)
        self._numpy_rng, self._rng = np.random.default_rng(seed), keras.random.SeedGenerator(seed)

    def begin(self, observation: Array, branches: int = 1) -> Moment:
        """As `EnvironmentModel.begin`."""
        return self._model.begin(observation, branches)

    def step(self, moment: Moment, action: Array) -> Moment:
        """As `EnvironmentModel.step`."""
        after = self._model.step(moment, action)
        if ops(after.state) is np:
            noise = self._numpy_rng.standard_normal(after.state.shape)
        else:
            noise = keras.random.normal(keras.ops.shape(after.state), seed=self._rng)
        return after._replace(state=kinematics.advanced(after.state, noise * self._std))
