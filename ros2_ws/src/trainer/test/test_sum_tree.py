"""Sum tree against numpy's running sums."""

import numpy as np
import pytest

from trainer.buffers.sum_tree import SumTree

SIZES = (1, 2, 3, 1000)


def filled(size, seed=0):
    """A tree that was changed many times in pieces, and the weights it should have."""
    rng = np.random.default_rng(seed)
    tree, weight = SumTree(size), np.zeros(size)
    for _ in range(50):
        index = rng.choice(size, rng.integers(1, size + 1), replace=False)
        weight[index] = rng.exponential(1.0, len(index)) * (rng.random(len(index)) < 0.7)
        tree.set(index, weight[index])
    if not weight.any():
        weight[-1] = 1.0
        tree.set(np.array([size - 1]), np.array([1.0]))
    return tree, weight


@pytest.mark.parametrize("size", SIZES)
def test_sums_and_weights_are_those_of_numpy(size):
    tree, weight = filled(size)
    assert np.array_equal(tree.leaves, weight)
    assert np.array_equal(tree.get(np.arange(size)[::-1]), weight[::-1])
    assert tree.total == pytest.approx(weight.sum(), rel=1e-12)


@pytest.mark.parametrize("size", SIZES)
def test_a_leaf_is_found_where_the_running_sum_passes_the_mass(size):
    tree, weight = filled(size)
    mass = np.random.default_rng(1).random(10_000) * tree.total
    expected = np.searchsorted(np.cumsum(weight), mass, side="right")
    assert np.array_equal(tree.find(mass), expected)


@pytest.mark.parametrize("size", SIZES)
def test_a_leaf_without_weight_is_never_found(size):
    tree, weight = filled(size)
    assert size < 3 or (weight == 0).any()
    edges = np.concatenate([[0.0], np.cumsum(weight)])  # just where one leaf ends and the next begins
    near = np.concatenate([edges, np.nextafter(edges, 0.0), np.nextafter(edges, np.inf), [tree.total]])
    found = tree.find(np.clip(near, 0.0, tree.total))
    assert found.min() >= 0 and found.max() < size
    assert np.all(weight[found] > 0)


@pytest.mark.parametrize("size", SIZES[1:])
def test_the_ends_of_the_mass_are_the_first_and_the_last_leaf_with_weight(size):
    tree = SumTree(size)
    tree.set(np.array([0, size - 1]), np.array([0.0, 0.25]))
    assert tree.find(np.array([0.0, 0.1, 0.25])).tolist() == [size - 1] * 3
    tree.set(np.array([0, size - 1]), np.array([0.5, 0.0]))
    assert tree.find(np.array([0.0, 0.1, 0.5])).tolist() == [0] * 3 and tree.total == 0.5


def test_an_index_that_comes_twice_takes_the_last_weight():
    tree = SumTree(3)
    tree.set(np.array([1, 1, 2, 1]), np.array([5.0, 6.0, 1.0, 2.0]))
    assert tree.leaves.tolist() == [0.0, 2.0, 1.0] and tree.total == 3.0
