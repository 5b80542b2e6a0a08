"""What the robots' stepper asks of the node around it."""

from __future__ import annotations

from typing import Protocol


class Outside(Protocol):
    """What a stepper asks of the node around it. It is called from within the stepper's methods."""

    def resend(self) -> None:
        """Send the newest observation again, as it was sent."""

    def waiting(self, what: str, seconds: float) -> None:
        """Nobody has answered for so long [s]; told at every look. `what` begins a sentence that names the policy."""

    def answered(self, seconds: float) -> None:
        """Torques act again after so long [s] without, long enough to be told by `waiting` or not."""

    def resumed(self) -> None:
        """The newest observation is waited for anew: a session begins, or one that was paused goes on."""

    def rival(self, used: int | None, other: int) -> None:
        """A second policy node answers, whose torques are dropped; both by the random numbers of their runs."""

    def contested(self, other: int) -> None:
        """That one was no successor: both answered at the same time. Told at every look."""
