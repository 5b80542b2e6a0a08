"""Files that a tool makes: one that is there is written over where its name was given, and never what is read."""

from __future__ import annotations

import os
from collections.abc import Iterable

from ant_rl_core.files import check_not_an_input, check_writable
from ant_rl_core.settings import ArgumentError


def check_output(path: str, is_named: bool, inputs: Iterable[str | os.PathLike[str]]) -> None:
    """ArgumentError unless `path`, the value of the argument output, is to be written.

    Args:
        path: of the file.
        is_named: whether the user gave it; the default is no word that asks for writing over what is there.
        inputs: what is read, see `check_not_an_input`.
    """
    check_writable("output", path)
    check_not_an_input("output", path, inputs)
    if not is_named and os.path.exists(path):
        raise ArgumentError(f"output must be named where {path} is there already: output:={path} writes over it, any "
                            "other name leaves it")
