"""When an agent begins to imagine: the model that it imagines by, from no transitions to a frozen one."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ant_rl_core.step import Transition
from trainer.models import model_file
from trainer.models.dense import DenseModel
from trainer.models.ensemble import EnsembleConfig
from trainer.models.learned import LearnedModel
from trainer.models.learner import ModelLearner, ModelLearnerConfig

_PIECES = 50
_SPOILED = 0.3  # noise on the weights of the last layer of a poor model, as a share of their root mean square


class ModelStages:
    """Collects transitions, fits a model to them when there are enough, and again now and then where that is asked for.

    Args:
        path: of a model that is there already; empty: none.
        hidden: hidden layers of the network of a model that is yet to be learned.
        steps: environment steps after which it is.
        batches: gradient steps of a fit, at most.
        interval: updates of the agent between two fits; 0: there is but one.
        learns: whether there is a model to be learned at all; without one the same steps are waited for.
        spoiled: whether the model is to be a poor one.
        num_envs: robots.
        seed: of all that is random.

    Attributes:
        dense: the model.
        begun: whether there is something to imagine by.
    """

    def __init__(self, path: str, hidden: tuple[int, ...], steps: int, batches: int, interval: int, learns: bool,
                 spoiled: bool, num_envs: int, seed: np.random.SeedSequence) -> None:
        first, rows, noise = seed.spawn(3)
        self._steps, self._batches, self._interval, self._learns = steps, batches, interval, learns
        config = EnsembleConfig(members=1, model_hidden=hidden)
        self._model = model_file.read(path) if path else LearnedModel(config, first)
        self.dense = DenseModel(self._model)
        # Runs that are short are held out in shorter pieces, so that there are several.
        pieces = ModelLearnerConfig(held_out_ticks=max(1, min(250, steps // (_PIECES * num_envs))),
                                    batches_per_look=min(200, batches))
        self._learner = ModelLearner(self._model, pieces, num_envs, rows)
        self._updates = 0
        self.begun = bool(path)
        outputs, last = self._model.ensemble.outputs, self._model.ensemble.config.model_hidden[-1]
        self._noise = (_SPOILED * np.random.default_rng(noise).standard_normal((last, outputs)).astype(np.float32)
                       if spoiled else None)
        if self.begun:
            self._renew()

    @property
    def _collects(self) -> bool:
        return self._learns and (not self.begun or bool(self._interval))

    def observe(self, batch: Transition) -> None:
        """Take one tick."""
        if self._collects:
            self._learner.observe(batch)

    def after_update(self, env_steps: int) -> dict[str, float]:
        """Fit where it is time to; figures of that by name, none where it is not."""
        self._updates += self.begun
        if not (self._collects and self._updates % self._interval == 0 if self.begun else env_steps >= self._steps):
            return {}
        if not self._learns:
            self.begun = True
            return {}
        if not self._learner.can_fit:
            return {}
        self.begun = True
        found = self._learner.fit(self._batches, decay=not self._interval)
        self._renew()
        return found

    def save(self) -> dict[str, np.ndarray]:
        """Everything an unbroken continuation needs; transitions only where they are still learned from."""
        saved = self._learner.save() if self._collects else self._model.ensemble.save()
        return {**saved, "stage": np.array([self.begun, self._updates])}

    def restore(self, saved: Mapping[str, np.ndarray]) -> None:
        """Continue from what `save` gave; ValueError, and nothing changed, if it was of a model of other sizes."""
        begun, updates = map(int, saved["stage"])
        if "split_rng" in saved:
            self._learner.restore(saved)
        else:
            self._model.ensemble.restore(saved)
        self.begun, self._updates = bool(begun), updates
        if self.begun:
            self._renew()

    def _renew(self) -> None:
        self.dense.renew(self._noise)
