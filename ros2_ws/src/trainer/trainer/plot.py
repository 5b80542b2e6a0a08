"""The picture of a training run: return over environment steps."""

from __future__ import annotations

import csv
from pathlib import Path


def save_curve(curve: Path, picture: Path, title: str) -> None:
    """Draw the mean return of the last episodes over environment steps and over hours from a run's curve.csv."""
    # Takes a second to import and is needed once, at the end.
    from matplotlib.figure import Figure

    with open(curve, newline="") as file:
        rows = list(csv.DictReader(file))
    returns = [float(row["mean_return"]) for row in rows]
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    left.plot([float(row["env_steps"]) / 1e6 for row in rows], returns)
    left.set_xlabel("environment steps [million]")
    left.set_ylabel("mean return of the last 100 episodes")
    right.plot([float(row["wall_seconds"]) / 60 for row in rows], returns)
    right.set_xlabel("wall time [min]")
    for axes in (left, right):
        axes.grid(alpha=0.3)
    figure.suptitle(title)
    figure.savefig(picture, dpi=120)
