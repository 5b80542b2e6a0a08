"""Actors whose memory is taken from them: what is left of a return then did not come of what was remembered."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ant_rl_core.contracts import Actor
from ant_rl_core.step import Previous


class Controlled:
    """An actor that is given another memory at each tick than the one that it had; see `contracts.Actor`.

    Args:
        actor: recurrent or told what happened before.
        change: from what happened before and the memory to those that it is given instead.
    """

    def __init__(self, actor: Actor, change: Callable[[Previous, Any], tuple[Previous, Any]]) -> None:
        self._actor, self._change = actor, change
        self.version = actor.version

    def initial_state(self, num_envs: int) -> Any:
        """As the actor inside."""
        return self._actor.initial_state(num_envs)

    def act(self, observation: np.ndarray, previous: Previous, state: Any,
            reset_mask: np.ndarray) -> tuple[np.ndarray, Mapping[str, np.ndarray], Any]:
        """As the actor inside, with what it is given instead."""
        previous, state = self._change(previous, state)
        return self._actor.act(observation, previous, state, reset_mask)


def forgetful(actor: Actor) -> Controlled:
    """Memory is zeros at every tick; what happened just before, it is told."""
    return Controlled(actor, lambda previous, state: (previous, tuple(np.zeros_like(array) for array in state)))


def shuffled(actor: Actor, seed: int) -> Controlled:
    """At every tick each robot has the memory of another one, drawn anew, and is told what happened to itself.

    At least two robots are needed.
    """
    rng = np.random.default_rng(seed)

    def change(previous: Previous, state: Any) -> tuple[Previous, Any]:
        count = len(previous.reward)
        others = _derangement(rng, count)
        return previous, tuple(array[others] for array in state)
    return Controlled(actor, change)


def uninformed(actor: Actor) -> Controlled:
    """Action and reward before are zeros at every tick; memory and the ends of episodes stay."""
    return Controlled(actor, lambda previous, state: (
        Previous(np.zeros_like(previous.action), np.zeros_like(previous.reward), previous.done), state))


def _derangement(rng: np.random.Generator, count: int) -> np.ndarray:
    """A permutation that leaves nothing in its place."""
    order = rng.permutation(count)
    places = np.empty(count, np.int64)
    places[order] = np.roll(order, 1)
    return places
