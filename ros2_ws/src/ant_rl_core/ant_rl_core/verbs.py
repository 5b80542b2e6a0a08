"""A verb of `./run` that a package brings along: an entry point names it, and whoever has the package has the verb.

The entry points are of the group `ant_rl.verbs` and name a `Verb`, in a module that imports what the verb needs only
once it runs: all that are there are loaded for a page of help.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import NoReturn

from ant_rl_core.settings import ArgumentError

GROUP = "ant_rl.verbs"


@dataclass(frozen=True)
class Verb:
    """What `./run` knows of a verb.

    Attributes:
        usage: its words in the overview, its name first, such as "eval BUNDLE".
        summary: what it does, in one line of the overview.
        place: where the overview has it: before all verbs with a higher one.
        run: does it, given the words that follow the name; returns the exit code. ArgumentError has one sentence
            about words that can't be understood.
        help: the text of --help, given the same words, --help among them; raises ArgumentError likewise.
        uses_ros: whether its modules import rclpy, which then has to be possible.
        show_lines_only: called before `run` where --quiet was given; None where no progress is drawn.
    """

    usage: str
    summary: str
    place: int
    run: Callable[[Sequence[str]], int]
    help: Callable[[Sequence[str]], str]
    show_lines_only: Callable[[], None] | None = None
    uses_ros: bool = False

    @property
    def name(self) -> str:
        """The word that it is called by."""
        return self.usage.split()[0]


def installed() -> dict[str, Verb]:
    """The verbs of all packages that are there, by name, in the order of the overview.

    One whose module can't be imported says why when it is asked for, and is no hindrance to the others.
    """
    verbs = map(_load, entry_points(group=GROUP))
    return {verb.name: verb for verb in sorted(verbs, key=lambda verb: verb.place)}


def _load(entry: EntryPoint) -> Verb:
    try:
        loaded: Verb = entry.load()
        return loaded
    except (ImportError, AttributeError) as error:
        reason = f"{entry.name} can't be used here: {error}"

    def refuse(_: Sequence[str]) -> NoReturn:
        raise ArgumentError(reason)

    return Verb(entry.name, reason, sys.maxsize, refuse, refuse)
