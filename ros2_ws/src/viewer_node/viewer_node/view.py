"""What shows the robot to people, and which of them a viewer's setting means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from viewer_node.mirror import Mirror


class View(Protocol):
    """What shows the robot, as `RerunView` and `Window` do."""

    @property
    def is_open(self) -> bool: ...

    def robot(self, time: float) -> None: ...
    def task(self, name: str) -> None: ...
    def figures(self, time: float, values: Mapping[str, float]) -> None: ...
    def close(self) -> None: ...


def open_view(viewer: str, path: str, mirror: Mirror) -> View | None:
    """Open a view of the robot.

    Args:
        viewer: one of `ant_rl_core.viewers.VIEWERS`; see `check` there, which comes first.
        path: file that Rerun writes instead of opening its window; empty: the window.
        mirror: the robot.

    Returns:
        None where nothing is to be shown.
    """
    if viewer == "rerun":
        from viewer_node.rerun_view import RerunView
        return RerunView(mirror, path)
    if viewer == "mujoco":
        from viewer_node.window import Window
        return Window(mirror)
    return None
