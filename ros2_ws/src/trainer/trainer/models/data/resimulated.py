"""What recordings leave out, simulated again: how far the torso moved in each step, and the default reward."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ant_env_node.beside.again import Again
from trainer.models import kinematics
from trainer.models.data.rows import Stretch

# Of the difference between a recorded state and the same step simulated again, which float32 keeps far below; a share
# of the steps may exceed it, as where a foot just touches the ground that rounding becomes large.
_TOLERANCE, _MOST_BEYOND = 1e-2, 0.01


def resimulated(stretches: Sequence[Stretch], num_threads: int = 1) -> list[Stretch]:
    """The same stretches with what the torso moved along x and y, and the default reward of that.

    Raises:
        ValueError: they are not of the stock Ant-v5: MuJoCo makes other steps.
    """
    state = np.concatenate([stretch.state[:-1] for stretch in stretches])
    action = np.concatenate([stretch.action for stretch in stretches])
    came = np.concatenate([stretch.state[1:] for stretch in stretches])
    with Again(num_threads) as again:
        found = again.run(state, action[None])
    beyond = float((np.abs(found.state[0] - came).max(axis=1) > _TOLERANCE).mean())
    if beyond > _MOST_BEYOND:
        raise ValueError(f"expected steps of the stock Ant-v5, found {100 * beyond:.0f} % that MuJoCo makes otherwise: "
                         "its body, its ground or its wiring were another's, as tasks may have it")
    displacement = found.displacement[0].astype(np.float32)
    contact = kinematics.contact_of(np.concatenate([stretch.observation[1:] for stretch in stretches]))
    reward = kinematics.reward_of(kinematics.forward(displacement, came), action, came, contact).astype(np.float32)
    ends = np.cumsum([len(stretch) for stretch in stretches])[:-1]
    return [replace(stretch, displacement=moved, reward=earned) for stretch, moved, earned in zip(
        stretches, np.split(displacement, ends), np.split(reward, ends), strict=True)]
