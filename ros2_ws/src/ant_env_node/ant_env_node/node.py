"""The environment node: simulated robots that publish `observation` and act on `joint_torques`."""

from __future__ import annotations

from ant_rl_interfaces.msg import JointTorques

from ant_env_node.services import EnvServices
from ant_env_node.settings import EnvSettings
from ant_env_node.stepper import make_stepper
from ant_env_node.topics import EnvTopics
from ant_rl_core.spec import ANT
from ant_rl_ros import qos
from ant_rl_ros.messages import decode_torques
from ant_rl_ros.node import StackNode
from ant_rl_ros.run import parted, peer_hint, run
from ant_rl_ros.wire import FlatCodec


class EnvNode(StackNode):
    """Brings torques to a `Stepper`, lets it look at the clock, sends and says what it decides (its `Outside`)."""

    settings: EnvSettings

    def __init__(self) -> None:
        super().__init__("env", EnvSettings)
        self._finished_episodes = 0

    def configure(self) -> None:
        self._stepper = make_stepper(self.settings, self, self.counters, self.stages)
        self._topics = EnvTopics(self, self._stepper, self.settings)
        profile = qos.asking("joint_torques", self.settings.mode)
        self._inbox = self.loop.subscribe(JointTorques, "joint_torques", profile, qos.overriding(), raw=True)
        self._inbox_topic, self._wire = self.resolve_topic_name("joint_torques"), FlatCodec(JointTorques)
        self._own_services = EnvServices(self, self._stepper, self._topics)
        self._audience = self._topics.audience(self.settings.listeners)
        self._begun = False
        self._topics.session(self._stepper.tick.session, reseeded=True)

    def activate(self) -> None:
        self._stepper.resume()

    def cleanup(self) -> None:
        self.loop.unsubscribe(self._inbox)
        self._topics.close()
        self._own_services.close()
        self._stepper.close()

    def parameters_changed(self) -> None:
        if self.configured:
            self._stepper.change(self.settings)

    def values(self) -> dict[str, float]:
        if not self.configured:
            return {}
        return {"ticks": self.ticks, "env_steps": self.ticks * self.settings.num_envs,
                "episode": self._finished_episodes, **self._stepper.values()}

    def work(self) -> None:
        stepper = self._stepper
        if not self._begun:
            self._await_audience()
            return
        if stepper.fresh:
            self._publish_new()
            if self.exit_code is not None:  # that was the last one
                return
        if stepper.held:
            self.state, self.detail = "paused", ""
            self.loop.wait(0.1)
            self.loop.discard()
            return
        if (patience := stepper.patience()) > 0.0:
            self.loop.wait(patience)
        # What was served meanwhile may have reset it, paused it, or made the node inactive.
        while self._inbox and self.active and stepper.listening:
            self._take(self._inbox.popleft())
        if self.active and stepper.listening:
            self.ticks += stepper.pass_time()

    def _publish_new(self) -> None:
        """Publish the new observation first, then do the bookkeeping while the policy computes."""
        stamp = self.stamp()
        self._stepper.sending()
        self._topics.tick(self.ticks, stamp)
        for episode in self._stepper.settle():
            self._topics.episode(episode, stamp)
            self._finished_episodes += 1
        episodes, steps = self.settings.episodes, self.settings.steps
        if (episodes and self._finished_episodes >= episodes) or (steps and self.ticks >= steps):
            self.finish()

    def _take(self, data: bytes) -> None:
        try:
            message = self._wire.read(data)
            if not self._stepper.admits(message.session, message.policy_node):
                return
            torques = decode_torques(message, self.settings.num_envs, ANT)
        except ValueError as error:
            self.counters["invalid"] += 1
            self.say("invalid", f"dropped an answer to tick {self._stepper.tick.step_id}: {error}")
            return
        self.ticks += self._stepper.take(torques)

    def _await_audience(self) -> None:
        awaited = self._audience.awaited()
        if not awaited:
            self._begun = True
            self._stepper.resume()
            return
        self.state, self.detail = "waiting", awaited
        self.say("listeners", awaited + parted(self))
        self.loop.wait(0.02)
        self.loop.discard()

    # As the stepper's Outside

    def resend(self) -> None:
        self._topics.resend()

    def waiting(self, what: str, seconds: float) -> None:
        self.state = "waiting"
        self.detail = self.say("silent", lambda: self._silence(what, seconds)) or self.detail

    def _silence(self, what: str, seconds: float) -> str:
        there = self.count_publishers(self._inbox_topic)
        return (f"{what} on {self._inbox_topic} (tick {self._stepper.tick.step_id} unanswered for {seconds:.1f} s; "
                f"{there or 'none'} {'publish' if there > 1 else 'publishes'} there)"
                + peer_hint(self, "joint_torques", "ant_rl_interfaces/msg/JointTorques"))

    def answered(self, seconds: float) -> None:
        self.state, self.detail = "running", ""
        if self.unsay("silent"):
            self.get_logger().info(f"a policy node answers on {self._inbox_topic} after {seconds:.1f} s")

    def resumed(self) -> None:
        if self.active:
            self.state, self.detail = "running", ""

    def rival(self, used: int | None, other: int) -> None:
        self.say("rival", f"two policy nodes answer on {self._inbox_topic}: using the run {used}, "
                          f"not {other}; stop one, or give each its own namespace:=")

    def contested(self, other: int) -> None:
        self.contest("policies", f"two policy nodes answered at once on {self._inbox_topic}: one is run {other}")


def main(args: list[str] | None = None) -> int:
    """Entry point of the executable `env_node`."""
    return run(EnvNode, args)
