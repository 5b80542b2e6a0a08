"""Batch renormalization (Ioffe, arXiv:1702.03275), as CrossQ's critics need it."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

MOMENTUM = 0.99  # of the running moments
WARM_UP = 100_000  # batches that are normalized by their own moments alone
R_MAX, D_MAX = 3.0, 5.0  # how far a batch's own deviation and mean may be from the running ones
EPSILON = 1e-3  # added to variances


class BatchRenorm(keras.layers.Layer):
    """Normalizes float32 [m, n] over the rows, then applies a learned gain and offset.

    In training it takes the moments of the batch, brought to the running ones within limits, through which no gradient
    goes; otherwise the running ones. The first `WARM_UP` batches are normalized by their own moments alone, as by
    batch normalization, since the running ones move fast then.

    Differs from the paper in: the limits are the same from the end of the warm-up on instead of being relaxed little
    by little (as in the code of CrossQ, whose constants these are).
    """

    def build(self, input_shape: tuple[int | None, int]) -> None:
        """Make the variables."""
        size = input_shape[-1]

        def variable(name: str, shape: tuple[int, ...], start: str, learned: bool) -> keras.Variable:
            return self.add_weight(name=name, shape=shape, initializer=start, trainable=learned)

        self.gain, self.offset = variable("gain", (size,), "ones", True), variable("offset", (size,), "zeros", True)
        self.mean = variable("mean", (size,), "zeros", False)
        self.variance = variable("variance", (size,), "ones", False)
        self.batches = variable("batches", (), "zeros", False)

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """As of the base class; in training the running moments move."""
        mean, std = tf.convert_to_tensor(self.mean), tf.sqrt(tf.convert_to_tensor(self.variance) + EPSILON)
        if training:
            running_mean, running_std = mean, std
            mean = tf.reduce_mean(inputs, axis=0)
            variance = tf.reduce_mean(tf.square(inputs - mean), axis=0)
            std = tf.sqrt(variance + EPSILON)
            # What brings the moments of the batch to the running ones.
            warm = tf.cast(tf.convert_to_tensor(self.batches) >= WARM_UP, tf.float32)
            scale = 1.0 + warm * (tf.clip_by_value(std / running_std, 1.0 / R_MAX, R_MAX) - 1.0)
            shift = warm * tf.clip_by_value((mean - running_mean) / running_std, -D_MAX, D_MAX)
            self._move(self.mean, mean)
            self._move(self.variance, variance)
            self.batches.assign_add(1.0)
            normalized = (inputs - mean) / std * tf.stop_gradient(scale) + tf.stop_gradient(shift)
        else:
            normalized = (inputs - mean) / std
        return normalized * self.gain + self.offset

    @staticmethod
    def _move(running: Any, found: tf.Tensor) -> None:
        running.assign(MOMENTUM * tf.convert_to_tensor(running) + (1.0 - MOMENTUM) * tf.stop_gradient(found))
