"""What the table of a family says of a learning method. Nothing here imports a learning library."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, cast, runtime_checkable

if TYPE_CHECKING:
    from ant_env_node.vec_env import VectorAnt
    from ant_rl_core.contracts import Learner


@runtime_checkable
class LooksBeside(Protocol):
    """A learner that may look into the simulation of the robots that it learns with, in the same process."""

    def meet(self, live: VectorAnt) -> None:
        """These are the robots; it does not change them."""


class LearnerFactory(Protocol):
    """The class of a method's learner.

    Attributes:
        on_policy: see `contracts.Learner`.
    """

    on_policy: bool

    def __call__(self, config: Any, num_envs: int, observation_size: int, action_size: int, seed: int,
                 robot: str = ...) -> Learner:
        """A learner that has seen nothing yet.

        Args:
            config: settings, of the class `Method.config`.
            num_envs: robots that it collects with.
            observation_size, action_size: sizes of the robot.
            seed: of everything that is random.
            robot: name of the robot, for the bundle.

        Raises:
            ValueError: settings that don't go with this number of robots.
        """


@dataclass(frozen=True)
class Method:
    """A learning method; the module that has it, and TensorFlow, is imported when its learner or config is asked for.

    Attributes:
        module: where both classes are.
        learner_name, config_name: names of the classes of its learner and of its settings.
        num_envs: how many robots it likes to collect with.
        summary: what it is, in one line.
        short_run: settings that a task of a few thousand steps needs other than the defaults, besides smaller networks,
            faster rates and an earlier start, which it needs with every method.
        needs_tasks: it learns from tasks only (`Transition.task`), not from one environment as it comes; its learner
            takes their distribution as `tasks`.
        needs_ant: it knows how the Ant moves, and learns with no other robot.
        max_episode_steps: time limit of the episodes that it likes to learn from.
    """

    module: str
    learner_name: str
    config_name: str
    num_envs: int
    summary: str
    short_run: Mapping[str, Any] = field(default_factory=dict)
    needs_tasks: bool = False
    max_episode_steps: int = 1000
    needs_ant: bool = False

    @property
    def learner(self) -> LearnerFactory:
        """The class of its learner."""
        return cast("LearnerFactory", self._class(self.learner_name))

    @property
    def config(self) -> type[Any]:
        """The class of its settings, a frozen dataclass."""
        return cast("type[Any]", self._class(self.config_name))

    def _class(self, name: str) -> object:
        return getattr(importlib.import_module(self.module), name)
