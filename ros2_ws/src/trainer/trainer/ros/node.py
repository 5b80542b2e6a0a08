"""The trainer as a ROS node: learns from `observation` and publishes `policy`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ant_rl_interfaces.msg import Observation
from std_srvs.srv import Trigger

from ant_rl_core.spec import ANT
from ant_rl_ros.lifecycle import EXIT_CONFIGURATION
from ant_rl_ros.messages import decode_observation, decode_tasks
from ant_rl_ros.node import StackNode
from ant_rl_ros.run import peer_hint, run
from trainer.checkpoint import CheckpointError
from trainer.ros.outbox import CannotBegin
from trainer.ros.settings import TrainerSettings
from trainer.ros.topics import Heard, TrainingTopics


class TrainerNode(StackNode):
    """Brings decoded ticks to a session of learning, and what it says to the others; see `trainer.ros.session`."""

    settings: TrainerSettings

    def __init__(self) -> None:
        super().__init__("trainer", TrainerSettings)

    def configure(self) -> None:
        """Import the method, check its settings and the output folder."""
        # TensorFlow takes seconds to import: not at the top, so that --help and a wrong parameter answer at once.
        from trainer.ros.planned import PlannedRun

        self._run = PlannedRun(self.settings)
        prefixes = self._run.prefixes
        self._topics = {ns: prefix + "observation" for ns, prefix in prefixes.items()}
        self._out = TrainingTopics(self, prefixes.values(), holds=self.settings.mode == "lockstep")
        self._service = self.create_service(Trigger, "~/save_checkpoint", self._save_now)
        self._session = self._run.session(self._out, self.stages)

    def activate(self) -> None:
        """Listen to the environments."""
        # In real time only the newest counts, except for those who learn from everything.
        keeps_all = self.settings.mode == "lockstep" or not self._run.on_policy
        self._heard = Heard(self, self._run.prefixes, self.settings.mode, keeps_all)
        self._session.open()

    def deactivate(self) -> None:
        """Stop listening, and let the environments go on."""
        self._out.release()
        self._heard.close()

    letting_go = 60  # the learner finishes the update that it is at

    def cleanup(self) -> None:
        """Forget the learner and leave the graph."""
        self._session.close()
        self.destroy_service(self._service)
        self._out.close()

    def work(self) -> None:
        """Bring what came, and let the session do what is due."""
        with self._ending_by_a_sentence():
            heard = self.loop.wait(0.01 if self._session.catching_up else 0.1)
            for ns, inbox in self._heard.tasks.items():
                for tasks in self.take(inbox, decode_tasks, "tasks"):
                    self._session.tell(ns, tasks)
            for ns, inbox in self._heard.observations.items():
                while inbox and not self._session.done:
                    self._take(ns, inbox.popleft())
            self._session.tend()
            if self._session.detail:
                self.state, self.detail = "running", self._session.detail
            if self._session.done:
                self.finish()
            elif not heard:
                self._say_waiting()

    def finished(self) -> None:
        """Save what a stop from outside would lose, and let the environments go on."""
        if self.exit_code == 0:
            with self._ending_by_a_sentence():
                self._session.end()
        self._out.release()

    def values(self) -> dict[str, float]:
        """Live figures for `timing`."""
        return self._session.values() if self.configured else {}

    @contextmanager
    def _ending_by_a_sentence(self) -> Iterator[None]:
        """End the node where the session can't begin, lost its numbers or can't write."""
        try:
            yield
        except (CannotBegin, CheckpointError, FloatingPointError, OSError) as error:
            self.get_logger().fatal(self._run.why_it_ended(error))
            # Where numbers were lost or there is no room, a new start may go on from the checkpoint.
            self.exit_code = EXIT_CONFIGURATION if isinstance(error, CannotBegin) else 1

    def _take(self, ns: str, message: Observation) -> None:
        try:
            tick = decode_observation(message, ANT)
        except ValueError as error:
            self.counters["invalid_observations"] += 1
            self.say("invalid", f"an observation on {self._topics[ns]} can't be used: {error}")
            return
        if not self._session.take(ns, tick):
            self.counters["invalid_observations"] += 1
            self.say("rows", f"{self._topics[ns]} must go on with {self._session.rows[ns]} robots, found "
                             f"{tick.num_envs}: start the trainer anew to learn from others")
            return
        for other in self._session.contested:
            self.contest(f"environments {other}", f"two environments publish on {self._topics[other]} at once: the "
                         "first is learned from; stop one, or give each its own namespace:=")
        self.ticks += 1
        self.state, self.detail = "running", self._session.detail
        if self.unsay("waiting"):
            self.get_logger().info("observations are back")

    def _save_now(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        problem = self._session.save()
        response.success = problem is None
        response.message = problem or f"saved to {self._run.folder.checkpoint}"
        return response

    def _say_waiting(self) -> None:
        if self._session.catching_up:
            return
        silent = [ns for ns in self._topics if not self.count_publishers(self._topics[ns])]
        if silent:
            topic = self._topics[silent[0]]
            self.state = "waiting"
            self.detail = f"waiting for an env node on {self.resolve_topic_name(topic)}"
            hint = peer_hint(self, topic, "ant_rl_interfaces/msg/Observation")
            self.say("waiting", self.detail + hint)


def main(args: list[str] | None = None) -> int:
    """Run the node."""
    return run(TrainerNode, args)
