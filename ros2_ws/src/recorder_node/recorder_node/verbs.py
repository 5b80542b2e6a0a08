"""What `./run` has of this package: repair. The modules that read bags are imported when it runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ant_rl_core.settings import ArgumentError, with_home
from ant_rl_core.verbs import Verb

_REPAIR = "repair needs the folder of a recording: ./run repair BAG"


def _repair(words: Sequence[str]) -> int:
    if len(words) != 1:
        raise ArgumentError(f"{_REPAIR}, found {' '.join(words) or 'none'}")
    from recorder_node.bag import repair
    from recorder_node.storage import BagError
    try:
        contents = repair(Path(with_home("BAG", words[0])))
    except BagError as error:
        raise ArgumentError(str(error)) from error
    print(f"{words[0]}: {sum(contents.counts.values())} messages of {len(contents.topics)} topics, "
          f"{1e-9 * (contents.end - contents.start):.1f} s")
    return 0


def _repair_help(words: Sequence[str]) -> str:
    return _REPAIR


REPAIR = Verb("repair BAG", "finish a recording whose recorder was killed, so that it opens again", 70, _repair,
              _repair_help)
