"""What a model learns from, and what it is judged on: transitions as rows, and stretches of them without a gap."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from ant_rl_core.step import Transition, unshaped_reward
from trainer.models import kinematics


@dataclass(frozen=True)
class Rows:
    """m transitions in no order.

    Attributes:
        state, next_state: float32 [m, 27], see `kinematics`.
        action: float32 [m, 8], as applied.
        displacement: float32 [m, 2], of the torso in the step, along x and y [m].
        contact: float32 [m], sum of the squared clipped contact forces after the step.
        reward: float32 [m], default reward.
    """

    state: np.ndarray
    action: np.ndarray
    next_state: np.ndarray
    displacement: np.ndarray
    contact: np.ndarray
    reward: np.ndarray

    def __len__(self) -> int:
        return len(self.state)

    def outcome(self) -> np.ndarray:
        """What a model of the environment predicts, float32 [m, 30]: change of the state, displacement, contact."""
        return np.concatenate([self.next_state - self.state, self.displacement, self.contact[:, None]], axis=1)

    @classmethod
    def of(cls, batch: Transition) -> Rows:
        """Of one tick of n robots; what the torso moved is told by the reward, see `kinematics.displacement_of`."""
        reward = unshaped_reward(batch)
        return cls(kinematics.state_of(batch.observation), batch.action, kinematics.state_of(batch.next_observation),
                   kinematics.displacement_of(reward, batch.action, batch.observation, batch.next_observation,
                                              batch.task),
                   kinematics.contact_of(batch.next_observation), reward)

    @classmethod
    def joined(cls, parts: Sequence[Rows]) -> Rows:
        """Several, one after the other."""
        return cls(*(np.concatenate([getattr(part, each.name) for part in parts]) for each in fields(cls)))


@dataclass(frozen=True)
class Stretch:
    """What one robot did in T steps of one episode, none missing.

    Attributes:
        observation: float32 [T + 1, 105].
        action: float32 [T, 8].
        reward: float32 [T], default reward.
        displacement: float32 [T, 2], as of `Rows`.
        row: which of the robots.
        tick: with which of the ticks that it was found in it begins, from 0.
    """

    observation: np.ndarray
    action: np.ndarray
    reward: np.ndarray
    displacement: np.ndarray
    row: int = 0
    tick: int = 0

    def __len__(self) -> int:
        return len(self.action)

    @property
    def state(self) -> np.ndarray:
        """float32 [T + 1, 27]."""
        return kinematics.state_of(self.observation)

    def rows(self) -> Rows:
        """The same without their order."""
        return Rows(self.state[:-1], self.action, self.state[1:], self.displacement,
                    kinematics.contact_of(self.observation[1:]), self.reward)

    def pieces(self, length: int) -> Iterator[Stretch]:
        """The same in pieces of at most `length` steps."""
        for first in range(0, len(self), length):
            yield self.part(first, length)

    def part(self, first: int, length: int) -> Stretch:
        """At most `length` of its steps, from this one on."""
        steps = slice(first, first + length)
        return replace(self, observation=self.observation[first:first + length + 1], action=self.action[steps],
                       reward=self.reward[steps], displacement=self.displacement[steps], tick=self.tick + first)


def stretches(transitions: Sequence[Transition]) -> list[Stretch]:
    """The stretches in consecutive ticks of the same n robots; they end where episodes do, and where ticks are missing.

    That ticks are missing shows by an observation that is not what the transition before led to.
    """
    found = []
    for row in range(len(transitions[0].action) if transitions else 0):
        first = 0
        for last, (made, following) in enumerate(zip(transitions, [*transitions[1:], None], strict=True), 1):
            if following is not None and not (made.terminated[row] | made.truncated[row]) and np.array_equal(
                    made.next_observation[row], following.observation[row]):
                continue
            part = transitions[first:last]
            observation = np.stack([*(each.observation[row] for each in part), made.next_observation[row]])
            action = np.stack([each.action[row] for each in part])
            reward = np.stack([unshaped_reward(each)[row] for each in part])
            found.append(Stretch(observation, action, reward, kinematics.displacement_of(
                reward, action, observation[:-1], observation[1:]), row, first))
            first = last
    return found
