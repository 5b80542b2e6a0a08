"""What an agent imagines: some first actions, each gone on from in a model, and what is told of it as numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ant_rl_core.spec import ANT
from trainer.algorithms.model_based.rollout_policy import RolloutPolicy
from trainer.models.copy import CopyModel
from trainer.models.dense import DenseModel, diagonal, set_diagonal
from trainer.models.interface import EnvironmentModel
from trainer.models.kinematics import STATE_SIZE, ops, state_of
from trainer.models.rollout import Imagined, imagine_rows
from trainer.networks.statistics import Normalizer

Array = Any  # np.ndarray, tf.Tensor or keras.KerasTensor
STEP_SIZE = STATE_SIZE + 5  # numbers of an imagined step: state, velocity along x and y, contact, reward, alive
MOST_BRANCHES = 2 * ANT.action_size + 1
_CONTACT_SCALE = 0.1  # of sums of squared contact forces, which are a few to some tens


@dataclass(frozen=True)
class Shape:
    """How much is imagined.

    Attributes:
        branches: K, first actions that are tried, an odd number up to `MOST_BRANCHES`.
        horizon: H, steps of each rollout.
        candidate_size: how far the first actions are from that of the rollout policy, in each torque.
        reward: whether the imagined reward is told.
    """

    branches: int = 5
    horizon: int = 5
    candidate_size: float = 0.3
    reward: bool = True

    @property
    def size(self) -> int:
        """Numbers that tell what was imagined."""
        return self.branches * (self.horizon * STEP_SIZE + ANT.action_size)


def directions(count: int) -> np.ndarray:
    """The first `count` directions in which first actions differ, float32 [count, 8] of ±1, at right angles.

    They are rows of Hadamard's matrix (Sylvester's construction) but the first, which pushes all joints alike and comes
    last; so the first two are hips against ankles, and the legs of one diagonal against those of the other.
    """
    matrix = np.ones((1, 1), np.float32)
    while len(matrix) < ANT.action_size:
        matrix = np.block([[matrix, matrix], [matrix, -matrix]])
    return np.roll(matrix, -1, axis=0)[:count]


def candidates(action: Array, shape: Shape) -> list[Array]:
    """First actions of each robot, K arrays [n, 8] in [-1, 1]: `action`, then pairs on both sides of it."""
    of = ops(action)
    steps = shape.candidate_size * directions(shape.branches // 2)
    moved = (of.clip(action + sign * step, -1.0, 1.0) for step in steps for sign in (1, -1))
    return [action, *moved]


def told(imagined: Imagined, first: list[Array], scaled: Callable[[Array], Array], shape: Shape) -> Array:
    """What was imagined as rows [n, `shape.size`]: for each step and in it for each branch, then the first actions.

    Args:
        imagined: the rollouts, in rows [K * n, ...] as `layout` has them.
        first: as of `candidates`.
        scaled: gives states scaled as observations are.
        shape: see `Shape`.
    """
    of, steps = ops(first[0]), []
    for h in range(shape.horizon):
        alive, reward = imagined.alive[h][:, None], imagined.reward[h][:, None]
        step = [scaled(imagined.next_state[h]) * alive, imagined.displacement[h] / ANT.control_period,
                _CONTACT_SCALE * imagined.contact[h][:, None], reward if shape.reward else 0.0 * reward, alive]
        steps += of.split(of.clip(of.concatenate(step, axis=-1), -10.0, 10.0), shape.branches, axis=0)
    return of.concatenate([*steps, *first], axis=-1)


def steps_of(rows: Array, shape: Shape) -> tuple[list[Array], list[Array]]:
    """Of what `told` gave: the steps [K * n, STEP_SIZE], branch after branch, and the first actions [n, 8] of each."""
    of, (count, size) = ops(rows), (shape.horizon * shape.branches, STEP_SIZE)
    parts = of.split(rows[:, :count * size], count, axis=-1)
    steps = [of.concatenate(parts[h * shape.branches:(h + 1) * shape.branches], axis=0) for h in range(shape.horizon)]
    return steps, of.split(rows[:, count * size:], shape.branches, axis=-1)


class Imagination:
    """Imagines by a model and a rollout policy. Nothing is learned through it.

    Args:
        shape: see `Shape`.
        model: by which robots are imagined from observations: `DenseModel` or `CopyModel`.
        policy: by which all actions but the first ones are chosen.
        normalizer: of the observations.
        observation_size: of the robot.

    Attributes:
        network: from scaled observations [n, observation_size] to what `told` gives; for graphs that are exported too.
        beside: where given, robots are imagined by this model, in numpy, from where they are, instead.
    """

    def __init__(self, shape: Shape, model: DenseModel | CopyModel, policy: RolloutPolicy, normalizer: Normalizer,
                 observation_size: int) -> None:
        self.shape, self.policy, self._normalizer = shape, policy, normalizer
        self.beside: EnvironmentModel | None = None
        self._scale, self._unscale = diagonal(STATE_SIZE, "state_scale"), diagonal(STATE_SIZE, "state_unscale")
        scaled = keras.Input((observation_size,), dtype="float32")
        begin = state_of(scaled)
        self.network = keras.Model(scaled, self._imagined(model, self._unscale(begin), begin, self._scaled,
                                                          self._action), name="i")
        self._run = tf.function(self.network, jit_compile=True, autograph=False)
        self.renew()

    def of(self, observation: np.ndarray) -> np.ndarray:
        """What robots imagine that are observed so, float32 [n, `shape.size`].

        Args:
            observation: as it comes, [n, observation_size]. With a model `beside` those of all robots as they are now.
        """
        if self.beside is None:
            return self._run(tf.constant(self._normalizer(observation))).numpy()
        state = state_of(observation)
        found = self._imagined(self.beside, state, self._scaled_in_numpy(state), self._scaled_in_numpy,
                               self.policy.action)
        return found.astype(np.float32)

    def renew(self) -> None:
        """From now on scale by the statistics of the normalizer as they are."""
        mean, std = self._normalizer.mean[:STATE_SIZE], np.sqrt(self._normalizer.variance[:STATE_SIZE])
        set_diagonal(self._scale, 1.0 / std, -mean / std)
        set_diagonal(self._unscale, std, mean)

    def _imagined(self, model: EnvironmentModel, state: Array, begin: Array, scaled: Callable[[Array], Array],
                  action: Callable[[Array], Array]) -> Array:
        """As `of`, for states and the same scaled."""
        shape = self.shape
        first = candidates(action(begin), shape)
        imagined = imagine_rows(model, lambda moment: action(scaled(moment.state)), model.begin(state, shape.branches),
                                shape.horizon, ops(begin).concatenate(first, axis=0))
        return told(imagined, first, scaled, shape)

    def _scaled(self, state: Array) -> Array:
        return keras.ops.clip(self._scale(state), -self._normalizer.clip, self._normalizer.clip)

    def _action(self, scaled: Array) -> Array:
        return keras.ops.tanh(self.policy.network(scaled))

    def _scaled_in_numpy(self, state: np.ndarray) -> np.ndarray:
        return self._normalizer.first(state, STATE_SIZE)
