"""Which torques may act: answers from one policy, and not too old. Pure logic without a clock of its own."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Answer = TypeVar("Answer")


@dataclass
class PolicyLock:
    """Listens to one policy node at a time, so that two of them can't steer one robot by turns.

    Attributes:
        silence: seconds after which a silent policy loses the lock to another one [s].
        owner: random number of the run of the policy node that holds the lock; None before the first answer.
        rival: another one that was heard meanwhile; None without one.
        beside: one that was there beside the owner, which was heard before and after it; None without one. A policy
            node that is started anew makes none.
    """

    silence: float
    owner: int | None = None
    rival: int | None = None
    beside: int | None = None
    _heard: float = field(default=0.0, repr=False)
    _former: set[int] = field(default_factory=set, repr=False)

    def admit(self, policy_node: int, now: float) -> bool:
        """Whether an answer of this policy node, heard at time `now` [s], may count."""
        if policy_node != self.owner:
            if self.owner is not None and now - self._heard < self.silence:
                self.rival = policy_node
                return False
            if policy_node in self._former:
                self.beside = self.owner
            if self.owner is not None:
                self._former.add(self.owner)
            self.owner = policy_node
            self.rival = None
        elif self.rival is not None:
            self.beside = self.rival
        self._heard = now
        return True


@dataclass
class TorqueWatchdog(Generic[Answer]):
    """Real time: the newest torque counts until the observation that it answers is older than `timeout`.

    Attributes:
        timeout: greatest age of the answered observation [s].
    """

    timeout: float
    _sent: OrderedDict[int, float] = field(default_factory=OrderedDict, repr=False)
    _answered: int = field(default=-1, repr=False)
    _answer: Answer | None = field(default=None, repr=False)

    def sent(self, step_id: int, now: float) -> None:
        """An observation went out at time `now` [s]."""
        self._sent[step_id] = now
        while len(self._sent) > 2 and now - next(iter(self._sent.values())) > max(2 * self.timeout, 1.0):
            self._sent.popitem(last=False)

    def received(self, step_id: int, answer: Answer) -> bool:
        """Take an answer; False where it is stale: older than the newest one, or to an observation long forgotten."""
        if step_id <= self._answered or step_id not in self._sent:
            return False
        self._answered, self._answer = step_id, answer
        return True

    @property
    def heard(self) -> bool:
        """Whether there was any answer yet."""
        return self._answer is not None

    def answers(self, step_id: int) -> bool:
        """Whether the newest answer is to this tick."""
        return self._answered == step_id

    def current(self, now: float) -> Answer | None:
        """The answer to act on at time `now` [s]; None where it is missing or too old: the torque must be zero."""
        sent = self._sent.get(self._answered)
        if sent is None or now - sent > self.timeout:
            return None
        return self._answer
