"""Parameters of the status node."""

from __future__ import annotations

from dataclasses import dataclass

from ant_rl_core.settings import Settings, setting

PERIODS = {"frames": 0.5, "lines": 5.0}  # [s] between two views


@dataclass(frozen=True)
class StatusSettings(Settings):
    """Parameters of the status node."""

    summary: str = setting("", "path for the summary as JSON, written at the end; empty: none", path=True)
    style: str = setting("lines", "how the run is shown: lines of text, or frames that a console draws in place",
                         choices=tuple(PERIODS))
    arguments: tuple[str, ...] = setting(("",), "launch arguments of the run (name:=value), for the summary")
