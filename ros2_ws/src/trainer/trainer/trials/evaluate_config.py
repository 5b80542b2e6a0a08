"""Settings of an evaluation."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass

from ant_env_node.tasks.distribution import PARTS
from ant_env_node.tasks.presets import STOCK
from ant_env_node.tasks.worlds import AnyTaskSettings
from ant_rl_core import bundle as policy_bundle, settings
from ant_rl_core.settings import setting
from policy_node.actor import BACKENDS

BOTH = "both"


@dataclass(frozen=True)
class EvaluateConfig(AnyTaskSettings):
    """Settings of an evaluation."""

    episodes: int = setting(20, "how many episodes, with tasks how many trials, each of all its episodes; the robot "
                            "of number k is reset with seed + k, so the result is repeatable", minimum=1)
    seed: int = setting(1000, "seed of the first episode", minimum=0)
    backend: str = setting("litert", "litert or keras", choices=tuple(BACKENDS))
    variant: str = setting(policy_bundle.FLOAT32, "which of the bundle's variants: float32, or a smaller one that it "
                           "has, such as int8")
    num_envs: int = setting(0, "robots at a time; 0 means as many as episodes, at most 32", minimum=0)
    num_threads: int = setting(0, "threads that step physics; 0 means one per core", minimum=0)
    task_part: str = setting("held_out", "which of the tasks: those to train on, those held out, or both, apart",
                           choices=(*PARTS, BOTH))
    steps: int = setting(1000, "time limit of the episodes", minimum=1)
    controls: bool = setting(False, "beside a policy with a memory, the same with its memory zeroed at each tick, with "
                             "that of another robot, and without being told its action and reward before")
    probe: bool = setting(False, "how well the task is told, linearly, by the memory of a policy, tick by tick")
    summary: str = setting("", "path for the result as JSON; empty means none", path=True)

    def rules(self) -> Iterator[tuple[bool, str]]:
        yield from super().rules()
        yield (self.tasks != STOCK or not self.probe,
               "tasks must be named where a probe is to tell them, such as tasks:=wired")


def help_text() -> str:
    """What the command does, and every setting with its default and meaning."""
    return "\n".join([
        "usage: ./run eval BUNDLE [BUNDLE …] [key:=value …]", "",
        *textwrap.wrap("Evaluates policies, paths or names of shipped ones. Several, or any with tasks:=NAME, come in "
                       "one table, with the same robots, tasks and seeds: returns by place of the episode in the "
                       "trial, the first 200 steps apart, speed, falls, what came of changes of the task. Beside "
                       "them: analytic, the shipped policy behind a formula that finds out the task (for wired, "
                       "lost_leg and directions), and told, the same policy told its task (for swapped too).", 100), "",
        "settings, with their defaults:", *settings.help_lines(EvaluateConfig)])
