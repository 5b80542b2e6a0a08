"""Takes runs into docs/results/ and draws their pictures: ./run exec python docs/make_results.py runs/td3-0 …

Of each run it keeps the evaluations, about 400 rows of the curve, and what the policy bundle tells of command, seed,
code version and time; then it draws one picture per method and tasks and prints, for each run, its row and its command
for docs/methods/METHOD.md. What was asked for, and on which machine it ran, is added by hand.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from ant_rl_core import bundle

RESULTS = Path(__file__).parent / "results"
MOST_ROWS = 400
COLUMNS = ("env_steps", "wall_seconds", "mean_return")


def picture_of(config: Mapping[str, Any]) -> str:
    """The method, and its tasks where it has any: what runs are drawn together by."""
    tasks = config["train"].get("tasks", "none")
    return config["algorithm"] if tasks == "none" else f"{config['algorithm']}-{tasks}"


def keep(run: Path) -> Path:
    """Copy the figures of a run into a folder of its own; returns it."""
    provenance = bundle.read(run / "policy.zip").manifest.provenance
    config = json.loads((run / "config.json").read_bytes())
    kind = "-memoryless" if config["learner"].get("memory") is False else ""
    folder = RESULTS / f"{picture_of(config)}{kind}-{provenance['env_steps']}-seed{provenance['seed']}"
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("curve.csv", "evaluation.csv"):
        if not (run / name).exists():  # runs of versions that evaluated only at the end have no evaluation.csv
            continue
        rows = (run / name).read_text().splitlines()
        every = 1 + len(rows) // MOST_ROWS
        kept = [rows[0], *rows[1:-1:every], rows[-1]]
        (folder / name).write_text("\n".join(kept) + "\n")
    record = {key: provenance[key] for key in ("command", "seed", "code_version", "wall_seconds", "env_steps",
                                               "evaluation", "config")}
    record["picture"] = picture_of(config)
    (folder / "run.json").write_text(json.dumps(record, indent=1) + "\n")
    return folder


def draw(title: str, folders: Sequence[Path]) -> None:
    """One picture of kept runs: return over steps and over wall time."""
    figure = Figure(figsize=(9, 3.7), layout="constrained")
    for axes, column, unit, label in zip(figure.subplots(1, 2, sharey=True), COLUMNS, (1e6, 60.0),
                                         ("environment steps [million]", "wall time [min]"), strict=False):
        for i, folder in enumerate(folders):
            for table, style in (("curve.csv", "-"), ("evaluation.csv", "o")):
                if not (folder / table).exists():
                    continue
                with open(folder / table, newline="") as file:
                    rows = list(csv.DictReader(file))
                axes.plot([float(row[column]) / unit for row in rows], [float(row["mean_return"]) for row in rows],
                          style, color=f"C{i}", markersize=4, label=folder.name if style == "-" else None)
        axes.set_xlabel(label)
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel("return")
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize="small")
    figure.suptitle(f"{title}: line, last 100 episodes, exploring; dots, deterministic episodes")
    figure.savefig(RESULTS / f"{title}.png", dpi=110)


def lines(folder: Path) -> str:
    """The run as docs/methods/METHOD.md has it: a row of the table of runs, and below that its command."""
    record = json.loads((folder / "run.json").read_text())
    evaluation = record["evaluation"]
    return (f"docs/methods/{folder.name.split('-')[0]}.md, {folder.name}:\n"
            f"| | | {evaluation['mean_return']:,.0f} ± {evaluation['std_return']:,.0f} | {record['env_steps']:,} | "
            f"{record['wall_seconds'] / 60:.0f} min |\n"
            f"`{record['command']}`; `{record['code_version']}`\n")


if __name__ == "__main__":
    for kept in map(keep, map(Path, sys.argv[1:])):
        print(lines(kept))
    pictures: dict[str, list[Path]] = {}
    for path in sorted(RESULTS.glob("*-*/run.json")):
        name = json.loads(path.read_text()).get("picture", path.parent.name.split("-")[0])
        pictures.setdefault(name, []).append(path.parent)
    for name, folders in pictures.items():
        draw(name, folders)
