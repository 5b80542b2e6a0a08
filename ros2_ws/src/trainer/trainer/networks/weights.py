"""Weights as named arrays, and one set of weights following another."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf


def pack(prefix: str, variables: Iterable[keras.Variable]) -> dict[str, np.ndarray]:
    """The variables as arrays with the names prefix0, prefix1, …"""
    return {f"{prefix}{i}": variable.numpy() for i, variable in enumerate(variables)}


def check(prefix: str, variables: Sequence[keras.Variable], state: Mapping[str, np.ndarray]) -> None:
    """ValueError where what `pack` gave was of networks of other sizes than these variables'."""
    names = [f"{prefix}{i}" for i in range(len(variables))]
    found = [np.shape(state[name]) for name in state if name[:len(prefix)] == prefix and name[len(prefix):].isdigit()]
    if len(found) != len(names) or any(np.shape(state[name]) != tuple(variable.shape)
                                       for name, variable in zip(names, variables, strict=True)):
        raise ValueError("the checkpoint is of other networks than these settings give: set the sizes of the hidden "
                         "layers to what it was made with")


def unpack(prefix: str, variables: Sequence[keras.Variable], state: Mapping[str, np.ndarray]) -> None:
    """Put back what `pack` gave; ValueError, and nothing changed, if it was of networks of other sizes."""
    check(prefix, variables, state)
    for i, variable in enumerate(variables):
        variable.assign(state[f"{prefix}{i}"])


def of_optimizer(optimizer: keras.optimizers.Optimizer) -> list[keras.Variable]:
    """What an optimizer learned; not its learning rate, which is a setting."""
    return [variable for variable in optimizer.variables if variable is not optimizer.learning_rate]


def copy(source: keras.Model, target: keras.Model) -> None:
    """Give `target` the weights of `source`, a network of the same sizes."""
    target.set_weights(source.get_weights())


def follow(targets: Iterable[keras.Variable], sources: Iterable[keras.Variable], share: float) -> None:
    """Move each target this share of the way to its source (Polyak averaging), inside a compiled function."""
    for target, source in zip(targets, sources, strict=True):
        target.assign(target + share * (tf.convert_to_tensor(source) - target))
