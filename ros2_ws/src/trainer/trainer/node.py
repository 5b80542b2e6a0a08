"""The trainer as a ROS node: learns from `observation` and publishes `policy`."""

from __future__ import annotations

import os
import time
from functools import partial
from pathlib import Path

from ant_rl_core.bundle import write as write_bundle
from ant_rl_core.spec import ANT
from ant_rl_interfaces.msg import Observation, PolicyUpdate, TrainingProgress
from ant_rl_ros import qos
from ant_rl_ros.messages import decode_observation
from ant_rl_ros.node import StackNode, peer_hint, run
from ant_rl_ros.parameters import Parameter
from rclpy.qos import QoSProfile
from std_srvs.srv import SetBool, Trigger

from trainer.codec import encode_policy, encode_progress
from trainer.collector import Collector

PARAMETERS = (
    Parameter("mode", "lockstep", "lockstep: hold the environments while learning. realtime: let them go on.",
              qos.MODES),
    Parameter("algorithm", "ppo", "Learning method."),
    Parameter("config", [""], "Settings of the method as NAME:=VALUE, see ./run train ALGORITHM --help."),
    Parameter("namespaces", [""], "Namespaces of the environments to learn from; empty text: the node's own."),
    Parameter("seed", 0, "Seed of networks and of the order of learning.", minimum=0),
    Parameter("output", "runs/ros", "Folder for checkpoint and policy."),
    Parameter("checkpoint_interval", 250_000, "Environment steps between checkpoints.", minimum=1),
    Parameter("resume", False, "Go on from the checkpoint in the output folder, if there is one."),
)
# The environment may run many ticks ahead while something else is served.
_DEPTH = 2000
_VERSIONS_PER_START = 1_000_000


class TrainerNode(StackNode):
    """Feeds decoded ticks to a learner and publishes what it learned."""

    def __init__(self) -> None:
        super().__init__("trainer", PARAMETERS)
        self._inboxes = {}
        self._rows: dict[str, int] = {}
        self._learner = None
        self._undo = []

    def configure(self) -> None:
        """Import the method, check its settings and the output folder."""
        # TensorFlow takes seconds to import: not at the top, so that --help and a wrong parameter answer at once.
        from trainer import checkpoint, settings
        from trainer.algorithms.table import ALGORITHMS
        from trainer.returns import EpisodeReturns

        name = self.settings["algorithm"]
        if name not in ALGORITHMS:
            raise ValueError(f"algorithm must be {' or '.join(ALGORITHMS)}, found {name!r}")
        self._make_learner, config_class = ALGORITHMS[name]
        arguments = dict(text.partition(":=")[::2] for text in self.settings["config"] if text)
        (self._config,) = settings.build([config_class], arguments)
        self._checkpoint, self._new_returns = checkpoint, EpisodeReturns
        self._folder = Path(self.settings["output"])
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ValueError(f"can't make the output folder {self._folder} ({error.strerror}): choose another "
                             "output") from error
        if not os.access(self._folder, os.W_OK):
            raise ValueError(f"can't write to the output folder {self._folder}: choose another output")
        self._namespaces = [ns.strip("/") for ns in self.settings["namespaces"]]
        self._progress = self.publisher(TrainingProgress, "training")
        topics = {ns: (f"/{ns}/" if ns else "") for ns in self._namespaces}
        self._policies = [self.publisher(PolicyUpdate, prefix + "policy", last_words=True)
                          for prefix in topics.values()]
        self._holds = [self.create_client(SetBool, f"{prefix}env/pause") for prefix in topics.values()]
        service = self.create_service(Trigger, "~/save_checkpoint", self._save_now)
        self._undo = [*(partial(self.discard_publisher, made) for made in (self._progress, *self._policies)),
                      *(partial(self.destroy_client, client) for client in self._holds),
                      partial(self.destroy_service, service)]
        self._topics = {ns: prefix + "observation" for ns, prefix in topics.items()}

    def activate(self) -> None:
        """Listen to the environments."""
        self._collector = Collector(self._namespaces)
        for ns, topic in self._topics.items():
            profile: QoSProfile = qos.profile("observation", self.settings["mode"])
            profile.depth = _DEPTH if self.settings["mode"] == "lockstep" else profile.depth
            self._inboxes[ns] = self.loop.subscribe(Observation, topic, profile, qos.overriding())
        if self._learner is not None:
            self._publish_policy()
        # An earlier run of this node may have been killed while it held them.
        self._held = set(self._holds)

    def deactivate(self) -> None:
        """Stop listening."""
        for inbox in self._inboxes.values():
            self.loop.unsubscribe(inbox)
        self._inboxes = {}

    def cleanup(self) -> None:
        """Forget the learner and leave the graph."""
        self._learner = None
        while self._undo:
            self._undo.pop()()

    def work(self) -> None:
        """Take what came, learn when there is enough."""
        if self._held:
            self._release()
        if not self.loop.wait(0.1):
            self._say_waiting()
            return
        try:
            for ns, inbox in self._inboxes.items():
                while inbox and self.exit_code is None:
                    self._take(ns, inbox.popleft())
        except FloatingPointError as error:  # what was learned is lost; a new start goes on from the checkpoint
            self.get_logger().fatal(str(error))
            self.finish(1)

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
        self._collector.add(ns, tick, learner.version if learner is not None else 0)
        if learner is None:
            rows = self._collector.num_envs()
            if rows is not None:
                self._start_learning(rows, tick.policy_version)
            return
        if tick.policy_version > learner.version:
            self._outrun(tick.policy_version)
        while not learner.ready() and (batch := self._collector.next_batch()) is not None:
            learner.observe(batch)
            self._returns.add(batch.reward, batch.terminated | batch.truncated)
        if learner.ready():
            self._learn()

    def _start_learning(self, rows: int, running_version: int) -> None:
        self._learner = self._make_learner(self._config, rows, ANT.observation_size, ANT.action_size,
                                           self.settings["seed"], robot=ANT.name)
        self._returns, self._updates = self._new_returns(rows), 0
        path = self._folder / "checkpoint.npz"
        resumed = self.settings["resume"] and path.exists()
        if resumed:
            self._learner.restore(self._checkpoint.load(path))
            # Versions after the checkpoint may be out there, with other weights: theirs are not used again.
            self._learner.version = (self._learner.version // _VERSIONS_PER_START + 1) * _VERSIONS_PER_START
            self.get_logger().info(f"resumed from {path} at {self._learner.env_steps} steps")
        self._learner.version = max(self._learner.version, running_version + 1)
        self._snapshot = self._learner.save()
        if resumed:
            self._save()
        self._next_checkpoint = self._learner.env_steps + self.settings["checkpoint_interval"]
        self._updated, self._steps_at_update = time.monotonic(), self._learner.env_steps
        self._publish_policy()
        self._finish_if_done()

    def _outrun(self, running_version: int) -> None:
        """Another learner's policy runs, and policy nodes take higher versions only: publish under a higher one."""
        self._learner.version = running_version + 1
        self.get_logger().info(f"policy version {running_version} is running: going on as {running_version + 1}")
        self._publish_policy()

    def _learn(self) -> None:
        learner = self._learner
        self.state, self.detail = "running", "learning; the environments are on hold"
        self._hold()
        with self.stages.stage("update"):
            metrics = learner.update()
        self._collector.drop_waiting()
        self._snapshot = learner.save()
        with self.stages.stage("export"):
            self._publish_policy()
        self._release()
        self._updates += 1
        self._publish_progress(metrics)
        if learner.env_steps >= self._next_checkpoint:
            self._next_checkpoint = learner.env_steps + self.settings["checkpoint_interval"]
            self._save()
        self._finish_if_done()

    def _finish_if_done(self) -> None:
        """End with checkpoint and policy once all steps were learned from."""
        steps = self._learner.env_steps
        if steps >= self._config.total_steps:
            self._save()
            path = self._folder / "policy.zip"
            try:
                write_bundle(path, self._learner.policy())
            except OSError as error:
                self.get_logger().fatal(f"can't write the policy {path} ({error.strerror}): make room, then resume")
                self.finish(1)
                return
            self.get_logger().info(f"{steps} steps learned from, policy in {path}")
            self.finish()

    def _hold(self) -> None:
        """Pause the environments; a robot in real time goes on with the policy it has."""
        if self.settings["mode"] == "lockstep":
            for client in self._holds:
                if client.service_is_ready():
                    client.call_async(SetBool.Request(data=True))
                    self._held.add(client)

    def _release(self) -> None:
        """Let the environments go on; one that can't be reached yet, later."""
        for client in list(self._held):
            if client.service_is_ready():
                client.call_async(SetBool.Request(data=False))
                self._held.remove(client)

    def _publish_policy(self) -> None:
        bundle = self._learner.policy()
        message = encode_policy(bundle, self._learner.version, self.get_clock().now().to_msg())
        for publisher in self._policies:
            publisher.publish(message)

    def _publish_progress(self, metrics: dict[str, float]) -> None:
        now = time.monotonic()
        learner = self._learner
        mean_return, mean_length = self._returns.means()
        figures = {"env_steps": learner.env_steps, "updates": self._updates, "policy_version": learner.version,
                   "mean_return": mean_return, "mean_length": mean_length,
                   "steps_per_second": (learner.env_steps - self._steps_at_update) / (now - self._updated),
                   "dropped_rows": self._collector.dropped_rows}
        self._updated, self._steps_at_update = now, learner.env_steps
        self._progress.publish(encode_progress(learner.name, figures, metrics, self.get_clock().now().to_msg()))

    def _save(self) -> str | None:
        """Write the state after the last update; returns what went wrong, if anything did."""
        try:
            self._checkpoint.save(self._folder / "checkpoint.npz", self._snapshot)
        except self._checkpoint.CheckpointError as error:
            self.say("checkpoint", str(error))
            return str(error)
        return None

    def _save_now(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        if self._learner is None:
            response.success, response.message = False, "nothing was learned yet: no observation came"
            return response
        problem = self._save()
        response.success = problem is None
        response.message = problem or f"saved to {self._folder / 'checkpoint.npz'}"
        return response

    def _say_waiting(self) -> None:
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
