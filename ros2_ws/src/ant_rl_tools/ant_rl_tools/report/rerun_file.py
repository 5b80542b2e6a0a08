"""The first robot of a recording in a file of Rerun, with what was imagined beside what came."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ant_env_node.vec_env import load_model
from ant_rl_core.spec import ANT
from ant_rl_tools.report.imagining import Beside
from viewer_node.mirror import Mirror
from viewer_node.rerun_view import PLOTS, RerunView

CAME, IMAGINED = (90, 160, 255), (255, 160, 0)  # colors
_SERIES = ("height", "reward")


def write(path: str, found: Sequence[Beside], simulated: np.ndarray, steps: int) -> None:
    """Write the file.

    Every so many steps as are imagined, two lines are drawn for as long: where the torso then came, and where it was
    imagined to. Series at each moment tell what came and what had been imagined of it, so many steps before.

    Args:
        path: of the file.
        found: stretches of the first robot, in their order.
        simulated: float64 [ticks], simulated time of each tick of the recording [s].
        steps: H, from each moment.

    Raises:
        OSError: it can't be written.
    """
    titles = (("height", "height of the torso [m]"), ("reward", f"reward over {steps} steps"))
    others = (plot for plot in PLOTS if plot[0] in ("torque", "contact"))
    view = RerunView(Mirror(load_model()), path, (*titles, *others))
    for name in _SERIES:
        view.color(f"{name}/came", CAME)
        view.color(f"{name}/imagined", IMAGINED)
    for each in found:
        _show(view, each, simulated, steps)
    view.close()


def _show(view: RerunView, found: Beside, simulated: np.ndarray, steps: int) -> None:
    """One stretch, but for its last state: at that tick the next one begins, or the recording ends."""
    stretch = found.stretch
    for i in range(len(stretch)):
        time, state = float(simulated[stretch.tick + i]), stretch.state[i]
        torques = stretch.action[i - 1] if i else np.zeros(ANT.action_size)
        view.mirror.put(np.concatenate([found.place[i, :2], state[:13]]), state[13:], torques)
        view.robot(time)
        if i % steps == 0:
            path = found.path[i] if i < len(found.path) else np.empty((0, 3))
            view.line(time, "imagined", path[np.isfinite(path).all(axis=1)], IMAGINED)
            view.line(time, "came", found.place[i:i + steps + 1], CAME)
        values = {"height/came": float(found.place[i, 2])}
        if i >= steps:
            before = i - steps
            values |= {"height/imagined": float(found.path[before, -1, 2]), "reward/came": float(found.came[before]),
                       "reward/imagined": float(found.reward[before])}
        view.figures(time, {name: value for name, value in values.items() if np.isfinite(value)})
