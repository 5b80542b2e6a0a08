"""What is learned from: recordings of the stack, and the checkpoints of off-policy trainings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ant_rl_core.spec import ANT
from ant_rl_core.step import Transition
from ant_rl_tools.recorded import Recording
from recorder_node.storage import BagError
from trainer import checkpoint
from trainer.models.data.replayed import replay_stretches
from trainer.models.data.rows import Stretch, stretches


def read(path: Path, namespace: str | None) -> list[Stretch]:
    """What robots did, of a bag, of the folder of a training, or of a checkpoint.

    Args:
        path: of a file or folder.
        namespace: of the robots, where a bag holds several.

    Raises:
        ValueError, BagError, CheckpointError: it holds no transitions of an Ant-v5, or can't be read.
    """
    if path.suffix == ".npz":
        return replay_stretches(path)
    if checkpoint.path_in(path).exists():
        return replay_stretches(checkpoint.path_in(path))
    with Recording(path, namespace) as recording:
        return of_recording(recording)


def of_recording(recording: Recording) -> list[Stretch]:
    """What robots did in a recording that is open; `tick` of each counts `recording.ticks()`.

    Raises:
        BagError: as of `read`.
    """
    found: list[Stretch] = []
    before, together, ticks, begin = None, list[Transition](), 0, 0
    for tick in recording.ticks():
        made = None if before is None else tick.transition_from(before)
        if made is None:
            found += _begun_at(begin, together)
            together, begin = [], ticks
        elif made.action.shape[1:] != (ANT.action_size,):
            raise BagError(f"the bag {recording.path} must be of an {ANT.name} with {ANT.action_size} torques, found "
                           f"{made.action.shape[1]}")
        else:
            together.append(made)
        before, ticks = tick, ticks + 1
    found += _begun_at(begin, together)
    if not found:
        raise BagError(f"the bag {recording.path} must hold transitions, found {ticks} observations, none of which "
                       "follows another")
    return found


def _begun_at(tick: int, together: list[Transition]) -> list[Stretch]:
    return [replace(each, tick=tick + each.tick) for each in stretches(together)]
