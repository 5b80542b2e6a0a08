"""`./run report`: reads bags, writes the page, and says in a line or two what is in it."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ant_rl_core import settings
from ant_rl_core.files import check_not_an_input, check_writable, write_atomically
from ant_rl_core.settings import ArgumentError, Settings, setting, split, with_home
from ant_rl_core.viewers import check_rerun
from ant_rl_tools.outputs import check_output
from ant_rl_tools.recorded import Recording
from ant_rl_tools.report import figures, tables
from ant_rl_tools.report.charts import RUN_COLORS
from ant_rl_tools.report.page import page
from ant_rl_tools.report.reading import read
from ant_rl_tools.report.run_data import Run
from recorder_node.storage import BagError

if TYPE_CHECKING:  # what it takes to imagine, TensorFlow among it, is imported where a model was named
    from ant_rl_tools.report.imaginer import Imaginer
    from ant_rl_tools.report.imagining import Imagination


@dataclass(frozen=True)
class ReportConfig(Settings):
    """Arguments of the report."""

    output: str = setting("report.html", "HTML file to write; one that exists is written over if you name it",
                        path=True)
    namespace: str = setting("", "of the robots, where a bag holds several")
    model: str = setting("", "file of a model of the environment, of `./run model`: what it imagines of the recorded "
                         "torques is shown beside what came of them", path=True)
    imagined_steps: int = setting(5, "steps that the model imagines from each moment", minimum=1, maximum=50)
    rerun: str = setting("", "file (.rrd) for Rerun to write besides: the first robot, and what was imagined of it",
                         path=True)
    rerun_seconds: float = setting(60.0, "simulated time that it shows, from the beginning", unit="s", above=0)


_OF_A_MODEL = ("imagined_steps", "rerun", "rerun_seconds")


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
    check_output(config.output, "output" in given, [*names, *filter(None, [config.model])])
    _check_model(config, given, names)
    imaginer = _imaginer(config)
    try:
        runs = _read(names, config.namespace or None, imaginer)
    except BagError as error:
        raise ArgumentError(str(error)) from error
    found = imaginer.found if imaginer else []
    html = make(runs, found)
    path = config.output
    try:
        write_atomically(Path(path), html.encode())
        if imaginer and config.rerun:
            path = config.rerun
            imaginer.write(path, runs[0].ticks.simulated)
    except OSError as error:
        print(f"ant_rl: can't write {path} ({error.strerror or error}): make room or choose another path",
              file=sys.stderr)
        return 1
    said = [f"  {tables.line(run)}" for run in runs]
    said += [f"  {run.name}: {one.sentence()}" for run, one in zip(runs, found, strict=False)]
    print("\n".join([config.output, *said, *filter(None, [config.rerun])]))
    return 0


def make(runs: Sequence[Run], imagined: Sequence[Imagination] = ()) -> str:
    """The page on one run, or on several side by side; with what was imagined of each, where a model did."""
    title = runs[0].name if len(runs) == 1 else " and ".join(run.name for run in runs)
    sections = figures.charts(runs)
    below = {"Policies": tables.versions(runs)}
    if any(run.tasks for run in runs):
        below |= {"Tasks": tables.returns_by_task(runs), "Tasks of the first robot": tables.task_changes(runs)}
    if imagined:
        from ant_rl_tools.report import imagined_chart
        sections |= {"Imagined": [imagined_chart.chart([run.name for run in runs], imagined)]}
    return page(title, tables.key_figures(runs), {**sections, **{name: [] for name in below if name not in sections}},
                {name: tables.shortened(table) for name, table in below.items()})


def help_text() -> str:
    """What the command does, and its arguments with their defaults."""
    return "\n".join([
        "usage: ./run report BAG [BAG …] [key:=value …]", "",
        "One HTML page with the story of a recorded run; of several recordings, side by side with ratios to the first.",
        "", "arguments, with their defaults:", *settings.help_lines(ReportConfig)])


def _check_model(config: ReportConfig, given: Mapping[str, str], names: Sequence[str]) -> None:
    """ArgumentError unless what was given of a model, and of what it imagines, can be done."""
    if not config.model and (others := [name for name in _OF_A_MODEL if name in given]):
        raise ArgumentError(f"model must name what is to imagine where {' and '.join(others)} is given: "
                            "model:=MODEL.npz, such as `./run model` writes")
    if not config.rerun:
        return
    check_rerun("rerun:=")
    check_writable("rerun", config.rerun)
    check_not_an_input("rerun", config.rerun, [*names, config.model])
    if os.path.realpath(config.rerun) == os.path.realpath(config.output):
        raise ArgumentError(f"rerun must be another file than output, found {config.rerun} for both")
    if len(names) > 1:
        raise ArgumentError(f"rerun shows one recording, found {len(names)}: name one of {', '.join(names)}")


def _imaginer(config: ReportConfig) -> Imaginer | None:
    """None where no model was named; ArgumentError where there is none that can be used."""
    if not config.model:
        return None
    from ant_rl_tools.report.imaginer import Imaginer
    from trainer.models.model_file import ModelError
    try:
        return Imaginer(config.model, config.imagined_steps, config.rerun_seconds if config.rerun else 0.0)
    except ModelError as error:
        raise ArgumentError(str(error)) from error


def _read(names: Sequence[str], namespace: str | None, imaginer: Imaginer | None) -> list[Run]:
    runs = []
    for name, title in zip(names, _titles(names), strict=True):
        with Recording(Path(name), namespace) as recording:
            for note in recording.notes():
                print(f"ant_rl: {note}", file=sys.stderr)
            runs.append(read(recording, title))
            if imaginer:
                imaginer.take(recording)
    return runs


def _titles(names: Sequence[str]) -> list[str]:
    """The names of the bags' folders; the paths where folders have the same name."""
    short = [os.path.basename(os.path.abspath(name)) for name in names]
    return short if len(set(short)) == len(short) else list(names)
