"""The matrix products that a gradient step cannot do without: their shapes, and from them its arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

Product = tuple[int, int, int]  # (m, k, n): float32 [m, k] times [k, n], of 2 m k n operations


def operations(products: Sequence[Product]) -> int:
    """Multiplications and additions of all the products."""
    return sum(2 * m * k * n for m, k, n in products)


def td3(batch: int, observation: int, action: int, hidden: Sequence[int]) -> tuple[list[Product], list[Product]]:
    """Products of TD3: (of every update, of an actor update besides)."""
    actor, critic = (observation, *hidden, action), (observation + action, *hidden, 1)
    every = [*forward(batch, actor), *2 * forward(batch, critic),
             *2 * (forward(batch, critic) + weight_gradients(batch, critic) + input_gradients(batch, critic, 0))]
    return every, [*forward(batch, actor), *forward(batch, critic), *input_gradients(batch, critic, action),
                   *weight_gradients(batch, actor), *input_gradients(batch, actor, 0)]


def sac(batch: int, observation: int, action: int, hidden: Sequence[int]) -> list[Product]:
    """Products of every update of SAC, whose actor gives means and standard deviations."""
    actor, critic = (observation, *hidden, 2 * action), (observation + action, *hidden, 1)
    return [*forward(batch, actor), *2 * forward(batch, critic),
            *2 * (forward(batch, critic) + weight_gradients(batch, critic) + input_gradients(batch, critic, 0)),
            *forward(batch, actor), *2 * (forward(batch, critic) + input_gradients(batch, critic, action)),
            *weight_gradients(batch, actor), *input_gradients(batch, actor, 0)]


def forward(batch: int, sizes: Sequence[int]) -> list[Product]:
    """Of dense layers with these sizes, input and output included."""
    return [(batch, inputs, outputs) for inputs, outputs in pairwise(sizes)]


def weight_gradients(batch: int, sizes: Sequence[int]) -> list[Product]:
    """Of the gradients of the layers' kernels."""
    return [(inputs, batch, outputs) for inputs, outputs in pairwise(sizes)]


def input_gradients(batch: int, sizes: Sequence[int], wanted: int) -> list[Product]:
    """Of the gradients of the layers' inputs; of the first layer's, only so many columns are wanted."""
    return [(batch, outputs, inputs) for inputs, outputs in pairwise((wanted, *sizes[1:])) if inputs]
