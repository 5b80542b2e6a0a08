"""A policy that walks along x, and what else stands in front of it."""

from __future__ import annotations

import numpy as np

from ant_env_node.tasks import symmetry
from ant_rl_core.contracts import Actor
from ant_rl_core.step import Previous

_GAIT = np.pi / 4  # [rad] by which the shipped policy's torso is turned while it runs, about
_LEFT_ALONE = np.pi / 2  # [rad] off that: up to here the legs keep their names, so that they rarely change


class Expert:
    """A policy for the stock Ant, as a function of the observation.

    Args:
        actor: feed-forward.
    """

    def __init__(self, actor: Actor) -> None:
        self._actor = actor
        self.version = actor.version

    def __call__(self, observation: np.ndarray) -> np.ndarray:
        """What it does there, float32 [n, 8]."""
        n = len(observation)
        action, _, _ = self._actor.act(observation, Previous.none(n, 8), self._actor.initial_state(n),
                                       np.zeros(n, bool))
        return action

    def along(self, observation: np.ndarray, direction: np.ndarray,
              quarters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What it does to walk in another direction: it sees the world turned back, and legs under other names.

        Args:
            observation: float32 [n, 105].
            direction: to walk in [rad], [n].
            quarters: by which the legs were renamed before, int64 [n]; -1: not yet.

        Returns:
            The action, float32 [n, 8], and the quarters by which legs are renamed now.
        """
        off = _wrapped(symmetry.heading_of(observation) - direction)
        usual = np.where(quarters < 0, 0.0, _GAIT)  # at the start it stands, as the expert then does
        nearest = np.round((usual - off) / (np.pi / 2)).astype(np.int64) % symmetry.NUM_LEGS
        kept = (quarters >= 0) & (np.abs(_wrapped(off + quarters * np.pi / 2 - _GAIT)) < _LEFT_ALONE)
        quarters = np.where(kept, quarters, nearest)
        return self.under_other_names(observation, direction, quarters), quarters

    def under_other_names(self, observation: np.ndarray, direction: np.ndarray, quarters: np.ndarray,
                          mirrored: np.ndarray | None = None) -> np.ndarray:
        """What it does to walk in a direction, with legs renamed by quarters and, where `mirrored`, left for right.

        Args:
            observation: float32 [n, 105].
            direction: [rad], [n].
            quarters: int64 [n].
            mirrored: bool [n]; None: nowhere.

        Returns:
            The action for the legs under their own names, float32 [n, 8].
        """
        seen = symmetry.turn_world(symmetry.relabel(observation, quarters), -direction)
        if mirrored is None:
            return symmetry.relabel_action(self(seen), -quarters)
        swap = mirrored[:, None]
        action = self(np.where(swap, symmetry.mirror(seen), seen))
        return symmetry.relabel_action(np.where(swap, symmetry.mirror_action(action), action), -quarters)


def _wrapped(angle: np.ndarray) -> np.ndarray:
    return (angle + np.pi) % (2 * np.pi) - np.pi
