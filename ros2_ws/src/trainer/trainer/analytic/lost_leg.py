"""Which leg is lost, told by what the joints do, and how to walk on without it: for tasks such as `lost_leg`."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ant_env_node.tasks import symmetry
from ant_env_node.tasks.presets import leg_actuators
from ant_rl_core.step import Previous
from trainer.analytic.expert import Expert
from trainer.analytic.signs import place_of, velocities_of

SPARE = 1  # the leg that the shipped policy can do without: 6,400 in 1,000 steps; without 0, 2 or 3: -600, 700, 1,400
TURN = 0.06  # [rad] per tick, back to the direction after a quarter: it rarely stumbles
_AT_THE_STOP = 1.0  # [rad/s] of a change of velocity, as much as which it tells that a joint lies at its stop
_KEPT = 0.9  # of what was told, from tick to tick, as the task may change
_ALIVE = 1.3  # [rad/s] of a full torque: what two live motors give is more in 99 of 100 ticks
_DOUBT = 0.3  # squares of torques that count as sent in vain
_LEGS = np.array([leg_actuators(leg) for leg in range(symmetry.NUM_LEGS)])

LimpState = tuple[np.ndarray, np.ndarray, np.ndarray]
State = tuple[np.ndarray, ...]


class Limp:
    """Walks without a leg: legs get other names, under which the lost one is the one that the expert can do without.

    That may be a quarter turn; then the robot turns back by and by.

    Args:
        expert: walks along x, and does so without its leg `SPARE`.
    """

    def __init__(self, expert: Expert) -> None:
        self._expert = expert

    def initial_state(self, num_envs: int) -> LimpState:
        """By how many quarters legs are renamed, whether left and right are exchanged, and by how much the robot walks
        beside its direction [rad], each [n].
        """
        return np.zeros(num_envs, np.int64), np.zeros(num_envs, bool), np.zeros(num_envs)

    def act(self, observation: np.ndarray, lost: np.ndarray, direction: np.ndarray,
            state: LimpState) -> tuple[np.ndarray, LimpState]:
        """What to do.

        Args:
            observation: float32 [n, 105].
            lost: leg that is lost, -1 where none is, [n].
            direction: to walk in [rad], [n].
            state: as of `initial_state`.

        Returns:
            The action, float32 [n, 8], and the state after.
        """
        quarters, mirrored, aside = state
        turn, mirrored = symmetry.names_for(lost, SPARE, quarters, mirrored)
        quarters = (quarters + turn) % symmetry.NUM_LEGS
        aside = np.angle(np.exp(1j * (aside + turn * np.pi / 2)))
        aside = np.sign(aside) * np.maximum(np.abs(aside) - TURN, 0.0)
        action = self._expert.under_other_names(observation, direction + aside, quarters, mirrored)
        return action, (quarters, mirrored, aside)


class LegFilter:
    """Walks without the leg that seems to be lost; see `contracts.Actor`.

    A leg seems lost whose joints went, over the last ticks, least far for the torques that were sent to them, and
    nearly nowhere.

    Args:
        expert: as of `Limp`.
    """

    def __init__(self, expert: Expert) -> None:
        self._limp = Limp(expert)
        self.version = expert.version

    def initial_state(self, num_envs: int) -> State:
        """Joint velocities before, how far the joints went along the torques, and the torques' squares, [n, 8] each;
        and that of `Limp`.
        """
        none = np.zeros((num_envs, 8))
        return none, none, none, *self._limp.initial_state(num_envs)

    def act(self, observation: np.ndarray, previous: Previous, state: State,
            reset_mask: np.ndarray) -> tuple[np.ndarray, Mapping[str, np.ndarray], State]:
        """As `contracts.Actor.act`; `extras` is empty."""
        before, went, sent, *limp = state
        velocity = velocities_of(observation)
        told = ~(reset_mask | previous.done)[:, None]  # what follows an episode's end is of no action
        driven = velocity - before + _AT_THE_STOP * place_of(observation)
        kept = _KEPT * ~reset_mask[:, None]
        went = kept * went + told * previous.action * driven
        sent = kept * sent + told * np.square(previous.action)
        strength = went[:, _LEGS].sum(axis=2) / (sent[:, _LEGS].sum(axis=2) + _DOUBT)
        lost = np.where(told[:, 0] & (strength.min(axis=1) < _ALIVE), strength.argmin(axis=1), -1)
        limp = [np.where(told[:, 0], here, fresh) for here, fresh in zip(
            limp, self._limp.initial_state(len(observation)), strict=True)]
        action, (quarters, mirrored, aside) = self._limp.act(observation, lost, np.zeros(len(observation)), (
            limp[0], limp[1], limp[2]))
        return action, {}, (velocity, went, sent, quarters, mirrored, aside)
