"""How good a model of the environment is: errors over some steps, beside what is known of how good it can be."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from trainer.models import kinematics
from trainer.models.data.rows import Rows, Stretch
from trainer.models.interface import EnvironmentModel
from trainer.models.rollout import Reward, default_reward

STEPS = (1, 5, 15, 50)
HORIZON = STEPS[-1]


@dataclass(frozen=True)
class Windows:
    """r pieces of what robots did, of H steps each, that lie within one episode.

    Attributes:
        start: float32 [r, 27], where they begin.
        action: float32 [H, r, 8].
        state: float32 [H, r, 27], after each step.
        reward: float32 [H, r].
    """

    start: np.ndarray
    action: np.ndarray
    state: np.ndarray
    reward: np.ndarray


@dataclass(frozen=True)
class Judgement:
    """What was found of one model on some windows, by step from the first to the last.

    Attributes:
        error: float64 [H], median over the windows of the root mean square difference of the state, in standard
            deviations of each number.
        reward_error: float64 [H], median over the windows of the absolute difference of the rewards' sum so far.
        reward: float64 [H], mean over the windows of the absolute value of the true sum.
    """

    error: np.ndarray
    reward_error: np.ndarray
    reward: np.ndarray


def windows(stretches: Sequence[Stretch], horizon: int, count: int, rng: np.random.Generator) -> Windows | None:
    """Up to `count` windows of so many steps, drawn without replacement; None where no stretch has as many."""
    parts = drawn(stretches, horizon, count, rng)
    return together(parts) if parts else None


def drawn(stretches: Sequence[Stretch], horizon: int, count: int, rng: np.random.Generator) -> list[Stretch]:
    """Up to `count` parts of so many steps, drawn without replacement; none where no stretch has as many."""
    starts = [(stretch, first) for stretch in stretches for first in range(len(stretch) - horizon + 1)]
    chosen = [starts[i] for i in np.sort(rng.permutation(len(starts))[:count])]
    return [stretch.part(first, horizon) for stretch, first in chosen]


def together(parts: Sequence[Stretch]) -> Windows:
    """Stretches of the same length as windows."""
    return Windows(np.stack([part.state[0] for part in parts]), *(np.stack(arrays, axis=1) for arrays in (
        [part.action for part in parts], [part.state[1:] for part in parts], [part.reward for part in parts])))


def imagined(model: EnvironmentModel, start: np.ndarray, action: np.ndarray,
             reward: Reward = default_reward) -> tuple[np.ndarray, np.ndarray]:
    """What a model makes of recorded actions: states [H, r, 27] and rewards [H, r], with no regard for ends.

    Args:
        model: one whose arrays convert to numpy.
        start: [r, 27].
        action: [H, r, 8].
        reward: of a step.
    """
    moment, states, rewards = model.begin(start), [], []
    for each in action:
        before, moment = moment, model.step(moment, each)
        states.append(np.asarray(moment.state))
        rewards.append(np.asarray(reward(before, each, moment)))
    return np.stack(states), np.stack(rewards)


def judged(states: np.ndarray, rewards: np.ndarray, real: Windows, scale: np.ndarray) -> Judgement:
    """Compare what was imagined with what came.

    Args:
        states, rewards: [H, r, 27] and [H, r], as of `imagined`.
        real: what came.
        scale: [27], standard deviation of each number; one that does not vary at all is left out.
    """
    varies = scale > 0
    off = (states - real.state)[..., varies] / scale[varies]
    sums, real_sums = np.cumsum(rewards, axis=0, dtype=np.float64), np.cumsum(real.reward, axis=0, dtype=np.float64)
    return Judgement(np.median(np.sqrt(np.square(off).mean(axis=2)), axis=1),
                     np.median(np.abs(sums - real_sums), axis=1), np.abs(real_sums).mean(axis=1))


def spreads(spread: Callable[[np.ndarray, np.ndarray], np.ndarray], learned: Rows, held_out: Rows,
            rng: np.random.Generator, count: int = 4096) -> Mapping[str, float]:
    """Mean disagreement of an ensemble on rows that it learned from, on held-out ones, and off the data.

    Off the data are held-out states whose numbers are each those of another robot, with random torques.

    Args:
        spread: of states [r, 27] and actions [r, 8].
        learned, held_out: rows.
        rng: of the draws.
        count: rows of each kind.
    """
    mine, theirs = (rng.integers(0, len(rows), count) for rows in (learned, held_out))
    mixed = np.stack([rng.permutation(column) for column in held_out.state[theirs].T], axis=1)
    torques = rng.uniform(-1, 1, (count, held_out.action.shape[1])).astype(np.float32)
    return {"learned": float(spread(learned.state[mine], learned.action[mine]).mean()),
            "held_out": float(spread(held_out.state[theirs], held_out.action[theirs]).mean()),
            "off_the_data": float(spread(kinematics.with_unit_quaternion(mixed), torques).mean())}


def split(stretches: Sequence[Stretch], share: float, length: int,
          rng: np.random.Generator) -> tuple[list[Stretch], list[Stretch]]:
    """Pieces to learn from, and about this share of the steps in pieces to judge on.

    Args:
        stretches: of one source.
        share: between 0 and 1.
        length: of the pieces, in steps.
        rng: of the draws.

    Raises:
        ValueError: there are too few steps for that.
    """
    pieces = [piece for stretch in stretches for piece in stretch.pieces(length)]
    steps = sum(map(len, pieces))
    wanted, held = share * steps, list[int]()
    if 2 * wanted < length or len(pieces) < 2:
        raise ValueError(f"a model needs at least {math.ceil(length / 2 / share)} steps, so that {100 * share:g} % can "
                         f"be held back in pieces of {length}, found {steps}")
    for i in rng.permutation(len(pieces)).tolist():
        so_far = sum(len(pieces[j]) for j in held)
        if abs(so_far + len(pieces[i]) - wanted) <= abs(so_far - wanted) and len(held) < len(pieces) - 1:
            held.append(i)
    return ([piece for i, piece in enumerate(pieces) if i not in held],
            [piece for i, piece in enumerate(pieces) if i in held])
