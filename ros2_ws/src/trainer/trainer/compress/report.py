"""The report on all variants of an actor: as a table, as Markdown, as plain data and as a picture."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from trainer.compress.measure import Speed
from trainer.look import own_look

_ON_A_TERMINAL = ("variant", "file", "return", "falls", "p50 / p99", "at full speed / 20 Hz", "RSS / USS")


@dataclass(frozen=True)
class Row:
    """What was found about one variant, or about one way to run the actor as it is.

    Attributes:
        name: of the variant.
        file_bytes, deflated_bytes: of its .tflite file, and of that when compressed.
        weights, zeros: entries of its matrices, and how many of them are zero.
        returns: of each episode, undiscounted.
        falls: how many episodes ended in a fall.
        mean_action_difference, max_action_difference: distance of its actions from those of the actor that it stands
            for, at states that the latter visits; torques are in [-1, 1].
        speed, limited: on this machine as it is, and under the limits of the Pi.
        reason: why it could not be made; else empty.
    """

    name: str
    file_bytes: int | None = None
    deflated_bytes: int | None = None
    weights: int | None = None
    zeros: int | None = None
    returns: Sequence[float] = ()
    falls: int = 0
    mean_action_difference: float | None = None
    max_action_difference: float | None = None
    speed: Speed | None = None
    limited: Speed | None = None
    reason: str = ""

    @property
    def mean_return(self) -> float:
        """Mean of the returns, NaN without any."""
        return float(np.mean(self.returns)) if self.returns else np.nan

    @property
    def std_return(self) -> float:
        """Their standard deviation."""
        return float(np.std(self.returns)) if self.returns else np.nan


@dataclass(frozen=True)
class Report:
    """All that was found.

    Attributes:
        command: what was typed.
        code_version: commit that made the variants.
        config: settings.
        machine: what figures were measured on, see `ant_rl_core.machine`.
        rows: the float actor's first among those with returns.
    """

    command: str
    code_version: str
    config: Mapping[str, Any]
    machine: Mapping[str, Any]
    rows: Sequence[Row]

    @property
    def float_return(self) -> float:
        """Mean return of the actor as it was learned."""
        return next(row.mean_return for row in self.rows if row.returns)


def plain(found: Report) -> dict[str, Any]:
    """The report as plain data, for JSON."""
    rows = [{**asdict(row), "mean_return": row.mean_return if row.returns else None,
             "std_return": row.std_return if row.returns else None,
             "share_of_float_return": row.mean_return / found.float_return if row.returns else None}
            for row in found.rows]
    return {**asdict(found), "rows": rows}


def table(found: Report) -> str:
    """The most telling columns of every row, for a terminal; below them the reasons for what is missing."""
    headings, cells = _cells(found)
    shown = [[cell for heading, cell in zip(headings, row, strict=True) if heading in _ON_A_TERMINAL]
             for row in [headings, *cells]]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in shown]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:], *_reasons(found)])


def markdown(found: Report) -> str:
    """The report as a page of Markdown, which shows report.png."""
    headings, cells = _cells(found)
    limited = next((row.limited.under for row in found.rows if row.limited), "not measured")
    rows = ["| " + " | ".join(row) + " |" for row in [headings, ["---"] * len(headings), *cells]]
    machine = found.machine
    return "\n".join([
        "# Variants of a policy", "", "![Return against file size and processor time](report.png)", "", *rows, "",
        f"Returns: mean ± standard deviation of {found.config['episodes']} deterministic episodes of Ant-v5 from seed "
        f"{found.config['evaluation_seed']} on, and in brackets their share of the float actor's. Distance: mean and "
        "largest difference from the float actor's actions, which are in [-1, 1]. Times are of one decision for one "
        "robot, medians of three processes: p50 and p99 at full speed, processor time of all threads, the latter as a "
        "share of a core at full speed and at 20 Hz.", "",
        f"Under the limits of the Pi: {limited}. There, a decision either runs at the core's full speed or is held up, "
        "so the mean tells what p50 hides. Memory is limited as the kernel counts it, without pages of libraries that "
        "are loaded already; RSS has them.", "",
        *_reasons(found), *([""] if _reasons(found) else []),
        f"Made by `{found.command}`, code version `{found.code_version}`, on {machine['cpu']} ({machine['cores']} "
        f"cores, load average at the end {machine['load_average']:.1f}), Python {machine['python']}, "
        + ", ".join(f"{name} {version}" for name, version in machine["versions"].items()) + ".", ""])


@own_look()
def picture(found: Report) -> bytes:
    """Return over file size and over processor time of a decision, as PNG."""
    # Takes a second to import and is needed once, at the end.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.2), layout="constrained")
    size_axes, time_axes = figure.subplots(1, 2, sharey=True)
    for i, row in enumerate(row for row in found.rows if row.returns):
        assert row.file_bytes is not None  # of what was played
        style = {"fmt": "o^sDvPX*"[i % 8], "color": f"C{i % 10}", "label": row.name, "capsize": 2, "markersize": 6}
        error = row.std_return / len(row.returns) ** 0.5
        size_axes.errorbar(row.file_bytes / 1e3, row.mean_return, error, **style)
        if row.speed and row.speed.figures:
            time_axes.errorbar(row.speed.figures.cpu_us, row.mean_return, error, **style)
    for row in found.rows:
        if not row.returns and row.speed and row.speed.figures:
            time_axes.axvline(row.speed.figures.cpu_us, color="gray", linestyle=":")
            time_axes.annotate(row.name, (row.speed.figures.cpu_us, 0.02), xycoords=("data", "axes fraction"),
                               rotation=90, ha="right", va="bottom", fontsize="small", color="gray")
    size_axes.set(xscale="log", xlabel="file [kB]",
                  ylabel=f"return, {found.config['episodes']} episodes (mean and its standard error)")
    time_axes.set(xscale="log", xlabel="processor time of a decision [us]")
    for axes in (size_axes, time_axes):
        axes.grid(alpha=0.3, which="both")
        axes.set_ylim(bottom=0)
    handles, labels = size_axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", fontsize="small")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()


def _cells(found: Report) -> tuple[list[str], list[list[str]]]:
    headings = ["variant", "file", "deflated", "weights", "zeros", "return", "falls", "distance", "p50 / p99", "CPU",
                "decisions", "at full speed / 20 Hz", "RSS / USS", "limited: mean / p99", "at 20 Hz", "RSS"]
    return headings, [[row.name, *_kept(row, found), *_speed(row.speed), *_limited(row.limited)] for row in found.rows]


def _kept(row: Row, found: Report) -> list[str]:
    if not row.returns:
        return [""] * 7
    assert row.file_bytes is not None and row.deflated_bytes is not None  # of what was played
    assert row.weights is not None and row.zeros is not None
    return [f"{row.file_bytes / 1e3:,.0f} kB", f"{row.deflated_bytes / 1e3:,.0f} kB", f"{row.weights:,}",
            f"{100 * row.zeros / row.weights:.0f} %",
            f"{row.mean_return:,.0f} ± {row.std_return:,.0f} ({100 * row.mean_return / found.float_return:.1f} %)",
            f"{row.falls}", f"{row.mean_action_difference:.2g} / {row.max_action_difference:.2g}"]


def _speed(speed: Speed | None) -> list[str]:
    if speed is None or speed.figures is None:
        return [""] * 5
    found = speed.figures
    return [f"{found.p50_us:,.0f} / {found.p99_us:,.0f} us", f"{found.cpu_us:,.0f} us",
            f"{found.decisions_per_s:,.0f}/s",
            f"{found.cpu_percent:.0f} / {found.paced_cpu_percent:.2f} %", f"{found.rss_mb:.0f} / {found.uss_mb:.0f} MB"]


def _limited(speed: Speed | None) -> list[str]:
    if speed is None or speed.figures is None:
        return [""] * 3
    found = speed.figures
    return [f"{found.mean_us:,.0f} / {found.p99_us:,.0f} us", f"{found.paced_cpu_percent:.2f} %",
            f"{found.rss_mb:.0f} MB"]


def _reasons(found: Report) -> list[str]:
    return [f"{row.name}: {reason}" for row in found.rows for reason in (
        row.reason, row.speed.reason if row.speed else "",
        f"under the limits: {row.limited.reason}" if row.limited and row.limited.reason else "") if reason]
