"""Which guide goes with which tasks."""

from __future__ import annotations

from ant_env_node.tasks.distribution import TaskDistribution
from ant_env_node.tasks.presets import leg_actuators
from ant_env_node.tasks.symmetry import NUM_LEGS
from ant_env_node.tasks.task import Task
from ant_rl_core.settings import ArgumentError
from trainer.algorithms.meta.guided.contract import Guide
from trainer.algorithms.meta.guided.described import Described
from trainer.algorithms.meta.guided.heading import Delay, Heading
from trainer.algorithms.meta.guided.lost_leg import LostLeg
from trainer.algorithms.meta.guided.motors import Legs, Motors


def guide_for(tasks: TaskDistribution, told: bool = False) -> Guide:
    """The guide for what differs between the tasks, and for a policy that is told its task, or is not.

    Raises:
        ArgumentError: there is none, or the tasks don't differ.
    """
    differs = tasks.differs()
    if told:
        if len(tasks.train) < 2:
            raise ArgumentError(f"a teacher that is told its task must have several, found one in {tasks.name}")
        return Described(tasks)
    signs = {abs(strength) for task in tasks.train for strength in task.gear} == {1.0}
    if differs == {"heading"}:
        return Heading()
    if differs == {"delay"}:
        return Delay(max(task.delay for task in tasks.train))
    if signs and differs == {"gear"}:
        return Motors()
    if differs == {"gear"} and all(_lacks_a_leg_at_most(task) for task in tasks.train):
        return LostLeg()
    if signs and differs <= {"gear", "wiring"}:
        return Legs()
    raise ArgumentError("the teacher can be told of headings, of delays, of a leg that is lost, and of motors whose "
                        f"signs or cables differ, found {tasks.name}, in which {', '.join(sorted(differs))} differ: "
                        "train one with task_input:=true and give it as teacher:=BUNDLE")


def _lacks_a_leg_at_most(task: Task) -> bool:
    """Whether it differs from the stock Ant by one leg at most, whose motors are dead."""
    weak = [set(task.gear[place] for place in leg_actuators(leg)) - {1.0} for leg in range(NUM_LEGS)]
    return sum(map(bool, weak)) <= 1 and all(each in (set(), {0.0}) for each in weak)
