"""Line charts in panels below each other, from numpy arrays: what the charts of a report have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from ant_rl_tools.report.decimation import decimate

# Told apart by all kinds of color vision (Okabe and Ito); a node has its color throughout.
BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, BLACK = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
RUN_COLORS = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, BLACK)
NODE_COLORS = {"env": BLUE, "policy": VERMILLION, "trainer": GREEN, "monitor": PURPLE, "recorder": ORANGE,
                "status": SKY}
ROBOT_COLOR = "#444444"
POINTS = 4000  # of one line, at most about; longer ones keep the lowest and highest of each stretch

_PANEL_HEIGHT, _PANELS_HEIGHT, _MARGINS = 280, 130, 100  # [px] of one panel, of each of several, around them


@dataclass(frozen=True)
class Chart:
    """One chart of the page.

    Attributes:
        key: its id in the page.
        title, sentence: what one sees.
        figure: None where there is nothing to draw.
        absent: sentence that then stands for it.
    """

    key: str
    title: str
    sentence: str
    figure: go.Figure | None
    absent: str = ""


@dataclass(frozen=True)
class Line:
    """One line.

    Attributes:
        panel: title of the panel it is in.
        name: in the legend; lines of one name are one entry.
        color: as CSS has it.
        x, y: [n] each; NaN in y are gaps.
        dash: solid, dash or dot.
        shape: linear; hv for a value that holds until the next one; hvh for bins.
        mode: lines, markers or lines+markers.
    """

    panel: str
    name: str
    color: str
    x: np.ndarray
    y: np.ndarray
    dash: str = "solid"
    shape: str = "linear"
    mode: str = "lines"


def line_chart(lines: Sequence[Line], x_title: str, y_title: str, *, log_x: bool = False, log_y: bool = False,
               from_zero: bool = False, x_range: tuple[float, float] | None = None, points: int = POINTS,
               whole: int = 0) -> go.Figure | None:
    """The lines in their panels, which share the x axis; None where no line has a finite value.

    Args:
        lines: in the order in which the legend and the panels shall come.
        x_title, y_title: with units.
        log_x, log_y: logarithmic axes.
        from_zero: the y axes begin at 0 and reach at least 1.
        x_range: what is seen at first; all by default.
        points, whole: of each line, see `decimate`.
    """
    lines = [line for line in lines if np.isfinite(line.y).any()]
    if not lines:
        return None
    panels = list(dict.fromkeys(line.panel for line in lines))
    several = len(panels) > 1
    height = _MARGINS + (_PANELS_HEIGHT * len(panels) if several else _PANEL_HEIGHT)
    titles = [f"{panel}, {y_title}" if y_title else panel for panel in panels]
    figure = make_subplots(rows=len(panels), cols=1, shared_xaxes=True, vertical_spacing=24 / height,
                           subplot_titles=titles if several else None)
    shown: set[str] = set()
    for line in lines:
        x, y = decimate(line.x, line.y, points, whole)
        figure.add_scatter(
            x=x, y=y, name=line.name, legendgroup=line.name, showlegend=line.name not in shown,
            mode=line.mode, line={"color": line.color, "width": 1.3, "dash": line.dash, "shape": line.shape},
            marker={"color": line.color, "size": 5}, row=1 + panels.index(line.panel), col=1)
        shown.add(line.name)
    finish(figure, height, "" if several else y_title, len(shown) > 1)
    figure.update_xaxes(title_text=x_title, row=len(panels), col=1)
    if log_x:
        figure.update_xaxes(type="log")
    if log_y:
        figure.update_yaxes(type="log")
    if several:
        figure.update_yaxes(nticks=4)
    if from_zero:
        figure.update_yaxes(rangemode="tozero", autorangeoptions_include=1)
    if x_range is not None:
        figure.update_xaxes(range=x_range)
    return figure


def finish(figure: go.Figure, height: int, y_title: str, legend: bool) -> None:
    """What every figure has: size, fonts, grid, and the legend above."""
    figure.update_annotations(font_size=12, x=0, xanchor="left")  # titles of panels
    figure.update_layout(
        template="plotly_white", height=height, showlegend=legend, hovermode="closest", dragmode="zoom",
        margin={"l": 64, "r": 12, "t": 44, "b": 48}, font={"size": 12},
        legend={"orientation": "h", "x": 0, "xanchor": "left", "yref": "container", "y": 1, "yanchor": "top"})
    figure.update_yaxes(title_text=y_title, automargin=True)


def histogram(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Share of the values in each bin [%]; edges float64 [n + 1]; values beyond count in the outermost bins."""
    counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges)
    return 100.0 * counts / max(1, len(values))


def log_edges(values: Sequence[np.ndarray], per_decade: int = 20) -> np.ndarray:
    """Edges of bins that are even on a logarithmic axis and hold every positive value."""
    known = np.concatenate([array[np.isfinite(array) & (array > 0)] for array in values])
    if not len(known):
        return np.array([1.0, 10.0])
    first = np.floor(per_decade * np.log10(known.min()))
    last = np.floor(per_decade * np.log10(known.max())) + 1
    return 10 ** (np.arange(first, last + 1) / per_decade)
