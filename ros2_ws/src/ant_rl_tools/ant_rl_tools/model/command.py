"""`./run model DATA … key:=value …`: learns a model of the environment from recordings, judges it, and writes it."""

from __future__ import annotations

import json
import os
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from ant_rl_core import settings
from ant_rl_core.files import FolderBusyError, FolderLock, check_writable, write_atomically
from ant_rl_core.settings import ArgumentError, Settings, changed, setting, with_home
from ant_rl_tools.model import report
from ant_rl_tools.model.reading import read
from ant_rl_tools.model.work import Source, judge, learn, prepared
from recorder_node.storage import BagError
from trainer import checkpoint
from trainer.models import model_file
from trainer.models.ensemble import EnsembleConfig
from trainer.models.learner import ModelLearnerConfig
from trainer.runs import provenance
from trainer.runs.plot import attempt

_WIDTH = 100
_MODEL, _FIGURES, _PICTURE = "model.npz", "quality.json", "quality.png"


@dataclass(frozen=True)
class ModelConfig(Settings):
    """Settings of the command."""

    output: str = setting("runs/model", f"folder for {_MODEL}, {_FIGURES} and {_PICTURE}", path=True)
    model: str = setting("", "file of a model to judge on the data; empty means that one is learned from them",
                         path=True)
    batches: int = setting(6000, "gradient steps of each network", minimum=1)
    seed: int = setting(0, "of everything that is random", minimum=0)
    namespace: str = setting("", "of the robots, where a bag holds several")
    num_threads: int = setting(1, "threads that step physics", minimum=1)


@dataclass(frozen=True)
class LearnConfig(ModelLearnerConfig):
    """How it is learned here: with more held out than where it is learned on and on."""

    held_out_share: float = changed(0.2)


def main(words: Sequence[str]) -> int:
    """Learn or judge; returns the exit code. ArgumentError where it can't be done."""
    names = [with_home("DATA", word) for word in words if ":=" not in word]
    given = settings.split(word for word in words if ":=" in word)
    config, network, fit = settings.build([ModelConfig, EnsembleConfig, LearnConfig], given)
    if not names:
        raise ArgumentError("model needs recordings or runs to learn from: ./run model DATA [DATA …] key:=value …")
    if config.model:
        _refuse(given, config.model)
    try:
        with _held(Path(config.output), bool(config.model)) as folder:
            model = model_file.read(config.model) if config.model else None
            sources = [_source(name, title, config, fit) for name, title in zip(names, _titles(names), strict=True)]
            if model is None:
                pieces = [piece for source in sources for piece in source.learned]
                _tell(f"learning from {sum(map(len, pieces)):,} steps")
                model, figures = learn(sources, network, fit, config.batches, config.seed)
            else:
                figures = {}
            found = judge(sources, model, config.seed, config.num_threads)
            about = {"data": list(names), "seed": config.seed, "batches": config.batches, "fit": asdict(fit),
                     "figures": figures, "code_version": provenance.code_version()}
            if not config.model:
                model_file.write(folder / _MODEL, model, about)
            plain = {**about, "model": config.model or str(folder / _MODEL), "networks": asdict(
                model.ensemble.config), "sources": report.plain(found)}
            write_atomically(folder / _FIGURES, json.dumps(plain, indent=2).encode())
            print("\n".join([*report.table(found), "", *([] if config.model else [f"the model: {folder / _MODEL}"]),
                             f"the figures: {folder / _FIGURES}"]))
            attempt(_PICTURE, lambda: write_atomically(folder / _PICTURE, report.picture(found)))
    except (model_file.ModelError, FolderBusyError) as error:
        raise ArgumentError(str(error)) from error
    except checkpoint.CheckpointError as error:  # it has no room
        print(f"ant_rl: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"ant_rl: can't write {error.filename or 'what was made'} ({error.strerror}): make room or choose "
              "another path", file=sys.stderr)
        return 1
    return 0


def help_text() -> str:
    """What the command does, and its settings with their defaults."""
    return "\n".join([
        "usage: ./run model DATA [DATA …] [key:=value …]", "",
        *textwrap.wrap("Learns a model of the environment from what robots did, judges it on what was held back, and "
                       "writes it. DATA is a recording (./run sim record:=PATH), or the folder or checkpoint of a "
                       "training with a replay buffer. Errors of imagined states are medians over the starts, in "
                       "standard deviations of the data.", _WIDTH), "", "settings, with their defaults:",
        *(line for cls in (ModelConfig, EnsembleConfig, LearnConfig) for line in settings.help_lines(cls))])


def _source(name: str, title: str, config: ModelConfig, fit: LearnConfig) -> Source:
    """What is read of one of DATA; ArgumentError where nothing can be learned from it."""
    _tell(f"reading {name}")
    try:
        found = read(Path(name), config.namespace or None)
    except (BagError, checkpoint.CheckpointError, ValueError) as error:
        raise ArgumentError(str(error)) from error
    try:
        return prepared(title, found, fit, config.seed, config.num_threads)
    except ValueError as error:
        raise ArgumentError(f"{name}: {error}") from error


@contextmanager
def _held(folder: Path, judges_only: bool) -> Iterator[Path]:
    """The folder for the output, made where it is missing, and this command's alone meanwhile.

    Raises:
        ArgumentError: nothing can be written there, or there are results.
        FolderBusyError: another process holds it.
    """
    taken = [name for name in (_MODEL, _FIGURES, _PICTURE, "checkpoint.npz") if (folder / name).exists()]
    if taken:
        raise ArgumentError(f"output must be a folder without results, found {folder} with {', '.join(taken)}; name "
                            "another or move them away")
    made = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArgumentError(f"output must be a folder that can be made, found {folder} ({error.strerror})") from error
    check_writable("output", str(folder / (_FIGURES if judges_only else _MODEL)))
    try:
        with FolderLock(folder, "a model"):
            yield folder
    finally:
        if made and not any(folder.iterdir()):
            folder.rmdir()


def _refuse(given: Mapping[str, str], model: str) -> None:
    """ArgumentError where settings of learning were given together with a model."""
    own = {each.name for each in settings.settings_of(ModelConfig)} - {"batches"}
    if others := [name for name in given if name not in own and name not in ("held_out_share", "held_out_ticks")]:
        raise ArgumentError(f"model must be empty where something is to be learned, found model:={model} beside "
                            f"{', '.join(f'{name}:={given[name]}' for name in others)}")


def _titles(names: Sequence[str]) -> list[str]:
    """The names of files and folders; the paths where these are the same."""
    short = [os.path.basename(os.path.abspath(name)) for name in names]
    return short if len(set(short)) == len(short) else list(names)


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
