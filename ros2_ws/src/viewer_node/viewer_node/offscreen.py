"""Pictures of a robot without a display, by EGL."""

from __future__ import annotations

from typing import Any

import mujoco
import numpy as np

from viewer_node.mirror import endless_floor
from viewer_node.paint import add_ball

DISTANCE, AZIMUTH, ELEVATION = 5.0, 120.0, -18.0  # of the camera from the robot [m], [deg], [deg]
_MAX_GEOMS = 1000
_SHADOW_SIZE = 1024  # [pixels]: looks like the model's 4096 and, without a graphics card, takes half the time


class OffscreenError(ValueError):
    """This machine can't draw without a display; the text says what to do."""


class Camera:
    """Draws a robot from a camera that goes along with it. One at a time; use and close it in the thread that made it.

    The context is MuJoCo's for EGL, whatever the variable MUJOCO_GL says: mujoco.Renderer has the one that was chosen
    when mujoco was imported first.

    Args:
        model: the robot's model, not that of a simulation: what is for drawing in it is changed.
        width, height: of the pictures [pixels].
        body: id of the body that stays in the middle.

    Attributes:
        model: the same; its colors may change.

    Raises:
        OffscreenError: no EGL here that draws without a display.
    """

    def __init__(self, model: mujoco.MjModel, width: int, height: int, body: int) -> None:
        room = model.vis.global_
        room.offwidth, room.offheight = max(width, room.offwidth), max(height, room.offheight)
        endless_floor(model)
        model.vis.quality.shadowsize = _SHADOW_SIZE
        self.model, self._context = model, _context(width, height)
        self._context.make_current()
        self._drawing = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100.value)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, self._drawing)
        self._scene = mujoco.MjvScene(model, _MAX_GEOMS)
        self._option = mujoco.MjvOption()
        self._view = mujoco.MjvCamera()
        self._view.type, self._view.trackbodyid = mujoco.mjtCamera.mjCAMERA_TRACKING, body
        self._view.distance, self._view.azimuth, self._view.elevation = DISTANCE, AZIMUTH, ELEVATION
        self._rectangle = mujoco.MjrRect(0, 0, width, height)
        self._upside_down = np.zeros((height, width, 3), np.uint8)

    def picture(self, data: mujoco.MjData, ball: np.ndarray | None = None) -> np.ndarray:
        """The robot as `data` has it, uint8 [height, width, 3], red, green, blue; with a ball in the world [2] [m]."""
        self._context.make_current()
        mujoco.mjv_updateScene(self.model, data, self._option, None, self._view, mujoco.mjtCatBit.mjCAT_ALL.value,
                               self._scene)
        if ball is not None:
            add_ball(self._scene, ball)
        for light in self._scene.lights[:self._scene.nlight]:  # shadows are drawn around a light only
            light.pos[:2] = data.xpos[self._view.trackbodyid, :2]
        mujoco.mjr_render(self._rectangle, self._scene, self._drawing)
        mujoco.mjr_readPixels(self._upside_down, None, self._rectangle, self._drawing)
        return self._upside_down[::-1].copy()

    def close(self) -> None:
        """Give back what the graphics driver holds."""
        self._context.make_current()
        self._drawing.free()
        self._context.free()


def _context(width: int, height: int) -> Any:
    """A context of EGL; the libraries in between tell in many ways that there is none."""
    try:
        from mujoco.egl import GLContext
        return GLContext(width, height)
    except (ImportError, AttributeError, OSError, RuntimeError) as error:
        raise OffscreenError("pictures need EGL, which draws without a display, and found none that works "
                             f"({' '.join(str(error).split())}); install it, such as by apt install libegl1 "
                             "libgl1-mesa-dri") from error
