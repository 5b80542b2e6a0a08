"""What may be drawn in place: a terminal that can, unless it is to be quiet."""

import io
import os
import pty

import pytest
from ant_rl_core import terminal


@pytest.mark.parametrize("name, can", [("xterm", True), ("dumb", False), (None, False)])
def test_only_a_terminal_that_can_is_drawn_on(monkeypatch, name, can):
    monkeypatch.delenv("TERM", raising=False)
    if name is not None:
        monkeypatch.setenv("TERM", name)
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "rb", 0), os.fdopen(theirs, "w") as stream:
        assert terminal.can_redraw(stream) == can
        terminal.be_quiet()
        assert not terminal.can_redraw(stream)
    assert not terminal.can_redraw(io.StringIO())
