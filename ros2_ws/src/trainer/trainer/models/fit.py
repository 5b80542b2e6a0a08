"""Fitting an ensemble to rows: many gradient steps in one compiled call, ended by rows that are held out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from ant_rl_core.settings import Settings, setting
from trainer import checkpoint
from trainer.models.ensemble import Ensemble
from trainer.networks import weights

_HELD_OUT_ROWS = 4096  # that are looked at at a time
_MOST_HELD_OUT = 16_384  # that are looked at in all, evenly spaced


@dataclass(frozen=True)
class FitConfig(Settings):
    """How networks are fitted."""

    model_batch_size: int = setting(256, "transitions per gradient step of the model, for each of its networks",
                                    minimum=1)
    model_learning_rate: float = setting(1e-3, "step size of AdamW for the model", above=0)
    model_weight_decay: float = setting(1e-4, "share of the model's weights that each step takes off, times the step "
                                        "size", minimum=0)
    batches_per_look: int = setting(200, "gradient steps of the model from one look at the held-out transitions to the "
                                    "next", minimum=1)
    patience: int = setting(5, "learning of the model stops early after so many looks that found no network better by "
                            "a hundredth", minimum=1)


class Fitter:
    """Fits an ensemble, with an optimizer that goes on from fit to fit.

    Args:
        ensemble: is fitted.
        config: see `FitConfig`.
        seed: of the draws of batches.

    Attributes:
        batches: gradient steps made.
    """

    def __init__(self, ensemble: Ensemble, config: FitConfig, seed: int | np.random.SeedSequence) -> None:
        self.ensemble, self.config, self.batches = ensemble, config, 0
        self._rng = np.random.default_rng(seed)
        self._optimizer = keras.optimizers.AdamW(config.model_learning_rate, config.model_weight_decay)
        self._optimizer.exclude_from_weight_decay(var_list=list(ensemble.biases))
        self._optimizer.build(ensemble.learned)
        self._run = tf.function(self._gradient_steps, jit_compile=True)
        self._look = tf.function(self._look_at, autograph=False, input_signature=[
            tf.TensorSpec((None, ensemble.inputs)), tf.TensorSpec((None, ensemble.outputs))])

    def fit(self, inputs: np.ndarray, outputs: np.ndarray, times: np.ndarray, held_out: np.ndarray, batches: int,
            decay: bool = False, shown: Callable[[range], Iterable[int]] = iter) -> dict[str, float]:
        """Make up to so many gradient steps, fewer where the held-out rows say so; keep the weights best for these.

        Args:
            inputs, outputs: float32 [m, inputs], [m, outputs].
            times: whole numbers [m, E], how often each member has each row.
            held_out: bool [m], rows that are not learned from.
            batches: rounded up to whole numbers of `batches_per_look`.
            decay: let the step size fall to nothing on the way, by half a cosine.
            shown: is given the numbers of the looks, and gives them back while it shows progress.

        Returns:
            Figures by name: model_loss of the last steps, model_held_out, the mean squared normalized error of held-out
            rows (with Gaussian heads their negative log-likelihood), model_batches made, model_rows learned from.

        Raises:
            ValueError: a member has no rows to learn from, or none are held out.
        """
        ensemble, config = self.ensemble, self.config
        learned, judged = np.flatnonzero(~held_out), np.flatnonzero(held_out)
        own = [np.repeat(learned, times[learned, member]) for member in range(ensemble.config.members)]
        if not len(judged) or not all(map(len, own)):
            raise ValueError("a model needs transitions to learn from and some that are held out, found "
                             f"{len(inputs)}, of which {len(judged)} are held out")
        ensemble.normalize(inputs[learned], outputs[learned])
        judged = judged[np.linspace(0, len(judged) - 1, min(len(judged), _MOST_HELD_OUT)).astype(np.int64)]
        judged_rows = inputs[judged], outputs[judged]
        best = _Best(ensemble.learned, self._losses(*judged_rows)[0])
        looks = math.ceil(batches / config.batches_per_look)
        for look in shown(range(looks)):
            share = 0.5 * (1 + math.cos(math.pi * (look + 0.5) / looks)) if decay else 1.0
            self._optimizer.learning_rate.assign(config.model_learning_rate * share)
            drawn = np.stack([of[self._rng.integers(0, len(of), (config.batches_per_look, config.model_batch_size))]
                              for of in own], axis=1)
            loss = float(self._run(tf.constant(inputs[drawn]), tf.constant(outputs[drawn])))
            self.batches += config.batches_per_look
            if not best.take(self._losses(*judged_rows)[0], config.patience):
                break
        best.put_back()
        losses, squares = self._losses(*judged_rows)
        ensemble.residual.assign(np.sqrt(squares))
        return {"model_loss": loss, "model_held_out": float(losses.mean()),
                "model_batches": float((look + 1) * config.batches_per_look), "model_rows": float(len(learned))}

    def variables(self) -> list[keras.Variable]:
        """What the optimizer knows, in the order of the checkpoint."""
        return weights.of_optimizer(self._optimizer)

    def save(self) -> dict[str, np.ndarray]:
        """Ensemble, optimizer and draws as named arrays."""
        return {**self.ensemble.save(), **weights.pack("optimizer_", self.variables()),
                "batch_rng": checkpoint.pack_generator(self._rng), "batches": np.asarray(self.batches)}

    def restore(self, saved: Mapping[str, np.ndarray]) -> None:
        """Continue from what `save` gave; ValueError if it was of networks of other sizes."""
        self.ensemble.restore(saved)
        weights.unpack("optimizer_", self.variables(), saved)
        checkpoint.unpack_generator(self._rng, saved["batch_rng"])
        self.batches = int(saved["batches"])

    def _losses(self, inputs: np.ndarray, outputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of rows: the loss of each member [E], and its mean squared normalized error in each output [E, outputs]."""
        parts = [slice(first, first + _HELD_OUT_ROWS) for first in range(0, len(inputs), _HELD_OUT_ROWS)]
        found = [self._look(inputs[part], outputs[part]) for part in parts]
        counts = [len(inputs[part]) for part in parts]
        losses, squares = (np.average([each[i].numpy() for each in found], axis=0, weights=counts) for i in range(2))
        return losses, squares

    def _look_at(self, inputs: tf.Tensor, outputs: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        error = self.ensemble.normalized(inputs).mean - self.ensemble.normalized_outputs(outputs)
        return self.ensemble.losses(inputs, outputs), tf.reduce_mean(tf.square(error), axis=1)

    def _gradient_steps(self, inputs: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        """One step for each of the batches [steps, E, batch, …]; mean loss of a member."""
        learned, total = self.ensemble.learned, tf.zeros(())
        for i in tf.range(tf.shape(inputs)[0]):
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(self.ensemble.losses(inputs[i], outputs[i]))
            self._optimizer.apply(tape.gradient(loss, learned), learned)
            total += loss
        return total / tf.cast(tf.shape(inputs)[0] * self.ensemble.config.members, tf.float32)


class _Best:
    """The weights of each member with which held-out rows were predicted best."""

    def __init__(self, variables: Sequence[keras.Variable], losses: np.ndarray) -> None:
        self._variables, self._losses, self._waited = variables, losses, 0
        self._clear = losses  # the last ones that were better by enough
        self._values = [variable.numpy() for variable in variables]

    def take(self, losses: np.ndarray, patience: int) -> bool:
        """Look at the present weights; returns whether to go on."""
        better = losses < self._losses
        # Losses of Gaussian heads may be negative: a hundredth of a nat there.
        clearly = losses < self._clear - 0.01 * np.minimum(1.0, np.abs(self._clear))
        self._clear = np.where(clearly, losses, self._clear)
        for value, variable in zip(self._values, self._variables, strict=True):
            value[better] = variable.numpy()[better]
        self._losses = np.where(better, losses, self._losses)
        self._waited = 0 if clearly.any() else self._waited + 1
        return self._waited < patience

    def put_back(self) -> None:
        """Give the members these weights."""
        for value, variable in zip(self._values, self._variables, strict=True):
            variable.assign(value)
