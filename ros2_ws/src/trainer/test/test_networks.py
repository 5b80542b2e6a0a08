"""Networks: the numpy copy equals Keras, the initial weights are what the docstring says."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainer.networks import weights
from trainer.networks.mlp import NumpyMLP, dense, mlp


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_the_numpy_copy_equals_the_network(activation):
    network = mlp(7, (16, 12), 3, output_gain=1.0, seed=1, activation=activation, name="network")
    rng = np.random.default_rng(0)
    for variable in network.trainable_variables:  # biases too
        variable.assign(rng.normal(0, 0.5, variable.shape))
    copy = NumpyMLP(network.layers[1:])
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
    def initial(seed):
        return [v.numpy() for v in mlp(8, (8, 8), 8, output_gain=2**0.5, seed=seed, name="n").trainable_variables]

    first = initial(1)
    for a, b, c in zip(first[::2], initial(1)[::2], initial(2)[::2], strict=True):
        assert np.array_equal(a, b) and not np.array_equal(a, c)
    assert not np.array_equal(first[0], first[2]) and not np.array_equal(first[2], first[4])


def test_without_a_gain_weights_start_uniform_within_one_over_the_root_of_the_inputs():
    network = mlp(400, (300,), 7, seed=1, activation="relu", name="network")
    for layer, inputs in zip(network.layers[1:], (400, 300), strict=True):
        kernel, bound = layer.kernel.numpy(), inputs**-0.5
        assert 0.99 * bound < np.abs(kernel).max() <= bound and not layer.bias.numpy().any()
        assert kernel.var() == pytest.approx(bound**2 / 3, rel=0.05) and abs(kernel.mean()) < 0.05 * bound


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_layer_norm_comes_between_sum_and_activation(precision):
    network = mlp(5, (16, 8), 2, seed=3, activation="relu", layer_norm=True, precision=precision, name="network")
    x = np.random.default_rng(0).normal(0, 2, (40, 5)).astype(np.float32)
    expected = x.astype(np.float64)
    for i in range(2):
        kernel, bias = (v.numpy() for v in network.get_layer(f"network_hidden_{i}").weights)
        expected = expected @ kernel + bias
        expected = expected - expected.mean(axis=1, keepdims=True)
        expected = np.maximum(expected / np.sqrt(np.square(expected).mean(axis=1, keepdims=True) + 1e-5), 0.0)
    kernel, bias = (v.numpy() for v in network.get_layer("network_output").weights)
    tolerance = {"float32": 1e-5, "bfloat16": 0.05}[precision]
    np.testing.assert_allclose(network(x).numpy(), expected @ kernel + bias, atol=tolerance)


def test_an_unknown_precision_is_refused():
    with pytest.raises(KeyError, match="float16"):
        dense(3, 0, "float16")


# -- bfloat16 ----------------------------------------------------------------------------------------------------------

def value_and_gradients(precision):
    network = mlp(64, (128, 128), 3, seed=5, activation="tanh", precision=precision, name="network")
    x = tf.constant(np.random.default_rng(0).normal(0, 1, (256, 64)).astype(np.float32))
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = network(x)
        loss = tf.reduce_mean(tf.square(y - 1.0))
    return [y, *tape.gradient(loss, [x, *(v.value for v in network.trainable_variables)])]


def test_bfloat16_products_give_values_and_gradients_near_those_of_float32():
    for exact, found in zip(value_and_gradients("float32"), value_and_gradients("bfloat16"), strict=True):
        exact, found = exact.numpy(), found.numpy()
        assert found.dtype == np.float32 and found.shape == exact.shape
        error = np.linalg.norm(found - exact) / np.linalg.norm(exact)
        assert 1e-5 < error < 0.02, "8 bits of mantissa, no fewer and no more"


def test_bfloat16_layers_hold_the_weights_of_float32_ones():
    exact, found = (mlp(6, (8,), 2, seed=5, precision=precision, layer_norm=True, name="n")
                    for precision in ("float32", "bfloat16"))
    for a, b in zip(exact.get_weights(), found.get_weights(), strict=True):
        assert a.dtype == b.dtype == np.float32 and np.array_equal(a, b)


# -- weights as arrays -------------------------------------------------------------------------------------------------

def test_packed_weights_come_back_and_are_no_longer_those_of_the_network():
    first, second = (mlp(4, (5,), 2, seed=seed, name="n") for seed in (1, 2))
    packed = weights.pack("w_", first.variables)
    kept = {name: array.copy() for name, array in packed.items()}
    assert list(packed) == ["w_0", "w_1", "w_2", "w_3"]
    x = np.random.default_rng(0).normal(0, 1, (9, 4)).astype(np.float32)
    before = first(x).numpy()
    weights.copy(second, first)
    assert np.array_equal(first(x), second(x)) and not np.array_equal(first(x), before)
    assert all(np.array_equal(packed[name], kept[name]) for name in kept)
    weights.unpack("w_", first.variables, {**packed, "w_other": np.zeros(3), "v_0": np.zeros(2)})
    assert np.array_equal(first(x), before)


@pytest.mark.parametrize("hidden", [(6,), (5, 5), ()])
def test_weights_of_other_sizes_are_refused_and_nothing_changes(hidden):
    packed = weights.pack("w_", mlp(4, (5,), 2, seed=1, name="n").variables)
    other = mlp(4, hidden, 2, seed=2, name="n")
    before = other.get_weights()
    with pytest.raises(ValueError, match="the checkpoint is of other networks than these settings give: set"):
        weights.unpack("w_", other.variables, packed)
    assert all(np.array_equal(a, b) for a, b in zip(before, other.get_weights(), strict=True))


@pytest.mark.parametrize("compiled", [False, True])
def test_targets_move_a_share_of_the_way(compiled):
    source, target = (mlp(4, (5,), 2, seed=seed, name="n") for seed in (1, 2))
    old = target.get_weights()
    move = tf.function(lambda: weights.follow(target.variables, source.variables, 0.25), jit_compile=compiled)
    move()
    for before, now, goal in zip(old, target.get_weights(), source.get_weights(), strict=True):
        np.testing.assert_allclose(now, 0.75 * before + 0.25 * goal, rtol=1e-6, atol=1e-8)
