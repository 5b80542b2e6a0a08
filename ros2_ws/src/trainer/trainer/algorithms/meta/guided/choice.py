"""Which guide goes with which tasks."""

from __future__ import annotations

from ant_env_node.tasks.distribution import TaskDistribution
from ant_env_node.tasks.presets import without_leg
from ant_env_node.tasks.symmetry import NUM_LEGS
from ant_env_node.tasks.task import Task
from ant_rl_core.settings import ArgumentError
from trainer.algorithms.meta.guided.contract import Guide
from trainer.algorithms.meta.guided.described import Described
from trainer.algorithms.meta.guided.heading import Delay, Heading
from trainer.algorithms.meta.guided.lost_leg import LostLeg
from trainer.algorithms.meta.guided.motors import Legs, Motors

_WITHOUT_A_LEG = {Task().gear, *(without_leg(leg).gear for leg in range(NUM_LEGS))}


def guide_for(tasks: TaskDistribution, told: bool = False) -> Guide:
    """The guide for what differs between the tasks, and for a policy that is told its task, or is not.

    Raises:
        ArgumentError: there is none, or the tasks don't differ.
    """
    differs = tasks.differs()
    if told:
        if len(tasks.train) < 2:
            raise ArgumentError(f"a teacher that is told its task must have several, found one in {tasks.name}")
        if "hit_radius" in differs:
            raise ArgumentError(f"a teacher that is told its task can't be followed where that is a ball, which nobody "
                                f"sees who isn't told, found {tasks.name}: learn by another method, with "
                                "task_input:=true")
        return Described(tasks)
    signs = {abs(strength) for task in tasks.train for strength in task.gear} == {1.0}
    if differs == {"heading"}:
        return Heading()
    if differs == {"delay"}:
        return Delay(max(task.delay for task in tasks.train))
    if signs and differs == {"gear"}:
        return Motors()
    if differs == {"gear"} and {task.gear for task in tasks.train} <= _WITHOUT_A_LEG:
        return LostLeg()
    if signs and differs <= {"gear", "wiring"}:
        return Legs()
    raise ArgumentError("the teacher can be told of headings, of delays, of a leg that is lost, and of motors whose "
                        f"signs or cables differ, found {tasks.name}, in which {', '.join(sorted(differs))} differ: "
                        "train one with task_input:=true and give it as teacher:=BUNDLE")
