"""What an off-policy training has kept in its checkpoint, as stretches."""

from __future__ import annotations

from pathlib import Path

from ant_rl_core.spec import ANT
from trainer import checkpoint
from trainer.buffers.replay import ReplayBuffer
from trainer.models.data.rows import Stretch, stretches

_PREFIX = "learner.replay_"


def replay_stretches(path: Path) -> list[Stretch]:
    """The stretches in the replay buffer of a checkpoint, oldest first.

    Raises:
        ValueError: it has no replay buffer, an empty one, or one of another robot.
        CheckpointError: it can't be read.
    """
    saved = checkpoint.Part(checkpoint.load(path), _PREFIX)
    if not len(saved):
        raise ValueError(f"the checkpoint {path} must hold a replay buffer, found none: give one of an off-policy "
                         "method, or a recording")
    kept = saved["observation"]
    if not len(kept):
        raise ValueError(f"the checkpoint {path} must hold transitions, found an empty replay buffer")
    sizes = kept.shape[2], saved["action"].shape[2]
    if sizes != (ANT.observation_size, ANT.action_size):
        raise ValueError(f"the checkpoint {path} must be of an {ANT.name} with {ANT.observation_size} observations and "
                         f"{ANT.action_size} actions, found {sizes[0]} and {sizes[1]}")
    ticks, rows = map(int, saved["ring"])
    replay = ReplayBuffer(ticks * rows, rows, *sizes, 0, priority_exponent=1.0 if "leaves" in saved else None)
    replay.restore(saved)
    return stretches(list(replay.in_order()))
