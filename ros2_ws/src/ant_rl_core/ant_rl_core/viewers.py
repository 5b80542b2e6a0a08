"""What the viewers ask of a machine, looked at before anything starts; imports none of them."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path

from ant_rl_core.settings import ArgumentError

VIEWERS = ("none", "rerun", "mujoco")
_DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY")


def check(viewer: str, viewer_path: str, environ: Mapping[str, str]) -> None:
    """ArgumentError, a sentence, where this choice can't be shown here.

    Args:
        viewer: one of `VIEWERS`.
        viewer_path: file to write instead of opening a window, for rerun only; empty: a window.
        environ: environment variables, which name the display.
    """
    if viewer_path and viewer != "rerun":
        raise ArgumentError(f"viewer_path needs viewer:=rerun, which writes it, found viewer:={viewer}")
    if viewer_path and Path(viewer_path).is_fifo():
        raise ArgumentError(f"viewer_path must be a file, found the pipe {viewer_path}")
    if viewer == "rerun":
        check_rerun("viewer:=rerun")
    if viewer == "none" or viewer_path or any(environ.get(name) for name in _DISPLAYS):
        return
    instead = "viewer_path:=run.rrd to look at it later" if viewer == "rerun" else "render_hz:=10 for the topic image"
    raise ArgumentError(f"viewer:={viewer} opens a window and needs a display, found neither DISPLAY nor "
                        f"WAYLAND_DISPLAY set: start it on a desktop, or use {instead}")


def check_rerun(wanted: str) -> None:
    """ArgumentError where the package is missing that `wanted`, an argument, needs."""
    if importlib.util.find_spec("rerun") is None:
        raise ArgumentError(f"{wanted} needs the package rerun-sdk, found none: ./run exec pip install -r "
                            "requirements/viewer.txt")
