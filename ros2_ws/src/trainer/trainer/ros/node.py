"""The trainer as a ROS node: learns from `observation` and publishes `policy`."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any

from ant_rl_interfaces.msg import Observation
from rclpy.qos import QoSProfile
from std_srvs.srv import Trigger

from ant_rl_core.files import write_atomically
from ant_rl_core.spec import ANT
from ant_rl_core.step import Transition, unshaped_reward
from ant_rl_ros import qos
from ant_rl_ros.messages import decode_observation
from ant_rl_ros.node import EXIT_CONFIGURATION, StackNode
from ant_rl_ros.run import peer_hint, run
from trainer.ros.background import BackgroundLearning
from trainer.ros.collector import Collector
from trainer.ros.settings import MAX_BEHIND, TrainerSettings
from trainer.ros.topics import TrainingTopics

# The environment may run many ticks ahead while something else is served.
_DEPTH = 2000
_VERSIONS_PER_START = 1_000_000
_PERIOD = 1.0  # [s] between messages on progress, and between requests to hold, of methods that learn all the time


class TrainerNode(StackNode):
    """Feeds decoded ticks to a learner and publishes what it learned.

    An on-policy learner makes its updates here, with the environments on hold, and a new policy comes of each. Any
    other learns in a thread of its own, from what every version of the policy did.
    """

    settings: TrainerSettings

    def __init__(self) -> None:
        super().__init__("trainer", TrainerSettings)
        self._inboxes = {}
        self._rows: dict[str, int] = {}
        self._learner = None
        self._background: BackgroundLearning | None = None
        self._undo = []

    def configure(self) -> None:
        """Import the method, check its settings and the output folder."""
        # TensorFlow takes seconds to import: not at the top, so that --help and a wrong parameter answer at once.
        from ant_rl_core import settings
        from trainer import checkpoint, guard
        from trainer.algorithms.table import ALGORITHMS
        from trainer.metrics import mean_metrics
        from trainer.runs import returns

        name = self.settings.algorithm
        if name not in ALGORITHMS:
            raise ValueError(f"algorithm must be {' or '.join(ALGORITHMS)}, found {name!r}")
        method = ALGORITHMS[name]
        self._make_learner, self._on_policy = method.learner, method.learner.on_policy
        arguments = dict(text.partition(":=")[::2] for text in self.settings.config if text)
        (self._config,) = settings.build([method.config], arguments)
        self._checkpoint, self._returns_module, self._mean_metrics = checkpoint, returns, mean_metrics
        self._check_weights = guard.check_weights
        self._folder = Path(self.settings.output)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ValueError(f"can't make the output folder {self._folder} ({error.strerror}): choose another "
                             "output") from error
        if not os.access(self._folder, os.W_OK):
            raise ValueError(f"can't write to the output folder {self._folder}: choose another output")
        self._checkpoint_path = self._folder / "checkpoint.npz"
        if self._checkpoint_path.exists() and not self.settings.resume:
            raise ValueError(f"{self._folder} already holds a training: add resume:=true to go on with it, or choose "
                             "another output")
        self._namespaces = [ns.strip("/") for ns in self.settings.namespaces]
        prefixes = {ns: (f"/{ns}/" if ns else "") for ns in self._namespaces}
        self._out = TrainingTopics(self, prefixes.values(), holds=self.settings.mode == "lockstep")
        service = self.create_service(Trigger, "~/save_checkpoint", self._save_now)
        self._undo = [self._out.close, partial(self.destroy_service, service)]
        self._topics = {ns: prefix + "observation" for ns, prefix in prefixes.items()}

    def activate(self) -> None:
        """Listen to the environments."""
        self._collector = Collector(self._namespaces)
        for ns, topic in self._topics.items():
            profile: QoSProfile = qos.profile("observation", self.settings.mode)
            # In real time only the newest counts, except for those who learn from everything.
            if self.settings.mode == "lockstep" or not self._on_policy:
                profile.depth = _DEPTH
            self._inboxes[ns] = self.loop.subscribe(Observation, topic, profile, qos.overriding())
        self._catching_up = False
        if self._learner is not None:
            self._publish_policy()

    def deactivate(self) -> None:
        """Stop listening, and let the environments go on."""
        self._out.release()
        for inbox in self._inboxes.values():
            self.loop.unsubscribe(inbox)
        self._inboxes = {}

    def cleanup(self) -> None:
        """Forget the learner and leave the graph."""
        if self._background is not None:
            self._background.close()
        self._learner = self._background = None
        while self._undo:
            self._undo.pop()()

    def work(self) -> None:
        """Take what came, learn when there is enough."""
        if self._out.held and not self._catching_up:
            self._out.release()
        try:
            heard = self.loop.wait(0.01 if self._catching_up else 0.1)
            for ns, inbox in self._inboxes.items():
                while inbox and self.exit_code is None:
                    self._take(ns, inbox.popleft())
            if self._background is not None and self.exit_code is None:
                self._mind_learning()
        except FloatingPointError as error:  # what was learned is lost; a new start goes on from the checkpoint
            self.get_logger().fatal(str(error))
            self.finish(1)
            return
        if not heard:
            self._say_waiting()

    def finished(self) -> None:
        """Save what a stop from outside would lose, and let the environments go on."""
        try:
            if self._learner is not None and self.exit_code == 0 and self._saved_steps != self._learner.env_steps:
                self._save()
        except FloatingPointError as error:
            self.get_logger().fatal(str(error))
            self.exit_code = 1
        self._out.release()

    def values(self) -> dict[str, float]:
        """Live figures for `timing`."""
        if self._learner is None:
            return {}
        return {"env_steps": float(self._learner.env_steps), "policy_version": float(self._learner.version),
                "mean_return": self._returns.means()[0], "dropped_rows": float(self._collector.dropped_rows)}

    def _take(self, ns: str, message: Observation) -> None:
        try:
            tick = decode_observation(message, ANT)
        except ValueError as error:
            self.counters["invalid_observations"] += 1
            self.say("invalid", f"an observation on {self._topics[ns]} can't be used: {error}")
            return
        if self._learner is not None and tick.num_envs != self._rows.get(ns):
            self.counters["invalid_observations"] += 1
            self.say("rows", f"{self._topics[ns]} must go on with {self._rows.get(ns)} robots, found {tick.num_envs}: "
                             "start the trainer anew to learn from others")
            return
        self.ticks += 1
        self.state, self.detail = "running", ""
        self._rows[ns] = tick.num_envs
        if self.unsay("waiting"):
            self.get_logger().info("observations are back")
        learner = self._learner
        # A learner that is on-policy learns from what its present policy did, from nothing else.
        version = learner.version if learner is not None else 0
        self._collector.add(ns, tick, version if self._on_policy else None)
        if learner is None:
            rows = self._collector.num_envs()
            if rows is not None:
                self._start_learning(rows, tick.policy_version)
            return
        if tick.policy_version > max(learner.version, self._outrun_by):
            self._outrun(tick.policy_version)
        if self._background is not None:
            while learner.env_steps < self._config.total_steps and (batch := self._next_batch()) is not None:
                self._background.take(batch)
            return
        while not learner.ready() and (batch := self._next_batch()) is not None:
            learner.observe(batch)
        if learner.ready():
            self._learn()

    def _next_batch(self) -> Transition | None:
        batch = self._collector.next_batch()
        if batch is not None:
            self._returns.add(unshaped_reward(batch), batch.terminated | batch.truncated)
        return batch

    def _start_learning(self, rows: int, running_version: int) -> None:
        self._out.hold()  # making the learner takes seconds; the next piece of work lets them go
        self._learner = self._make_learner(self._config, rows, ANT.observation_size, ANT.action_size,
                                           self.settings.seed, robot=ANT.name)
        self._returns, self._updates = self._returns_module.EpisodeReturns(rows), 0
        self._outrun_by, self._recent = 0, []
        self._offer: Future[tuple[bytes, int]] | None = None
        path = self._checkpoint_path
        resumed = self.settings.resume and path.exists()
        if resumed:
            try:
                self._learner.restore(self._checkpoint.load(path))
            except (ValueError, self._checkpoint.CheckpointError) as error:
                self._learner = None
                self.get_logger().fatal(str(error))
                self.finish(EXIT_CONFIGURATION)
                return
            # Versions after the checkpoint may be out there, with other weights: theirs are not used again.
            self._learner.version = (self._learner.version // _VERSIONS_PER_START + 1) * _VERSIONS_PER_START
            self.get_logger().info(f"resumed from {path} at {self._learner.env_steps} steps")
        self._learner.version = max(self._learner.version, running_version + 1)
        if not self._on_policy:
            self._background = BackgroundLearning(self._learner)
        else:
            self._snapshot = self._learner.save()
            if resumed:
                self._save()
        self._saved_steps = self._learner.env_steps
        self._updated, self._steps_at_update = time.monotonic(), self._learner.env_steps
        self._publish_policy()
        self._finish_if_done()

    def _outrun(self, running_version: int) -> None:
        """Another learner's policy runs, and policy nodes take higher versions only: publish under a higher one."""
        self._outrun_by = running_version
        self.get_logger().info(f"policy version {running_version} is running: going on with higher ones")
        self._with_learner(partial(setattr, self._learner, "version", running_version + 1))
        self._publish_policy()

    def _learn(self) -> None:
        """One update of an on-policy learner, and the policy that comes of it."""
        learner = self._learner
        self.state, self.detail = "running", "learning; the environments are on hold"
        self._out.hold()
        with self.stages.stage("update"):
            metrics = learner.update()
        self._collector.drop_waiting()
        self._snapshot = learner.save()
        with self.stages.stage("export"):
            self._publish_policy()
        self._out.release()
        self._updates += 1
        self._publish_progress(metrics)
        self._save_if_due()
        self._finish_if_done()

    def _mind_learning(self) -> None:
        """What is due while a learner that is not on-policy learns in its thread."""
        learner, background, now = self._learner, self._background, time.monotonic()
        figures, behind = background.metrics(), background.behind
        self._updates += len(figures)
        self._recent += figures
        # Asked again now and then: an environment that starts anew runs.
        if behind > MAX_BEHIND and not (self._catching_up and now - self._asked_to_hold < _PERIOD):
            self._out.hold()
            self._catching_up, self._asked_to_hold = bool(self._out.held), now
        elif not behind:
            self._catching_up = False
        if self._catching_up:
            self.state, self.detail = "running", "learning; the environments are on hold"
        if self._offer is not None and self._offer.done():
            self._send_policy(*self._offer.result())
            self._offer = None
        elif (self._offer is None and learner.version != self._sent_version
              and now - self._sent >= self.settings.policy_interval):
            self._offer = background.call(self._export)
        if now - self._updated >= _PERIOD and (self._recent or learner.env_steps != self._steps_at_update):
            self._publish_recent()
        self._save_if_due()
        if not behind:
            self._finish_if_done()

    def _publish_recent(self) -> None:
        """Progress since the last message on it."""
        recent, self._recent = self._recent, []
        self._publish_progress(self._mean_metrics(recent))

    def _finish_if_done(self) -> None:
        """End with checkpoint and policy once all steps were learned from."""
        steps = self._learner.env_steps
        if steps >= self._config.total_steps:
            self._save()
            path = self._folder / "policy.zip"
            policy, version = self._with_learner(self._export)
            if self._background is not None:
                self._send_policy(policy, version)
                self._publish_recent()
            try:
                write_atomically(path, policy)
            except OSError as error:
                self.get_logger().fatal(f"can't write the policy {path} ({error.strerror}): make room, then resume")
                self.finish(1)
                return
            self.get_logger().info(f"{steps} steps learned from, policy in {path}")
            self.finish()

    def _with_learner(self, function: Callable[[], Any]) -> Any:
        """What `function` returns, called when the learner is not at work."""
        return function() if self._background is None else self._background.call(function).result()

    def _export(self) -> tuple[bytes, int]:
        # What a replay needs to make the learner again.
        about = {"seed": self.settings.seed, "num_envs": sum(self._rows.values())}
        return self._learner.policy(about), self._learner.version

    def _publish_policy(self) -> None:
        self._send_policy(*self._with_learner(self._export))

    def _send_policy(self, bundle: bytes, version: int) -> None:
        self._sent, self._sent_version = time.monotonic(), version
        self._out.send_policy(bundle, version)

    def _publish_progress(self, metrics: dict[str, float]) -> None:
        now = time.monotonic()
        learner = self._learner
        mean_return, mean_length = self._returns.means()
        figures = {"env_steps": learner.env_steps, "updates": self._updates, "policy_version": learner.version,
                   "mean_return": mean_return, "mean_length": mean_length,
                   "steps_per_second": (learner.env_steps - self._steps_at_update) / (now - self._updated),
                   "dropped_rows": self._collector.dropped_rows}
        self._updated, self._steps_at_update = now, learner.env_steps
        self._out.send_progress(learner.name, figures, metrics)

    def _save_if_due(self) -> None:
        if self._learner.env_steps - self._saved_steps >= self.settings.checkpoint_interval:
            self._save()

    def _save(self) -> str | None:
        """Write a checkpoint; returns what went wrong, if anything did.

        Of an on-policy learner it is the state after the last update: within a rollout there is none to go on from.
        """
        self._saved_steps = self._learner.env_steps
        try:
            if self._background is None:
                self._write(self._snapshot)
            else:
                self._out.hold()  # what comes meanwhile might be more than the inbox holds
                self._background.call(lambda: self._write(self._learner.save())).result()
        except self._checkpoint.CheckpointError as error:
            self.say("checkpoint", str(error))
            return str(error)
        return None

    def _write(self, state: dict[str, Any]) -> None:
        self._check_weights(state, self._learner.env_steps)
        self._checkpoint.save(self._checkpoint_path, state)

    def _save_now(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        if self._learner is None:
            response.success, response.message = False, "nothing was learned yet: no observation came"
            return response
        problem = self._save()
        response.success = problem is None
        response.message = problem or f"saved to {self._checkpoint_path}"
        return response

    def _say_waiting(self) -> None:
        if self._catching_up:
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
