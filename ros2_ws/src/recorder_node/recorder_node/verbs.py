"""What `./run` has of this package: repair. The modules that read bags are imported when it runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ant_rl_core.settings import ArgumentError, with_home
from ant_rl_core.verbs import Verb

_REPAIR = "repair needs the folder of a recording: ./run repair BAG"
_HELP = f"""{_REPAIR}

Finishes a recording whose recorder was killed, and keeps what can be read of a damaged one: MCAP or SQLite, of this
recorder or another. A recording that is whole stays as it is, byte for byte. What is lost is told, and the original is
then kept beside as FILE.damaged.

Exit code 0: it is whole now, and nothing was lost but an end that was not finished. 1: something was lost.
2: it is still recorded, or can't be repaired; nothing was changed."""


def _repair(words: Sequence[str]) -> int:
    if len(words) != 1:
        raise ArgumentError(f"{_REPAIR}, found {' '.join(words) or 'none'}")
    from recorder_node.repair.bag import repair
    from recorder_node.storage import BagError
    try:
        outcome = repair(Path(with_home("BAG", words[0])))
    except BagError as error:
        raise ArgumentError(str(error)) from error
    print(f"{words[0]}: {outcome.sentence()}")
    return 1 if outcome.lost else 0


def _repair_help(words: Sequence[str]) -> str:
    return _HELP


REPAIR = Verb("repair BAG", "finish a recording whose recorder was killed; keep what a damaged one holds", 70, _repair,
              _repair_help)
