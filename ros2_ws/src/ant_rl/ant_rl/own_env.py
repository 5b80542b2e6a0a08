"""Tells the environment of this run from another one of its name, by the random numbers of their processes."""

from __future__ import annotations

from ant_rl_core.identity.sessions import SessionLock
from ant_rl_core.telemetry import Timing


class OwnEnvironment:
    """Hears what environments tell of themselves, and says whose a session is.

    The first one heard is this run's, and so is one that takes its place; one that is there beside it is not. Nodes of
    before told no numbers of theirs: all that they say is this run's.
    """

    def __init__(self) -> None:
        self._runs = SessionLock()
        self._sessions: dict[int, set[int]] = {}  # by the number of the process
        self._own: set[int] = set()
        self._others: set[int] = set()

    @property
    def contested(self) -> bool:
        """Whether another environment was there beside this run's."""
        return bool(self._others)

    def hears(self, timing: Timing) -> bool:
        """Take what an environment tells of itself; whether it is this run's."""
        if "run" not in timing.values:
            return True
        run = int(timing.values["run"])
        if "session" in timing.values:
            self._sessions.setdefault(run, set()).add(int(timing.values["session"]))
        own = self._runs.admit(run)
        if own:
            self._own.add(run)
        if self._runs.rival is not None:
            self._others.add(self._runs.rival)
            self._own -= self._others
        return own and run not in self._others

    def owns(self, session: int) -> bool:
        """Whether a session is of this run's environment."""
        if not self._others:
            return True
        return any(session in self._sessions.get(run, ()) for run in self._own)
