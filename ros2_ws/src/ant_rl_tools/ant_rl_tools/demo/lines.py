"""What a terminal shows of a demonstration: a block that is drawn in place, plain lines elsewhere, and the end."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ant_rl_core.spec import ANT
from ant_rl_tools.demo.show import Robot, Show

_HALF = 12  # [characters] of a bar, to each side
_COLUMN = 26


def block(show: Show, fill: str = "#") -> list[str]:
    """Both robots now, and the belief of the one that adapts beside the truth; bars are made of `fill`."""
    adaptive, _ = show.robots
    rows = [("", [f"{robot.name} ({robot.role})" for robot in show.robots]),
            ("speed [m/s]", [f"{robot.speed:.2f}" for robot in show.robots]),
            ("distance [m]", [f"{robot.distance:.1f}" for robot in show.robots]),
            ("return", [f"{robot.total:.0f}" for robot in show.robots]),
            ("falls", [str(robot.falls) for robot in show.robots])]
    lines = [f"demo {show.scene.preset}   seed {show.seed}   {show.time:.2f} s   {show.task.name}{_since(show)}",
             *(f"  {name:<14}" + "".join(f"{value:>{_COLUMN}}" for value in values) for name, values in rows)]
    if adaptive.belief is None:
        return lines
    right, truth = show.is_believed(adaptive), show.scene.truth(show.task)
    lines.append(f"  {'believes':<14}{'-1':<{_HALF}}0{'+1':>{_HALF}}   truth")
    lines += [f"  {part:<14}{bar(value, fill)}   {true:+5.2f}{'' if holds else '   not yet'}"
              for part, value, true, holds in zip(show.scene.parts, adaptive.belief, truth, right, strict=True)]
    return lines


def line(show: Show) -> str:
    """The same as one plain line."""
    told = [f"{robot.name} {robot.speed:.2f} m/s, return {robot.total:.0f}{_falls(robot)}{_believed(show, robot)}"
            for robot in show.robots]
    return f"{show.time:.2f} s, {show.task.name}: {'; '.join(told)}"


def summary(show: Show) -> list[str]:
    """How each of the two did, a line each."""
    width = max(len(robot.name) + len(robot.role) for robot in show.robots)
    return [f"{f'{robot.name} ({robot.role}):':<{width + 4}} return {robot.total:.0f}, {robot.distance:.1f} m in "
            f"{show.time:.2f} s{_falls(robot) or ', no fall'}{_learned(show, robot)}" for robot in show.robots]


def bar(value: float, fill: str = "#") -> str:
    """A number from -1 to 1 as a bar from the middle, which is a "|"; what is beyond is cut."""
    length = round(abs(float(np.clip(value, -1, 1))) * _HALF)
    left, right = (length, 0) if value < 0 else (0, length)
    return f"{fill * left:>{_HALF}}|{fill * right:<{_HALF}}"


def ticks_in_words(rightly: Sequence[int | None]) -> str:
    """When all was believed rightly in each of the tasks that were met."""
    words = [f"{_after(ticks)} the {when}" for ticks, when in zip(rightly, ("start", "change"), strict=False)]
    return "all believed rightly " + ", ".join(words)


def _after(ticks: int | None) -> str:
    if ticks is None:
        return "not at all after"
    return f"{ticks} tick{'s' * (ticks != 1)} ({ticks * ANT.control_period:.2f} s) after"


def _since(show: Show) -> str:
    if show.since:
        return f" since {show.since * ANT.control_period:.2f} s"
    left = (show.change_at - show.tick) * ANT.control_period
    return f", another one in {left:.2f} s" if show.change_at < show.ticks else ""


def _falls(robot: Robot) -> str:
    return f", fell {robot.falls} time{'s' * (robot.falls > 1)}" if robot.falls else ""


def _believed(show: Show, robot: Robot) -> str:
    right = show.is_believed(robot)
    return f", {int(right.sum())} of {right.size} believed rightly" if right.size else ""


def _learned(show: Show, robot: Robot) -> str:
    return "" if robot.belief is None else f"; {ticks_in_words(robot.rightly)}"
