"""The services of an env node: reset, pause, ticks one by one, and the robots' tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ant_rl_interfaces.srv import Reset, SetTask, Step
from std_srvs.srv import SetBool

from ant_env_node.stepper import Stepper
from ant_env_node.tasks.lookup import find_task
from ant_env_node.topics import EnvTopics

if TYPE_CHECKING:
    from ant_rl_ros.node import StackNode


class EnvServices:
    """Serves ~/reset, ~/pause, ~/step and ~/set_task.

    Args:
        node: whose services they are.
        stepper: what they act on.
        topics: where a new session, and other tasks, are published.
    """

    def __init__(self, node: StackNode, stepper: Stepper, topics: EnvTopics) -> None:
        self._node, self._stepper, self._topics = node, stepper, topics
        self._services = [node.create_service(Reset, "~/reset", self._on_reset),
                          node.create_service(SetBool, "~/pause", self._on_pause),
                          node.create_service(Step, "~/step", self._on_step),
                          node.create_service(SetTask, "~/set_task", self._on_set_task)]

    def close(self) -> None:
        """Destroy the services."""
        for service in self._services:
            self._node.destroy_service(service)

    def _on_reset(self, request: Reset.Request, response: Reset.Response) -> Reset.Response:
        seed = int(request.seed) if request.use_seed else None
        self._stepper.begin_session(seed)
        self._topics.session(self._stepper.tick.session, reseeded=seed is not None)
        self._node.report(force=True)  # whose session it is, before its first episode ends
        response.success, response.session = True, self._stepper.tick.session
        response.message = f"new session, {'random streams go on' if seed is None else f'seed {seed}'}"
        return response

    def _on_pause(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        self._stepper.pause(request.data)
        response.success = True
        response.message = f"{'paused' if request.data else 'running'} at tick {self._stepper.tick.step_id}"
        return response

    def _on_step(self, request: Step.Request, response: Step.Response) -> Step.Response:
        response.success = self._stepper.allow(request.steps)
        if response.success:
            response.message = f"{request.steps} ticks"
        else:
            response.message = "steps must be at least 1" if self._stepper.paused else "pause the environment first"
        response.step_id = self._stepper.tick.step_id + self._stepper.allowance
        return response

    def _on_set_task(self, request: SetTask.Request, response: SetTask.Response) -> SetTask.Response:
        num_envs = self._stepper.tick.num_envs
        try:
            task = find_task(request.task)
            if not -1 <= request.row < num_envs:
                raise ValueError(f"row must be from 0 to {num_envs - 1}, or -1 for all robots, found {request.row}")
            self._stepper.set_task(task, range(num_envs) if request.row == -1 else [request.row])
        except ValueError as error:
            response.success, response.message = False, f"refused: {error}"
        else:
            self._topics.tasks(self._node.stamp())
            whose = "all robots" if request.row == -1 else f"robot {request.row}"
            response.success = True
            response.message = f"{task.name} of {whose} from tick {self._stepper.tick.step_id} on"
        response.step_id = self._stepper.tick.step_id
        return response
