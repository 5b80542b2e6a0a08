"""Which guide goes with which tasks."""

from __future__ import annotations

from ant_env_node.tasks.distribution import TaskDistribution
from ant_rl_core.settings import ArgumentError
from trainer.algorithms.meta.guided.contract import Guide
from trainer.algorithms.meta.guided.described import Described
from trainer.algorithms.meta.guided.heading import Delay, Heading
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
    if signs and differs <= {"gear", "wiring"}:
        return Legs()
    raise ArgumentError("the teacher can be told of headings, of delays, and of motors whose signs or cables differ, "
                        f"found {tasks.name}, in which {', '.join(sorted(differs))} differ: train one with "
                        f"task_input:=true and give it as teacher:=BUNDLE")
