"""The three contracts that environment, policy and learner are written against."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from ant_rl_core.step import Previous, TimeStep, Transition


class VectorEnv(Protocol):
    """n robots stepped together; finished episodes are reset at once (see `TimeStep`)."""

    num_envs: int
    observation_size: int
    action_size: int

    def reset(self, seed: int | None = None) -> TimeStep:
        """Start new episodes in all rows; row i is seeded with seed + i when a seed is given."""

    def step(self, action: np.ndarray) -> TimeStep:
        """Apply float32 [n, action_size] in [-1, 1] for one control period."""

    def save(self) -> dict[str, np.ndarray]:
        """State as named arrays, from which `restore` goes on bit for bit."""

    def restore(self, saved: Mapping[str, np.ndarray]) -> TimeStep:
        """Go on from what `save` gave; returns the time step at which that was, without the transition to it."""

    def close(self) -> None:
        """Release threads and memory; nothing else may be called afterwards."""


class Actor(Protocol):
    """Chooses actions. Feed-forward actors take and return an empty state."""

    version: int

    def initial_state(self, num_envs: int) -> Any:
        """Recurrent state of n rows at the start of a trial; () for feed-forward actors."""

    def act(self, observation: np.ndarray, previous: Previous, state: Any,
            reset_mask: np.ndarray) -> tuple[np.ndarray, Mapping[str, np.ndarray], Any]:
        """Return (action, extras, state) for float32 [n, observation_size] observations.

        `reset_mask` (bool [n]) marks the rows in which the actor starts anew: neither its state there nor `previous`
        counts, since both are of another trial (`TimeStep.trial_first`). An actor whose memory is to last for an
        episode only starts anew where `previous.done` says that one ended, too. The action is float32
        [n, action_size] in [-1, 1]. `extras` holds log_prob (float32 [n]) where the actor explores, and value
        (float32 [n]) where it has a critic. What it is given is not written to.
        """


class Learner(Actor, Protocol):
    """Turns transitions into better policies; `version` grows with each of them. As an actor it explores.

    What is learned depends on the transitions alone: `act` draws from random numbers of its own.

    Attributes:
        name: of the method.
        num_envs: rows of a transition.
        on_policy: it learns from what its present policy did and from nothing else, so collection waits while it
            learns; other learners take what any policy did, and learn while the next step is made.
        version: of the present policy.
    """

    name: str
    num_envs: int
    on_policy: bool

    @property
    def env_steps(self) -> int:
        """Transitions observed."""

    def observe(self, batch: Transition) -> None:
        """Take one transition per row; consecutive calls are consecutive ticks."""

    def ready(self) -> bool:
        """Whether enough was observed for `update`."""

    def update(self) -> dict[str, float]:
        """Do one bounded piece of learning: a rollout's, or the gradient steps owed for a tick; figures by name."""

    def policy(self, provenance: Mapping[str, Any] | None = None) -> bytes:
        """The current policy as the bytes of a bundle; `provenance` says further where it came from.

        A learner with a memory goes on with it from version to version, so its manifest names a `memory_id`: otherwise
        a policy node would begin anew at each swap, and see another robot than the learner does.
        """

    def renumber(self, version: int) -> None:
        """Let the present policy have this version; those to come go on from it."""

    def weights(self) -> dict[str, np.ndarray]:
        """The variables of networks and optimizers as named arrays: what NaN and infinity are looked for in."""

    def save(self) -> dict[str, np.ndarray]:
        """Everything that an unbroken continuation needs, as named arrays."""

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Continue from what `save` returned."""
