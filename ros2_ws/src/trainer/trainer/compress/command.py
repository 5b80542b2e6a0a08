"""`./run compress BUNDLE [methods …] key:=value …`: smaller variants of an actor, and a report on all of them."""

from __future__ import annotations

import json
import os
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from ant_rl_core import bundle as policy_bundle, settings
from ant_rl_core.files import check_writable, write_atomically
from ant_rl_core.settings import ArgumentError
from ant_rl_core.shipped import resolve_policy
from trainer.compress import report, variants
from trainer.compress.compression import CompressConfig, compress

_WIDTH = 100


def main(bundle: str, methods: Sequence[str], arguments: Mapping[str, str]) -> int:
    """Compress a bundle (a path or the name of a shipped one); returns the exit code."""
    try:
        (config,) = settings.build([CompressConfig], arguments)
        for name in methods:
            variants.check(name)
        folder = _folder(config)
        policy = policy_bundle.read(resolve_policy(bundle))
        # Where it was written to does not matter to what was made.
        given = [f"{name}:={value}" for name, value in arguments.items() if name not in ("output", "summary")]
        command = " ".join(["./run compress", bundle, *methods, *given])
        made, figures = compress(policy, methods, config, command, _tell)
    except ValueError as error:  # of the settings, or of the bundle
        print(error, file=sys.stderr)
        return 2
    files = {folder / "policy.zip": made, folder / "report.md": report.markdown(figures).encode(),
             folder / "report.png": report.picture(figures)}
    for path in filter(None, (folder / "report.json", config.summary)):
        files[Path(path)] = json.dumps(report.plain(figures), indent=2).encode()
    try:
        for path, data in files.items():
            write_atomically(path, data)
    except OSError as error:
        print(f"can't write {path} ({error.strerror}): make room or choose another path", file=sys.stderr)
        return 1
    print(f"\n{report.table(figures)}\n\nthe variants: {folder / 'policy.zip'}; the report: {folder / 'report.md'}")
    return 0


def _folder(config: CompressConfig) -> Path:
    """The folder for the output, made where it is missing; ArgumentError if nothing can be written there."""
    folder = Path(config.output)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArgumentError(f"output must be a folder that can be made, found {folder} ({error.strerror})") from error
    for path in (folder / "policy.zip", config.summary):
        if path:
            check_writable("output" if path is not config.summary else "summary", str(path))
    return folder


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
