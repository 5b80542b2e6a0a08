"""Several networks that learn the same from differently weighted rows: stacked weights and batched products."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from ant_rl_core.settings import Settings, setting
from trainer.networks import weights
from trainer.networks.statistics import RunningStatistics

# Standard deviations of Gaussian heads, as multiples of the outputs' own, stay within these.
_LEAST_STD, _LARGEST_STD = 1e-3, 3.0


@dataclass(frozen=True)
class EnsembleConfig(Settings):
    """What the networks of a learned model are."""

    members: int = setting(4, "networks that learn the same from differently weighted rows", minimum=1, maximum=32)
    model_hidden: tuple[int, ...] = setting((200, 200, 200), "sizes of their hidden layers", minimum=1)
    gaussian: bool = setting(False, "each network also says how far it may be off (a Gaussian, learned by likelihood), "
                             "instead of one figure for each output")
    reward_head: bool = setting(False, "the reward is learned too, instead of computed from what is predicted")
    least_std: float = setting(1e-4, "numbers that vary less than this are taken as constant", above=0)
    input_clip: float = setting(10.0, "normalized inputs are clipped to this magnitude", above=0)

    def rules(self) -> Iterator[tuple[bool, str]]:
        yield from super().rules()
        yield bool(self.model_hidden), "model_hidden must name at least one layer"


class Prediction(NamedTuple):
    """Of each member for each row.

    Attributes:
        mean: float32 [E, r, outputs].
        std: float32 [E, r, outputs] with Gaussian heads, else [E, 1, outputs]: what is left unexplained in held-out
            data.
    """

    mean: tf.Tensor
    std: tf.Tensor


class Ensemble:
    """E networks from inputs to outputs, with the scaling of both inside.

    Args:
        config: see `EnsembleConfig`.
        inputs, outputs: how many numbers.
        seed: of the first weights.

    Attributes:
        input_statistics, output_statistics: what is scaled by, in float64; `normalize` changes them.
        residual: float32 [E, outputs] variable, rms error of held-out rows in normalized outputs; 1 before any was
            seen.
        learned: the variables that are learned, in the order of the checkpoint.
    """

    def __init__(self, config: EnsembleConfig, inputs: int, outputs: int, seed: int | np.random.SeedSequence) -> None:
        self.config, self.inputs, self.outputs = config, inputs, outputs
        self.input_statistics, self.output_statistics = RunningStatistics((inputs,)), RunningStatistics((outputs,))
        rng = np.random.default_rng(seed)
        heads = 2 * outputs if config.gaussian else outputs
        sizes = (inputs, *config.model_hidden, heads)
        self._kernels: list[keras.Variable] = []
        self._biases: list[keras.Variable] = []
        for before, after in zip(sizes, sizes[1:], strict=False):  # each layer and the next one
            limit = np.sqrt(3.0 / before)  # uniform of variance 1 / inputs, as LeCun's
            kernel = rng.uniform(-limit, limit, (config.members, before, after)).astype(np.float32)
            self._kernels.append(_variable(kernel, f"kernel_{len(self._kernels)}"))
            bias = np.zeros((config.members, 1, after), np.float32)
            self._biases.append(_variable(bias, f"bias_{len(self._biases)}"))
        self.learned = [*self._kernels, *self._biases]
        self.residual = _variable(np.ones((config.members, outputs), np.float32), "residual", False)
        self._scales = {name: _variable(np.full(size, fill, np.float32), name, False) for name, size, fill in (
            ("input_mean", inputs, 0), ("input_std", inputs, 1), ("output_mean", outputs, 0),
            ("output_std", outputs, 1), ("output_scale", outputs, 1))}
        self._renew()

    @property
    def biases(self) -> Sequence[keras.Variable]:
        """Those of the learned variables that are not to decay."""
        return self._biases

    @property
    def input_scale(self) -> tuple[tf.Tensor, tf.Tensor]:
        """Mean and standard deviation of the inputs, float32 [inputs] each."""
        return tf.convert_to_tensor(self._scales["input_mean"]), tf.convert_to_tensor(self._scales["input_std"])

    @property
    def outcome_scale(self) -> tuple[np.ndarray, np.ndarray]:
        """What is added to the scaled outputs of the networks, and what those are multiplied by, [outputs] each."""
        return self._scales["output_mean"].numpy(), self._scales["output_scale"].numpy()

    def layers_of(self, member: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """Weights [inputs, outputs] and biases [outputs] of one of the networks, layer by layer."""
        return [(kernel.numpy()[member], bias.numpy()[member, 0])
                for kernel, bias in zip(self._kernels, self._biases, strict=True)]

    def normalize(self, inputs: np.ndarray, outputs: np.ndarray) -> None:
        """Scale by mean and standard deviation of these rows, [m, inputs] and [m, outputs]."""
        self.input_statistics, self.output_statistics = RunningStatistics((self.inputs,)), RunningStatistics(
            (self.outputs,))
        self.input_statistics.update(inputs)
        self.output_statistics.update(outputs)
        self._renew()

    def normalized_outputs(self, outputs: tf.Tensor) -> tf.Tensor:
        """What the networks are to give for outputs [..., outputs]."""
        return (outputs - self._scales["output_mean"]) / self._scales["output_std"]

    def normalized(self, inputs: tf.Tensor) -> Prediction:
        """Prediction in normalized outputs.

        Args:
            inputs: float32 [r, inputs] for all members, or [E, r, inputs] for each its own.
        """
        x = (inputs - self._scales["input_mean"]) / self._scales["input_std"]
        x = tf.clip_by_value(x, -self.config.input_clip, self.config.input_clip)
        if len(x.shape) == 2:
            x = tf.tile(x[None], [self.config.members, 1, 1])
        last = len(self._kernels) - 1
        for i, (kernel, bias) in enumerate(zip(self._kernels, self._biases, strict=True)):
            x = tf.matmul(x, kernel) + bias
            if i < last:
                x = tf.nn.silu(x)
        if not self.config.gaussian:
            return Prediction(x, self.residual[:, None])
        mean, raw = tf.split(x, 2, axis=-1)
        low, high = np.log(_LEAST_STD), np.log(_LARGEST_STD)
        begin = np.log(-low / high)  # at which the standard deviation is 1, as that of the outputs
        return Prediction(mean, tf.exp(low + (high - low) * tf.sigmoid(raw + begin)))

    def predict(self, inputs: tf.Tensor) -> Prediction:
        """Prediction in the outputs' own units; arguments as of `normalized`. A constant output is its constant."""
        found, scale = self.normalized(inputs), self._scales["output_scale"]
        return Prediction(self._scales["output_mean"] + scale * found.mean, scale * found.std)

    def losses(self, inputs: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        """What each member is to make small, [E]: mean squared normalized error, or negative log-likelihood [nats].

        Args:
            inputs, outputs: float32 [r, …] for all members, or [E, r, …] for each its own.
        """
        found, target = self.normalized(inputs), self.normalized_outputs(outputs)
        error = tf.square(found.mean - target)
        if self.config.gaussian:
            error = 0.5 * error / tf.square(found.std) + tf.math.log(found.std) + 0.5 * np.log(2 * np.pi)
        return tf.reduce_mean(error, axis=(1, 2))

    def spread(self, inputs: tf.Tensor) -> tf.Tensor:
        """How far the members disagree, [r]: standard deviation in normalized outputs, mean over the outputs."""
        return tf.reduce_mean(tf.math.reduce_std(self.normalized(inputs).mean, axis=0), axis=-1)

    def save(self) -> dict[str, np.ndarray]:
        """Weights and scaling as named arrays."""
        return {**weights.pack("weight_", self.learned), "residual": self.residual.numpy(),
                **self.input_statistics.save("input_"), **self.output_statistics.save("output_")}

    def restore(self, saved: Mapping[str, np.ndarray]) -> None:
        """Continue from what `save` gave; ValueError if it was of networks of other sizes."""
        weights.unpack("weight_", self.learned, saved)
        self.residual.assign(saved["residual"])
        self.input_statistics.restore(saved, "input_")
        self.output_statistics.restore(saved, "output_")
        self._renew()

    def _renew(self) -> None:
        scales, least = self._scales, self.config.least_std
        for name, statistics in (("input", self.input_statistics), ("output", self.output_statistics)):
            std = np.sqrt(statistics.variance)
            scales[f"{name}_mean"].assign(statistics.mean.astype(np.float32))
            scales[f"{name}_std"].assign(np.maximum(std, least).astype(np.float32))
        scales["output_scale"].assign(np.where(std < least, 0.0, std).astype(np.float32))


def _variable(value: np.ndarray, name: str, trainable: bool = True) -> keras.Variable:
    return keras.Variable(value, trainable=trainable, name=name)
