"""Networks: the numpy copy equals Keras, the initial weights are what the docstring says."""

import keras
import numpy as np
import pytest

from trainer.networks.mlp import NumpyMLP, mlp


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_the_numpy_copy_equals_the_network(activation):
    network = mlp(7, (16, 12), 3, output_gain=1.0, seed=1, activation=activation, name="network")
    rng = np.random.default_rng(0)
    for variable in network.trainable_variables:  # biases too
        variable.assign(rng.normal(0, 0.5, variable.shape))
    copy = NumpyMLP(network)
    for rows in (1, 5):
        x = rng.normal(0, 3, (rows, 7)).astype(np.float32)
        found = copy(x)
        assert found.dtype == np.float32 and found.shape == (rows, 3)
        np.testing.assert_allclose(found, keras.ops.convert_to_numpy(network(x)), rtol=1e-6, atol=2e-6)
    before = copy(x)
    network.trainable_variables[0].assign(np.zeros((7, 16)))
    assert np.array_equal(copy(x), before), "a frozen copy does not follow the network"


@pytest.mark.parametrize("gain", [1.0, 0.01])
def test_weights_start_orthogonal_with_their_gains_and_biases_at_zero(gain):
    network = mlp(10, (6, 8), 3, output_gain=gain, seed=1, name="network")
    assert [layer.activation.__name__ for layer in network.layers[1:]] == ["tanh", "tanh", "linear"]
    for layer, scale in zip(network.layers[1:], (2**0.5, 2**0.5, gain), strict=True):
        kernel, bias = layer.kernel.numpy().astype(np.float64), layer.bias.numpy()
        small = kernel.T @ kernel if kernel.shape[0] >= kernel.shape[1] else kernel @ kernel.T
        np.testing.assert_allclose(small, scale**2 * np.eye(len(small)), atol=1e-6 * scale)
        assert not bias.any()


def test_the_seed_decides_the_weights_and_layers_differ():
    def weights(seed):
        return [v.numpy() for v in mlp(8, (8, 8), 8, output_gain=2**0.5, seed=seed, name="n").trainable_variables]

    first = weights(1)
    for a, b, c in zip(first[::2], weights(1)[::2], weights(2)[::2], strict=True):
        assert np.array_equal(a, b) and not np.array_equal(a, c)
    assert not np.array_equal(first[0], first[2]) and not np.array_equal(first[2], first[4])
