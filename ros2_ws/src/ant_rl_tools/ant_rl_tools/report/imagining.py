"""What a model of the environment imagines of recorded torques, beside what came of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trainer.models import kinematics, quality
from trainer.models.copy import CopyModel
from trainer.models.data.resimulated import resimulated
from trainer.models.data.rows import Stretch
from trainer.models.interface import EnvironmentModel, Moment
from trainer.models.quality import Judgement
from trainer.models.rollout import imagine

_STARTS = 256  # of each recording, as `./run model` has them


@dataclass(frozen=True)
class Imagination:
    """What was imagined of one recording from r of its moments, with no regard for imagined ends.

    Attributes:
        learned, copied: how far the model, and copying the state, are off by step.
        came, imagined: float64 [r], sum of the rewards over all steps.
    """

    learned: Judgement
    copied: Judgement
    came: np.ndarray
    imagined: np.ndarray

    @property
    def steps(self) -> int:
        """H."""
        return len(self.learned.error)

    def sentence(self) -> str:
        """The figures in words."""
        learned, copied = self.learned, self.copied
        off, off_copied = (100 * each.reward_error[-1] / each.reward[-1] for each in (learned, copied))
        steps = f"{self.steps} step{'s' * (self.steps > 1)}"
        return (f"over {steps} from {len(self.came)} moments, the sum of the imagined rewards is off by "
                f"{learned.reward_error[-1]:.2f} of {learned.reward[-1]:.1f} ({off:.1f} %; copying the state: "
                f"{off_copied:.1f} %), the imagined state by {learned.error[-1]:.3f} standard deviations (copying: "
                f"{copied.error[-1]:.3f}), medians")


@dataclass(frozen=True)
class Beside:
    """What one robot did in T steps, and what was imagined from each of the m = T + 1 - H states that H steps follow.

    Attributes:
        stretch: what it did.
        place: float64 [T + 1, 3], where the torso came, from x = y = 0 on [m].
        path: float64 [m, H + 1, 3], where it was imagined to come, from where it was; NaN after an imagined end [m].
        reward: float64 [m], sum of the imagined rewards; after an imagined end they are 0.
        came: float64 [m], sum of those that came.
    """

    stretch: Stretch
    place: np.ndarray
    path: np.ndarray
    reward: np.ndarray
    came: np.ndarray


def judged(model: EnvironmentModel, stretches: Sequence[Stretch], steps: int) -> Imagination:
    """Judge a model on some moments of a recording.

    Args:
        model: imagines.
        stretches: as recorded; what is needed of them is simulated again.
        steps: H, from each moment.

    Raises:
        ValueError: no stretch is as long, or they are not of the stock Ant-v5.
    """
    rng = np.random.default_rng(0)
    parts = quality.drawn(stretches, steps, _STARTS, rng)
    if not parts:
        raise ValueError(f"imagining {steps} steps needs as many in one episode, found {max(map(len, stretches))} at "
                         "most: set imagined_steps to fewer, or give a longer recording")
    real = quality.together(resimulated(parts))
    scale = np.concatenate([stretch.state for stretch in stretches]).astype(np.float64).std(axis=0)
    found = quality.imagined(model, real.start, real.action)
    copied = quality.imagined(CopyModel(), real.start, real.action)
    came, imagined = (rewards.sum(axis=0, dtype=np.float64) for rewards in (real.reward, found[1]))
    return Imagination(quality.judged(*found, real, scale), quality.judged(*copied, real, scale), came, imagined)


def beside(model: EnvironmentModel, stretches: Sequence[Stretch], steps: int) -> list[Beside]:
    """Imagine from every moment of stretches that so many steps follow; arguments and errors as of `judged`."""
    return [_beside(model, stretch, steps) for stretch in resimulated(stretches)]


def _beside(model: EnvironmentModel, stretch: Stretch, steps: int) -> Beside:
    place = np.zeros((len(stretch) + 1, 3))
    np.cumsum(stretch.displacement, axis=0, out=place[1:, :2])
    place[:, 2] = stretch.state[:, kinematics.HEIGHT]
    count = max(0, len(stretch) + 1 - steps)
    path = np.full((count, steps + 1, 3), np.nan)
    if not count:
        return Beside(stretch, place, path, np.zeros(0), np.zeros(0))
    torques = iter([stretch.action[k:k + count] for k in range(steps)])

    def replay(_: Moment) -> np.ndarray:
        return next(torques)

    found = imagine(model, replay, stretch.observation[:count], steps)
    path[:, 0] = place[:count]
    for k, (state, moved, alive) in enumerate(zip(found.next_state, found.place, found.alive, strict=True), 1):
        there = np.asarray(alive[0]) > 0
        path[there, k, :2] = place[:count][there, :2] + np.asarray(moved[0])[there]
        path[there, k, 2] = np.asarray(state[0])[there, kinematics.HEIGHT]
    reward = np.stack([np.asarray(each[0]) for each in found.reward]).sum(axis=0, dtype=np.float64)
    came = np.lib.stride_tricks.sliding_window_view(stretch.reward.astype(np.float64), steps).sum(axis=1)
    return Beside(stretch, place, path, reward, came)
