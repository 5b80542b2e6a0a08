"""Batch renormalization against its definition in float64."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from by_hand import slope

from trainer.networks import batch_renorm
from trainer.networks.batch_renorm import BatchRenorm


class Reference:
    """Ioffe, arXiv:1702.03275, algorithm 1, with the constants of CrossQ; gain and offset are 1 and 0."""

    def __init__(self, size, warm_up):
        self.mean, self.variance, self.left = np.zeros(size), np.ones(size), warm_up

    def corrections(self, x):
        """r and d of a batch, through which no gradient goes."""
        if self.left > 0:
            return 1.0, 0.0
        std, running = np.sqrt(x.var(axis=0) + 1e-3), np.sqrt(self.variance + 1e-3)
        return np.clip(std / running, 1 / 3, 3), np.clip((x.mean(axis=0) - self.mean) / running, -5, 5)

    @staticmethod
    def normalize(x, r, d):
        return (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + 1e-3) * r + d

    def learn(self, x):
        self.mean = 0.99 * self.mean + 0.01 * x.mean(axis=0)
        self.variance = 0.99 * self.variance + 0.01 * x.var(axis=0)
        self.left -= 1

    def apply(self, x):
        return (x - self.mean) / np.sqrt(self.variance + 1e-3)


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def test_each_batch_is_normalized_as_defined_and_its_gradient_too(rng, monkeypatch):
    monkeypatch.setattr(batch_renorm, "WARM_UP", 3)
    layer, reference = BatchRenorm(), Reference(4, 3)
    network = keras.Sequential([keras.Input((4,)), layer])
    limited = []
    for batch in range(8):
        # Columns far from the running moments, so that both limits are reached, and near to them.
        x = (rng.normal(size=(6, 4)) * (0.1, 1.0, 2.0, 9.0) + (0.0, 0.3, -9.0, 2.0)).astype(np.float32)
        weight = rng.normal(size=x.shape)
        r, d = reference.corrections(x.astype(np.float64))
        expected = reference.normalize(x.astype(np.float64), r, d)
        with tf.GradientTape() as tape:
            inputs = tf.constant(x)
            tape.watch(inputs)
            found = network(inputs, training=True)
            loss = tf.reduce_sum(found * weight.astype(np.float32))
        np.testing.assert_allclose(found, expected, atol=2e-4, err_msg=f"batch {batch}")
        gradient = slope(lambda flat, weight=weight, r=r, d=d:
                         np.sum(weight * reference.normalize(flat.reshape(weight.shape), r, d)),
                         x.astype(np.float64).ravel())
        np.testing.assert_allclose(np.ravel(tape.gradient(loss, inputs)), gradient, atol=2e-3)
        if batch >= 3:
            limited += list(np.isin(r, (1 / 3, 3.0))) + list(np.abs(d) == 5)
        reference.learn(x.astype(np.float64))
        np.testing.assert_allclose(layer.mean.numpy(), reference.mean, atol=1e-6)
        np.testing.assert_allclose(layer.variance.numpy(), reference.variance, rtol=1e-5)
        np.testing.assert_allclose(network(x), reference.apply(x.astype(np.float64)), atol=1e-4)
    assert 0 < np.mean(limited) < 1


def test_gain_and_offset_are_learned_and_the_moments_are_not(rng):
    layer = BatchRenorm()
    network = keras.Sequential([keras.Input((2,)), layer])
    layer.gain.assign([2.0, -1.0])
    layer.offset.assign([0.5, 3.0])
    x = rng.normal(size=(5, 2)).astype(np.float32)
    np.testing.assert_allclose(network(x), x / np.sqrt(1.001) * (2.0, -1.0) + (0.5, 3.0), atol=1e-5)
    assert network.trainable_variables == [layer.gain, layer.offset]
    before = layer.mean.numpy().copy()
    network(x)
    assert np.array_equal(layer.mean.numpy(), before)  # only learning moves them
