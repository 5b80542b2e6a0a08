"""The chart of what was imagined beside what came."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from plotly.subplots import make_subplots

from ant_rl_tools.report.charts import BLACK, BLUE, RUN_COLORS, Chart, finish
from ant_rl_tools.report.imagining import Imagination

_GRAY = "#999999"
_HEIGHT = 420  # [px]


def chart(names: Sequence[str], found: Sequence[Imagination]) -> Chart:
    """Left the sums of rewards against each other, right the error of the state by step.

    Args:
        names: of the runs.
        found: of each.
    """
    several = len(found) > 1
    figure = make_subplots(rows=1, cols=2, horizontal_spacing=0.16)
    sums = np.concatenate([each for one in found for each in (one.came, one.imagined)])
    ends = [float(sums.min()), float(sums.max())]
    figure.add_scatter(x=ends, y=ends, name="imagined = came", mode="lines", row=1, col=1,
                       line={"color": BLACK, "width": 1, "dash": "dot"})
    for i, (name, one) in enumerate(zip(names, found, strict=True)):
        color, label = (RUN_COLORS[i], name) if several else (BLUE, "imagined by the model")
        figure.add_scatter(x=one.came, y=one.imagined, name=label, legendgroup=label, showlegend=False, mode="markers",
                           marker={"color": color, "size": 5, "opacity": 0.6}, row=1, col=1)
        k = np.arange(1, one.steps + 1)
        figure.add_scatter(x=k, y=one.learned.error, name=label, legendgroup=label, mode="lines+markers",
                           line={"color": color, "width": 1.3}, marker={"size": 5}, row=1, col=2)
        copied = f"{name}, copying the state" if several else "copying the state"
        figure.add_scatter(x=k, y=one.copied.error, name=copied, mode="lines+markers", row=1, col=2, marker={"size": 4},
                           line={"color": color if several else _GRAY, "width": 1.3, "dash": "dash"})
    finish(figure, _HEIGHT, "", True)
    steps = found[0].steps
    figure.update_xaxes(title_text=f"came: rewards over {steps} steps", row=1, col=1)
    figure.update_yaxes(title_text=f"imagined: rewards over {steps} steps", row=1, col=1)
    figure.update_xaxes(title_text="imagined steps", row=1, col=2)
    figure.update_yaxes(title_text="error [standard deviations]", rangemode="tozero", row=1, col=2)
    words = "; ".join((f"{name}: " if several else "") + one.sentence() for name, one in zip(names, found, strict=True))
    return Chart("imagined_beside", "Imagined beside what came", "The model imagined what comes of the recorded "
                 f"torques: {words}. The error by step is a median too.", figure)
