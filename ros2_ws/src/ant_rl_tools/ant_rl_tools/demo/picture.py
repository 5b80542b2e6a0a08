"""What a video shows of a demonstration: both robots side by side, with captions and with the belief as bars."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from ant_rl_core.spec import ANT
from ant_rl_tools.demo.show import Robot, Show
from ant_rl_tools.video.film import BACKGROUND, TEXT, captioned, font, side_by_side
from viewer_node.offscreen import Camera

BARS_HEIGHT = 120  # [pixels]
_MARGIN, _LABELS = 8, 22  # [pixels]
_FRESH = 1.5  # [s] for which a change is told
_RIGHT, _WRONG, _AXIS, _TRUTH = (70, 170, 90), (215, 120, 40), (90, 90, 90), (235, 235, 235)


def frame(show: Show, camera: Camera) -> np.ndarray:
    """Both robots now, uint8 [height, width, 3]."""
    return side_by_side([_panel(show, robot, camera) for robot in show.robots])


def bars(parts: Sequence[str], belief: np.ndarray, truth: np.ndarray, right: np.ndarray, width: int) -> np.ndarray:
    """A belief as bars up and down from a middle line, uint8 [BARS_HEIGHT, width, 3].

    Args:
        parts: what each number is about.
        belief, truth: float [k] in -1..1; the truth is a light line where the bar should end.
        right: bool [k]; the bar of a number that is right is green, others are orange.
        width: of the picture [pixels].
    """
    picture = Image.new("RGB", (width, BARS_HEIGHT), BACKGROUND)
    draw = ImageDraw.Draw(picture)
    middle = (BARS_HEIGHT - _LABELS) / 2
    scale, column = middle - _MARGIN, width / len(parts)
    for i, part in enumerate(parts):
        left, end = round(i * column + 0.2 * column), round((i + 1) * column - 0.2 * column)
        top, bottom = sorted((middle, middle - scale * float(np.clip(belief[i], -1, 1))))
        draw.rectangle((left, top, end, bottom), _RIGHT if right[i] else _WRONG)
        level = middle - scale * float(truth[i])
        draw.line((left - 3, level, end + 3, level), _TRUTH, 2)
        draw.text(((left + end) / 2, BARS_HEIGHT - _LABELS / 2), part, TEXT, font(12), anchor="mm")
    draw.line((0, middle, width, middle), _AXIS)
    return np.asarray(picture)


def caption(show: Show, robot: Robot) -> list[str]:
    """Whose robot it is, in which task, and how it does."""
    since = show.time - show.since * ANT.control_period
    changed = "   changed!" if show.since and since < _FRESH else ""
    return [f"{robot.role}: {robot.name}", f"{show.task.name}{changed}",
            f"{show.time:.2f} s   {robot.speed:.1f} m/s   return {robot.total:.0f}   falls {robot.falls}"]


def _panel(show: Show, robot: Robot, camera: Camera) -> np.ndarray:
    picture = captioned(robot.walker.picture(camera), caption(show, robot))
    return np.concatenate([picture, _below(show, robot, picture.shape[1])])


def _below(show: Show, robot: Robot, width: int) -> np.ndarray:
    if robot.belief is not None:
        return bars(show.scene.parts, robot.belief, show.scene.truth(show.task), show.is_believed(robot), width)
    picture = Image.new("RGB", (width, BARS_HEIGHT), BACKGROUND)
    ImageDraw.Draw(picture).text((width / 2, BARS_HEIGHT / 2), "believes nothing: it has no memory", TEXT, font(15),
                                 anchor="mm")
    return np.asarray(picture)
