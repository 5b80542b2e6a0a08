"""Two robots with the same seed in the same task, which changes while they walk: what happens, tick by tick."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ant_env_node.tasks.ant import TaskAnt
from ant_env_node.tasks.task import Task
from ant_rl_core.contracts import Actor
from ant_rl_core.spec import ANT
from ant_rl_tools.demo.scenes import Scene
from ant_rl_tools.video.walker import Walker


@dataclass
class Robot:
    """One of the two, and how it does.

    Attributes:
        name: of its policy.
        role: what the policy is, a word.
        walker: what walks.
        total: return, over all its episodes.
        speed: the way it is to go, in the last tick [m/s].
        distance: that way, over all its episodes [m].
        falls: how often an episode ended by one; it stands at the start again then, and its memory is fresh.
        belief: what it believed in the last tick, float32 [k]; None where its policy says nothing of that.
        rightly: for each task that it met, ticks until all of it was believed rightly; None: never.
    """

    name: str
    role: str
    walker: Walker
    total: float = 0.0
    speed: float = 0.0
    distance: float = 0.0
    falls: int = 0
    belief: np.ndarray | None = None
    rightly: list[int | None] = field(default_factory=list)


class Show:
    """The scene with its two robots.

    Args:
        scene: what is shown.
        tasks: the task at the start, and that after the change.
        seed: of both robots.
        ticks: how long, in control ticks.
        actors: of the policy that adapts, and of the one beside it.

    Attributes:
        robots: the one that adapts, and the one beside it.
        tick: how many were made.
        task: of both robots now.
        since: tick at which that task began.
    """

    def __init__(self, scene: Scene, tasks: tuple[Task, Task], seed: int, ticks: int,
                 actors: tuple[Actor, Actor]) -> None:
        self.scene, self.tasks, self.seed, self.ticks = scene, tasks, seed, ticks
        self.change_at = round(scene.change_at / ANT.control_period)
        self.tick = 0
        self.robots = tuple(
            Robot(name, role, Walker(actor, TaskAnt(1, None, seed=seed, num_threads=1, max_episode_steps=ticks + 1)))
            for name, role, actor in zip((scene.policy, scene.memoryless), ("adaptive", "memoryless"), actors,
                                         strict=True))
        for robot in self.robots:
            robot.walker.begin(seed)
        self._give(tasks[0])

    @property
    def time(self) -> float:
        """Since the start [s]."""
        return self.tick * ANT.control_period

    def step(self) -> None:
        """One control tick of both; the task changes before the one that is due."""
        if self.tick == self.change_at:
            self._give(self.tasks[1])
        for robot in self.robots:
            self._step(robot)
        self.tick += 1

    def is_believed(self, robot: Robot) -> np.ndarray:
        """bool [k], which numbers of the robot's belief are right; empty where it has none."""
        return np.zeros(0, bool) if robot.belief is None else self.scene.is_believed(robot.belief, self.task)

    def close(self) -> None:
        """End the simulations."""
        for robot in self.robots:
            robot.walker.close()

    def _give(self, task: Task) -> None:
        self.task, self.since = task, self.tick
        for robot in self.robots:
            ant = robot.walker.ant
            assert isinstance(ant, TaskAnt)  # made above
            ant.set_task(0, task)
            robot.rightly.append(None)

    def _step(self, robot: Robot) -> None:
        move = robot.walker.step()
        after = move.after
        fell = bool(after.done[0])  # there is no other end
        info = after.info["final_info"] if fell else after.info
        heading = self.task.heading or 0.0
        velocity = info["x_velocity"][0] * np.cos(heading) + info["y_velocity"][0] * np.sin(heading)
        robot.speed = float(velocity)
        robot.distance += robot.speed * ANT.control_period
        robot.total += float(after.reward[0])
        robot.falls += fell
        robot.belief = move.extras["belief"][0] if "belief" in move.extras else None
        right = self.is_believed(robot)
        if robot.rightly[-1] is None and right.size and right.all():
            robot.rightly[-1] = self.tick - self.since + 1
