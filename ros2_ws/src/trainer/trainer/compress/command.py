"""`./run compress BUNDLE [methods …] key:=value …`: smaller variants of an actor, and a report on all of them."""

from __future__ import annotations

import json
import os
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from ant_rl_core import bundle as policy_bundle, settings
from ant_rl_core.files import FolderBusyError, FolderLock, check_not_an_input, check_writable, write_atomically
from ant_rl_core.settings import ArgumentError
from ant_rl_core.shipped import resolve_policy
from trainer.compress import report, variants
from trainer.compress.compression import CompressConfig, compress
from trainer.compress.report import Report
from trainer.runs.plot import attempt

_WIDTH = 100
_BUNDLE, _PAGE, _FIGURES, _PICTURE = "policy.zip", "report.md", "report.json", "report.png"


def main(bundle: str, methods: Sequence[str], arguments: Mapping[str, str]) -> int:
    """Compress a bundle (a path or the name of a shipped one); returns the exit code."""
    try:
        (config,) = settings.build([CompressConfig], arguments)
        for name in methods:
            variants.check(name)
        path = resolve_policy(bundle)
        policy = policy_bundle.read(path)
        # Where it was written to does not matter to what was made.
        given = [f"{name}:={value}" for name, value in arguments.items() if name not in ("output", "summary")]
        command = " ".join(["./run compress", bundle, *methods, *given])
        with _held(config, path) as folder:
            made, figures = compress(policy, methods, config, command, _tell)
            _write(folder, config.summary, made, figures)
    except (ValueError, FolderBusyError) as error:  # of the settings, of the bundle, or of the folder
        print(error, file=sys.stderr)
        return 2
    except OSError as error:
        print(f"can't write {error.filename or 'what was made'} ({error.strerror}): make room or choose another path",
              file=sys.stderr)
        return 1
    print(f"\n{report.table(figures)}\n\nthe variants: {folder / _BUNDLE}; the report: {folder / _PAGE}")
    return 0


@contextmanager
def _held(config: CompressConfig, given: Path) -> Iterator[Path]:
    """The folder for the output, made where it is missing, and this command's alone meanwhile.

    Args:
        config: names it.
        given: the bundle that is read.

    Raises:
        ArgumentError: nothing can be written there, or what is there would be written over.
        FolderBusyError: another process holds it.
    """
    folder = Path(config.output)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArgumentError(f"output must be a folder that can be made, found {folder} ({error.strerror})") from error
    check_writable("output", str(folder / _BUNDLE))
    with FolderLock(folder, "a compression"):
        found = [name for name in (_BUNDLE, _PAGE, _FIGURES, _PICTURE, "checkpoint.npz") if (folder / name).exists()]
        if found:
            raise ArgumentError(f"output must be a folder without results of a compression or a training, found "
                                f"{folder} with {', '.join(found)}; name another or move them away")
        if config.summary:
            check_writable("summary", config.summary)
            check_not_an_input("summary", config.summary, [given])
            if os.path.realpath(config.summary) in [os.path.realpath(folder / name)
                                                    for name in (_BUNDLE, _PAGE, _PICTURE)]:
                raise ArgumentError(f"summary must be another file than what output has, found {config.summary}")
        yield folder


def _write(folder: Path, summary: str, made: bytes, figures: Report) -> None:
    """The bundle first, its picture last: without it the rest is whole. OSError names what can't be written."""
    found = json.dumps(report.plain(figures), indent=2).encode()
    files = [(folder / _BUNDLE, made), (folder / _FIGURES, found), (folder / _PAGE, report.markdown(figures).encode())]
    for path, data in [*files, *([(Path(summary), found)] if summary else [])]:
        try:
            write_atomically(path, data)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(path)) from error
    attempt(_PICTURE, lambda: write_atomically(folder / _PICTURE, report.picture(figures)))


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def help_text() -> str:
    """What the command does, its methods, and every setting with its default and meaning."""
    lines = ["usage: ./run compress BUNDLE [METHOD …] [key:=value …]", "",
             *textwrap.wrap("Makes smaller variants of a policy (a path or the name of a shipped one), plays and "
                            "measures each, and writes a bundle of them and a report. Without METHODs: "
                            f"{' '.join(variants.USUAL)}.", _WIDTH), "",
             "methods; several joined by + are applied in turn, as in distil_64x64+int8:"]
    for method in variants.METHODS:
        lines += textwrap.wrap(method.summary, _WIDTH, initial_indent=f"  {method.example:<14}",
                               subsequent_indent=" " * 16)
    return "\n".join([*lines, "", "settings, with their defaults:", *settings.help_lines(CompressConfig)])
