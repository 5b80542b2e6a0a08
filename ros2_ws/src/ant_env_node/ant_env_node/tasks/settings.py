"""Which tasks: settings that every command with tasks has."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from ant_env_node.tasks.distribution import TaskDistribution
from ant_env_node.tasks.presets import PRESETS, STOCK, distribution
from ant_rl_core.settings import Settings, setting


@dataclass(frozen=True)
class TaskSettings(Settings):
    """Settings of a distribution of tasks."""

    tasks: str = setting(STOCK, "tasks, of which each trial has another one, see ./run tasks; none: Ant-v5 as it comes",
                         choices=(STOCK, *PRESETS))
    episodes_per_trial: int = setting(0, "episodes in the same task, over which memory goes on; 0 means as many as the "
                                      "tasks say", minimum=0)
    hazard: float = setting(-1.0, "chance per tick of another task within an episode; -1 means what the tasks say",
                            minimum=-1, maximum=1)

    def rules(self) -> Iterator[tuple[bool, str]]:
        yield (self.tasks != STOCK or not (self.episodes_per_trial or self.hazard >= 0),
               "tasks must be named where episodes_per_trial or hazard is given, such as tasks:=wired")

    def distribution(self) -> TaskDistribution | None:
        """The tasks that are asked for; None for Ant-v5 as it comes."""
        found = distribution(self.tasks)
        if found is None:
            return None
        return replace(found, episodes_per_trial=self.episodes_per_trial or found.episodes_per_trial,
                       hazard=self.hazard if self.hazard >= 0 else found.hazard)
