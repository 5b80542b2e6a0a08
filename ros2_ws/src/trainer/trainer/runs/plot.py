"""The picture of a training run: returns over environment steps and over time."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path

from ant_rl_core.files import write_atomically
from trainer.look import own_look
from trainer.runs.curve import Table


def attempt(name: str, draw: Callable[[], None]) -> None:
    """Draw what nothing depends on; where that fails, for whatever reason, say so in a sentence."""
    try:
        draw()
    except Exception as error:  # fonts, LaTeX, settings of the user, the disk: Matplotlib raises what they raise
        reason = " ".join(str(error).split())[:200]
        print(f"{name} can't be drawn ({type(error).__name__}: {reason}); all else is there", file=sys.stderr)


@own_look()
def save_curve(folder: Path, title: str) -> None:
    """Draw the returns in a run's curve.csv and evaluation.csv over environment steps and time, as its curve.png."""
    # Takes a second to import and is needed once, at the end.
    from matplotlib.figure import Figure

    exploring = _columns(folder / "curve.csv")
    evaluated = _columns(folder / "evaluation.csv")
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    for axes, name, unit, label in zip(figure.subplots(1, 2, sharey=True), ("env_steps", "wall_seconds"), (1e6, 60.0),
                                       ("environment steps [million]", "wall time of the training [min]"), strict=True):
        axes.plot([x / unit for x in exploring[name]], exploring["mean_return"], label="last 100 episodes, exploring")
        axes.plot([x / unit for x in evaluated[name]], evaluated["mean_return"], "o", markersize=4,
                  label="evaluation, deterministic")
        axes.set_xlabel(label)
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")
    figure.axes[0].set_ylabel("mean return")
    figure.suptitle(title)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    write_atomically(folder / "curve.png", buffer.getvalue())


def _columns(path: Path) -> dict[str, list[float]]:
    """The columns that are drawn; empty where there is no such file."""
    names = ("env_steps", "wall_seconds", "mean_return")
    rows = Table(path).read()[1]
    return {name: [float(row[name]) for row in rows] for name in names}
