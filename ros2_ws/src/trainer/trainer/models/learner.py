"""Learning a model of the environment from transitions."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ant_rl_core.settings import Settings, setting
from ant_rl_core.step import Transition
from trainer import checkpoint
from trainer.models.learned import LearnedModel
from trainer.models.rows import Rows
from trainer.networks import weights

_HELD_OUT_ROWS = 4096  # that are looked at at a time
_MOST_HELD_OUT = 16_384  # that are looked at in all, evenly spaced


@dataclass(frozen=True)
class ModelLearnerConfig(Settings):
    """How a model is learned."""

    model_capacity: int = setting(1_000_000, "transitions that the model learns from, the newest ones", minimum=1)
    model_batch_size: int = setting(256, "transitions per gradient step of the model, for each of its networks", minimum=1)
    model_learning_rate: float = setting(1e-3, "step size of AdamW for the model", above=0)
    model_weight_decay: float = setting(1e-4, "share of the weights that each step takes off, times the step size",
                                        minimum=0)
    held_out_share: float = setting(0.1, "share of the transitions, in pieces of held_out_ticks, that the model is never "
                                    "learned from but judged on", above=0, below=1)
    held_out_ticks: int = setting(250, "ticks of one robot that are held out, or not, together", minimum=1)
    patience: int = setting(5, "learning stops early after so many looks at the held-out transitions that found no "
                            "network better by a hundredth", minimum=1)
    batches_per_look: int = setting(200, "gradient steps from one such look to the next", minimum=1)


class ModelLearner:
    """Keeps transitions and fits a `LearnedModel` to them.

    Each row is drawn once, when it comes, how often each network is to see it (Poisson with mean 1: a bootstrap), and
    pieces of held_out_ticks whether they are held out. A fit ends with the weights that were best for these.

    Args:
        model: what learns.
        config: see `ModelLearnerConfig`.
        num_envs: robots of a tick, for `observe`.
        seed: of everything that is random.

    Attributes:
        added: transitions that ever came.
        batches: gradient steps made.
    """

    def __init__(self, model: LearnedModel, config: ModelLearnerConfig, num_envs: int = 1,
                 seed: int | np.random.SeedSequence = 0) -> None:
        self.model, self.config, self.num_envs = model, config, num_envs
        streams = (seed if isinstance(seed, np.random.SeedSequence) else np.random.SeedSequence(seed)).spawn(2)
        self._split_rng, self._batch_rng = map(np.random.default_rng, streams)
        self.added = self.batches = 0
        self._ticks = 0
        self._held_now = np.zeros(num_envs, bool)
        members = model.ensemble.config.members
        self._rows: dict[str, np.ndarray] = {}
        self._times = np.zeros((0, members), np.uint8)  # how often each network sees each row
        self._held_out = np.zeros(0, bool)
        self._optimizer = keras.optimizers.AdamW(config.model_learning_rate, config.model_weight_decay)
        self._optimizer.exclude_from_weight_decay(var_list=list(model.ensemble.biases))
        self._optimizer.build(model.ensemble.learned)
        self._run = tf.function(self._gradient_steps, jit_compile=True)
        self._look = tf.function(self._look_at, autograph=False, input_signature=[
            tf.TensorSpec((None, model.ensemble.inputs)), tf.TensorSpec((None, model.ensemble.outputs))])

    def __len__(self) -> int:
        """Transitions kept."""
        return len(self._held_out)

    def observe(self, batch: Transition) -> None:
        """Take one tick of `num_envs` robots."""
        if self._ticks % self.config.held_out_ticks == 0:
            self._held_now = self._split_rng.random(self.num_envs) < self.config.held_out_share
        self._ticks += 1
        self.add(Rows.of(batch), self._held_now)

    def add(self, rows: Rows, held_out: np.ndarray) -> None:
        """Take rows, of which those marked in bool [m] are held out."""
        times = self._split_rng.poisson(1.0, (len(rows), self._times.shape[1])).astype(np.uint8)
        if self._times.shape[1] == 1:
            times[:] = 1  # one network has none to differ from
        self.added += len(rows)
        keep = slice(-self.config.model_capacity, None)
        for each in fields(Rows):
            new = getattr(rows, each.name)
            old = self._rows.get(each.name, new[:0])
            self._rows[each.name] = np.concatenate([old, new])[keep]
        self._times = np.concatenate([self._times, times])[keep]
        self._held_out = np.concatenate([self._held_out, held_out])[keep]

    def fit(self, batches: int, decay: bool = False,
            shown: Callable[[range], Iterable[int]] = iter) -> dict[str, float]:
        """Make up to so many gradient steps, fewer where the held-out rows say so.

        Args:
            batches: rounded up to whole numbers of `batches_per_look`.
            decay: let the step size fall to nothing on the way, by half a cosine; it then never ends early.
            shown: is given the numbers of the looks, and gives them back while it shows progress.

        Returns:
            Figures by name: model_loss of the last steps, model_held_out, the mean squared normalized error of held-out
            rows (with Gaussian heads their negative log-likelihood), model_batches made, model_rows learned from.

        Raises:
            ValueError: there are no rows to learn from, or none held out.
        """
        rows, config, ensemble = Rows(**self._rows), self.config, self.model.ensemble
        mine = [np.repeat(np.flatnonzero(~self._held_out), self._times[~self._held_out, member])
                for member in range(ensemble.config.members)]
        judged = np.flatnonzero(self._held_out)
        if not len(judged) or not all(map(len, mine)):
            raise ValueError(f"a model needs transitions to learn from and some that are held out, found {len(rows)}, of "
                             f"which {len(judged)} are held out")
        inputs, outputs = np.concatenate([rows.state, rows.action], axis=1), self.model.targets(rows)
        ensemble.normalize(inputs[~self._held_out], outputs[~self._held_out])
        judged = judged[np.linspace(0, len(judged) - 1, min(len(judged), _MOST_HELD_OUT)).astype(np.int64)]
        best = _Best(ensemble.learned, self._losses(inputs[judged], outputs[judged])[0])
        looks = math.ceil(batches / config.batches_per_look)
        for look in shown(range(looks)):
            share = 0.5 * (1 + math.cos(math.pi * (look + 0.5) / looks)) if decay else 1.0
            self._optimizer.learning_rate.assign(config.model_learning_rate * share)
            drawn = np.stack([of[self._batch_rng.integers(0, len(of), (config.batches_per_look, config.model_batch_size))]
                              for of in mine], axis=1)
            loss = float(self._run(tf.constant(inputs[drawn]), tf.constant(outputs[drawn])))
            self.batches += config.batches_per_look
            if not best.take(self._losses(inputs[judged], outputs[judged])[0], config.patience) and not decay:
                break
        best.put_back()
        losses, squares = self._losses(inputs[judged], outputs[judged])
        ensemble.residual.assign(np.sqrt(squares))
        return {"model_loss": loss, "model_held_out": float(losses.mean()),
                "model_batches": float((look + 1) * config.batches_per_look),
                "model_rows": float(np.count_nonzero(~self._held_out))}

    def variables(self) -> list[keras.Variable]:
        """Of networks and optimizer, in the order of the checkpoint."""
        return [*self.model.ensemble.learned, *weights.of_optimizer(self._optimizer)]

    def save(self) -> dict[str, np.ndarray]:
        """Everything an unbroken continuation needs, as named arrays."""
        return {**{f"row_{name}": array for name, array in self._rows.items()}, "times": self._times,
                "held_out": self._held_out, "held_now": self._held_now, **self.model.ensemble.save(),
                **weights.pack("optimizer_", weights.of_optimizer(self._optimizer)),
                "split_rng": checkpoint.pack_generator(self._split_rng),
                "batch_rng": checkpoint.pack_generator(self._batch_rng),
                "counts": np.array([self.added, self.batches, self._ticks])}

    def restore(self, saved: Mapping[str, np.ndarray]) -> None:
        """Continue from what `save` gave; ValueError if it was of networks of other sizes."""
        self.model.ensemble.restore(saved)
        weights.unpack("optimizer_", weights.of_optimizer(self._optimizer), saved)
        self._rows = {each.name: saved[f"row_{each.name}"] for each in fields(Rows) if f"row_{each.name}" in saved}
        self._times, self._held_out, self._held_now = saved["times"], saved["held_out"], saved["held_now"].copy()
        checkpoint.unpack_generator(self._split_rng, saved["split_rng"])
        checkpoint.unpack_generator(self._batch_rng, saved["batch_rng"])
        self.added, self.batches, self._ticks = map(int, saved["counts"])

    def _losses(self, inputs: np.ndarray, outputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of rows: the loss of each member [E], and its mean squared normalized error in each output [E, outputs]."""
        parts = [slice(first, first + _HELD_OUT_ROWS) for first in range(0, len(inputs), _HELD_OUT_ROWS)]
        found = [self._look(inputs[part], outputs[part]) for part in parts]
        counts = [len(inputs[part]) for part in parts]
        losses, squares = (np.average([each[i].numpy() for each in found], axis=0, weights=counts) for i in range(2))
        return losses, squares

    def _look_at(self, inputs: tf.Tensor, outputs: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        ensemble = self.model.ensemble
        error = ensemble.normalized(inputs).mean - ensemble.normalized_outputs(outputs)
        return ensemble.losses(inputs, outputs), tf.reduce_mean(tf.square(error), axis=1)

    def _gradient_steps(self, inputs: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        """One step for each of the batches [steps, E, batch, …]; mean loss of a member."""
        learned, total = self.model.ensemble.learned, tf.zeros(())
        for i in tf.range(tf.shape(inputs)[0]):
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(self.model.ensemble.losses(inputs[i], outputs[i]))
            self._optimizer.apply(tape.gradient(loss, learned), learned)
            total += loss
        return total / tf.cast(tf.shape(inputs)[0] * self.model.ensemble.config.members, tf.float32)


class _Best:
    """The weights of each member with which held-out rows were predicted best."""

    def __init__(self, variables: list[Any], losses: np.ndarray) -> None:
        self._variables, self._losses, self._waited = variables, losses, 0
        self._values = [variable.numpy() for variable in variables]

    def take(self, losses: np.ndarray, patience: int) -> bool:
        """Look at the present weights; returns whether to go on."""
        better = losses < self._losses
        # Losses of Gaussian heads may be negative: a hundredth of a nat there.
        clearly = np.any(losses < self._losses - 0.01 * np.minimum(1.0, np.abs(self._losses)))
        for value, variable in zip(self._values, self._variables, strict=True):
            value[better] = variable.numpy()[better]
        self._losses = np.where(better, losses, self._losses)
        self._waited = 0 if clearly else self._waited + 1
        return self._waited < patience

    def put_back(self) -> None:
        """Give the members these weights."""
        for value, variable in zip(self._values, self._variables, strict=True):
            variable.assign(value)
