"""Sessions of environments that run beside each other, told from those that follow each other."""

from __future__ import annotations

_PATIENCE = 20  # [ticks] of another session until the one that is followed counts as silent


class SessionLock:
    """Follows one session, so that two environments on one topic can't drive an actor or a learner by turns.

    A session that was not there before takes over at once: an environment was reset, or started anew. One that comes
    back after another took over was there beside it all the time, and it is followed from then on, until nothing but
    ticks of the other come. It goes by the order of the ticks alone, so the same ticks give the same choice again.

    Attributes:
        session: the one that is followed; None before the first.
        rival: another that was found to run beside it; None without one.
    """

    def __init__(self) -> None:
        self.session: int | None = None
        self.rival: int | None = None
        self._before: int | None = None
        self._rivals: set[int] = set()
        self._missed = 0

    def admit(self, session: int) -> bool:
        """Whether a tick of this session counts."""
        if session == self.session:
            self._missed = 0
            return True
        if session in self._rivals:
            self._missed += 1
            if self._missed < _PATIENCE:
                return False
            self._rivals.discard(session)
        if session == self._before and self.session is not None:
            self.rival = self.session
            self._rivals.add(self.session)
        self._before, self.session, self._missed = self.session, session, 0
        return True
