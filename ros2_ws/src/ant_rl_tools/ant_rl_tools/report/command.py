"""`./run report`: reads bags, writes the page, and says in a line or two what is in it."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ant_rl_core import settings
from ant_rl_core.files import write_atomically
from ant_rl_core.settings import ArgumentError, Settings, setting, split, with_home
from ant_rl_tools.outputs import check_output
from ant_rl_tools.recorded import Recording
from ant_rl_tools.report import figures, tables
from ant_rl_tools.report.charts import RUN_COLORS
from ant_rl_tools.report.page import page
from ant_rl_tools.report.reading import read
from ant_rl_tools.report.run_data import Run
from recorder_node.storage import BagError


@dataclass(frozen=True)
class ReportConfig(Settings):
    """Arguments of the report."""

    output: str = setting("report.html", "HTML file to write; one that exists is written over if you name it",
                        path=True)
    namespace: str = setting("", "of the robots, where a bag holds several")


def main(words: Sequence[str]) -> int:
    """Write the report on the bags in `words`; returns the exit code. ArgumentError where that can't be done."""
    names = [with_home("BAG", word) for word in words if ":=" not in word]
    given = split(word for word in words if ":=" in word)
    (config,) = settings.build([ReportConfig], given)
    if not names:
        raise ArgumentError("report needs the folder of a recording, or several to compare: ./run report BAG [BAG …]")
    if len(names) > len(RUN_COLORS):
        raise ArgumentError(f"report compares at most {len(RUN_COLORS)} recordings, found {len(names)}")
    if len({os.path.realpath(name) for name in names}) < len(names):
        raise ArgumentError(f"report takes each recording once, found {' '.join(names)}")
    check_output(config.output, "output" in given, names)
    try:
        runs = _read(names, config.namespace or None)
    except BagError as error:
        raise ArgumentError(str(error)) from error
    html = make(runs)
    try:
        write_atomically(Path(config.output), html.encode())
    except OSError as error:
        print(f"ant_rl: can't write the report {config.output} ({error.strerror}): make room or choose another path",
              file=sys.stderr)
        return 1
    print("\n".join([config.output, *(f"  {tables.line(run)}" for run in runs)]))
    return 0


def make(runs: Sequence[Run]) -> str:
    """The page on one run, or on several side by side."""
    title = runs[0].name if len(runs) == 1 else " and ".join(run.name for run in runs)
    sections = figures.charts(runs)
    below = {"Policies": tables.versions(runs)}
    if any(run.tasks for run in runs):
        below |= {"Tasks": tables.returns_by_task(runs), "Tasks of the first robot": tables.task_changes(runs)}
    return page(title, tables.key_figures(runs), {**sections, **{name: [] for name in below if name not in sections}},
                {name: tables.shortened(table) for name, table in below.items()})


def help_text() -> str:
    """What the command does, and its arguments with their defaults."""
    return "\n".join([
        "usage: ./run report BAG [BAG …] [key:=value …]", "",
        "One HTML page with the story of a recorded run; of several recordings, side by side with ratios to the first.",
        "", "arguments, with their defaults:", *settings.help_lines(ReportConfig)])


def _read(names: Sequence[str], namespace: str | None) -> list[Run]:
    runs = []
    for name, title in zip(names, _titles(names), strict=True):
        with Recording(Path(name), namespace) as recording:
            for note in recording.notes():
                print(f"ant_rl: {note}", file=sys.stderr)
            runs.append(read(recording, title))
    return runs


def _titles(names: Sequence[str]) -> list[str]:
    """The names of the bags' folders; the paths where folders have the same name."""
    short = [os.path.basename(os.path.abspath(name)) for name in names]
    return short if len(set(short)) == len(short) else list(names)
