"""Parameters of the viewer."""

from __future__ import annotations

from dataclasses import dataclass

from ant_rl_core.settings import Settings, setting
from ant_rl_core.viewers import VIEWERS

_LARGEST = 4096  # [pixels]


@dataclass(frozen=True)
class ViewerSettings(Settings):
    """Parameters of the viewer."""

    viewer: str = setting("none", "what shows the robot: rerun, mujoco, or none", choices=VIEWERS)
    viewer_path: str = setting("", "file (.rrd) for Rerun to write instead of opening its window; empty: a window",
                             path=True)
    view_rate: float = setting(20.0, "at most so many states are shown per second of the clock on the wall", unit="Hz",
                               minimum=1, maximum=50)
    give_way: bool = setting(True, "run only where a core is idle, so that nothing that is watched slows down; false "
                             "on a machine that something else keeps busy")
    render_hz: int = setting(0, "at most so many pictures per second on image, while somebody listens; 0: none",
                             unit="Hz", minimum=0)
    image_width: int = setting(640, "of the pictures", unit="pixels", minimum=16, maximum=_LARGEST)
    image_height: int = setting(480, "of the pictures", unit="pixels", minimum=16, maximum=_LARGEST)
