"""The contract of a model of the environment, whatever is behind it."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

from trainer.models import kinematics
from trainer.models.kinematics import ops
from trainer.models.layout import spread

Array = Any  # np.ndarray or tf.Tensor


class Moment(NamedTuple):
    """Where imagined robots are, one row each; numpy arrays or tensors.

    Attributes:
        state: float [r, 27], see `kinematics`.
        place: float [r, 2], how far the torso has moved since imagining began, along x and y [m].
        displacement: float [r, 2], what of it is of the step that led here.
        contact: float [r], sum of the squared clipped contact forces after that step.
        reward: float [r], what the model itself says of the reward of that step; None where it says nothing, and the
            reward is the known function of the rest.
        inside: what only the model understands.
        task: float [r, VECTOR_SIZE], the task's vector as it is there, see `ant_env_node.tasks.moving.seen`; whoever
            imagines goes on with it, models know nothing of it. None: tasks are not told.
    """

    state: Array
    place: Array
    displacement: Array
    contact: Array
    reward: Array | None = None
    inside: Any = None
    task: Array | None = None


class EnvironmentModel(Protocol):
    """What comes of a state and an action.

    Rows are independent of each other, and a model knows no ends: it goes on from wherever it is told to. Rows of
    several branches lie as `layout` has them.
    """

    def begin(self, observation: Array, branches: int = 1) -> Moment:
        """Robots as they are observed, each `branches` times.

        Args:
            observation: float [n, 105], or more or fewer numbers that begin with the state's 27.
            branches: K, how often each is imagined.

        Returns:
            K * n rows.
        """

    def step(self, moment: Moment, action: Array) -> Moment:
        """One control period later, with actions [r, 8] in [-1, 1]."""


def start(observation: Array, branches: int = 1) -> Moment:
    """Where robots are observed, nothing having happened yet: what `begin` of a model without an inside gives."""
    state = spread(kinematics.state_of(observation), branches)
    zeros = ops(state).zeros_like
    return Moment(state, zeros(state[:, :2]), zeros(state[:, :2]), zeros(state[:, 0]))
