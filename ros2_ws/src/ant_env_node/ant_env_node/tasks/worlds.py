"""Tasks without the Ant, for methods that are to find out their task: seconds where physics takes hours."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ant_env_node.tasks.bandit import Bandit, bayes_optimal
from ant_env_node.tasks.distribution import TaskDistribution
from ant_env_node.tasks.point2d import Point2D
from ant_env_node.tasks.presets import PRESETS, STOCK
from ant_env_node.tasks.settings import TaskSettings
from ant_env_node.tasks.tiny import TinyEnv
from ant_rl_core import settings
from ant_rl_core.settings import Settings, setting
from ant_rl_core.spec import ANT, RobotSpec


@dataclass(frozen=True)
class World:
    """An environment that comes with its tasks, drawn anew for each trial from more than can be counted.

    Attributes:
        name: of the preset.
        meaning: what it is about, in a line.
        make: the environment for a number of rows, a seed and a part ("train" or "held_out").
        settings: of the run, of its method and of an evaluation, that this world needs other than their defaults; a
            method that has no such setting goes without.
        yardstick: what to compare a trial's return with, and how much that is; computed when it is asked for.
    """

    name: str
    meaning: str
    make: Callable[[int, int | None, str], TinyEnv]
    settings: Mapping[str, str] = field(default_factory=dict)
    yardstick: Callable[[], tuple[str, float]] | None = None


def _bandit(pulls: int, name: str, yardstick: Callable[[], tuple[str, float]], **settings: str) -> World:
    return World(name, f"five arms that pay with chances unknown, {pulls} pulls",
                 lambda num_envs, seed, part: Bandit(num_envs, seed, part, arms=5, pulls=pulls),
                 {"head": "categorical", "num_envs": "256", "minibatch_rows": "64", "evaluation_episodes": "2000",
                  "episodes": "2000", "reward_scale": "1.0", "discount": "1.0", "learning_rate": "0.003", "epochs": "4",
                  "entropy_coefficient": "0.03", "input_hidden": "32", "actor_hidden": "32", "curve_interval": "50000",
                  **settings},
                 yardstick)


WORLDS: Mapping[str, World] = {world.name: world for world in (
    _bandit(10, "bandit", lambda: ("the most that any policy can earn (dynamic programming)", bayes_optimal(5, 10)),
            rollout_length="50", gae_lambda="0.7", total_steps="1000000"),
    _bandit(100, "bandit100", lambda: ("Gittins' index (arXiv:1611.02779, table 1)", 78.3), rollout_length="100",
            gae_lambda="0.97", learning_rate="0.002", total_steps="12000000"),
    World("point2d", "a point goes to a place on a circle that it isn't told", Point2D,
          {"num_envs": "64", "rollout_length": "40", "reward_scale": "1.0", "learning_rate": "0.001",
           "total_steps": "500000", "evaluation_episodes": "500",
           "episodes": "500", "curve_interval": "25000"}),
)}


@dataclass(frozen=True)
class AnyTaskSettings(TaskSettings):
    """Settings of tasks, of the Ant or without it."""

    tasks: str = setting(STOCK, "tasks, of which each trial has another one, see ./run tasks; none: Ant-v5 as it comes",
                         choices=(STOCK, *PRESETS, *WORLDS))

    def rules(self) -> Iterator[tuple[bool, str]]:
        yield from super().rules()
        yield (self.tasks not in WORLDS or not (self.episodes_per_trial or self.hazard >= 0),
               f"tasks must be of the Ant where episodes_per_trial or hazard is given, such as {next(iter(PRESETS))}")

    def any_tasks(self) -> TaskDistribution | World | None:
        """The tasks that are asked for; None for Ant-v5 as it comes."""
        return WORLDS[self.tasks] if self.tasks in WORLDS else self.distribution()


def with_settings(classes: Sequence[type[Settings]], arguments: Mapping[str, str]) -> Mapping[str, str]:
    """Arguments for these classes, with what the world that they name needs where they don't say otherwise."""
    world = WORLDS.get(arguments.get("tasks", STOCK))
    if world is None:
        return arguments
    known = {name for each in classes for name, _, _ in settings.describe(each)}
    return {**{name: value for name, value in world.settings.items() if name in known}, **arguments}


def robot_of(tasks: TaskDistribution | World | None) -> RobotSpec:
    """Whose tasks they are."""
    return tasks.make(1, 0, "train").robot if isinstance(tasks, World) else ANT
