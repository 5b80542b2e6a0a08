"""MuJoCo's own viewer as a window onto a robot that is simulated elsewhere."""

from __future__ import annotations

import threading
from collections.abc import Mapping

import glfw
import mujoco
import mujoco.viewer

from viewer_node.mirror import Mirror, endless_floor
from viewer_node.offscreen import AZIMUTH, DISTANCE, ELEVATION
from viewer_node.paint import add_ball

_PATIENCE = 5.0  # [s]


class Window:
    """Opens the viewer on what a mirror holds.

    Args:
        mirror: the robot, brought up to date before each `robot`.

    Raises:
        OSError: no window can be opened on this display.
    """

    def __init__(self, mirror: Mirror) -> None:
        # Without this the viewer's own thread would die of it, and its starter wait for ever.
        if not glfw.init():
            raise OSError("no window can be opened: see that DISPLAY names a display that this user may use")
        self._mirror = mirror
        self._data = mujoco.MjData(mirror.model)  # the viewer's thread reads it
        endless_floor(mirror.model)
        before = set(threading.enumerate())
        self._handle = mujoco.viewer.launch_passive(mirror.model, self._data, show_left_ui=False, show_right_ui=False)
        self._threads = set(threading.enumerate()) - before
        with self._handle.lock():
            camera = self._handle.cam
            camera.type, camera.trackbodyid = mujoco.mjtCamera.mjCAMERA_TRACKING, mirror.base
            camera.distance, camera.azimuth, camera.elevation = DISTANCE, AZIMUTH, ELEVATION
            self._handle.opt.flags[mujoco.mjtVisFlag.mjVIS_CONTACTFORCE] = 1

    @property
    def is_open(self) -> bool:
        """Whether nobody has closed it."""
        return self._handle.is_running()

    def robot(self, time: float) -> None:
        """Show the mirror's state."""
        with self._handle.lock():
            mujoco.mj_copyData(self._data, self._mirror.model, self._mirror.data)
            self._handle.user_scn.ngeom = 0
            if self._mirror.ball is not None:
                add_ball(self._handle.user_scn, self._mirror.ball)
        self._handle.sync()

    def task(self, name: str) -> None:
        """The mirror's colors tell of it."""

    def figures(self, time: float, values: Mapping[str, float]) -> None:
        """MuJoCo's viewer draws none."""

    def close(self) -> None:
        """Close the window, and wait until it is: it draws in a thread of its own, below which GLFW must not end."""
        self._handle.close()
        for thread in self._threads:
            thread.join(_PATIENCE)
