"""The environment node: simulated robots that publish `observation` and act on `joint_torques`.

Lock-step: every tick waits for the torques that answer it. Real time: 20 ticks per second of the steady clock with
the newest torques, and zero torque where they are too old.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np
from ant_rl_interfaces.msg import EpisodeSummary, JointTorques, Observation, Session
from ant_rl_interfaces.srv import Reset, Step
from std_srvs.srv import SetBool

from ant_env_node.codec import encode_session
from ant_env_node.episodes import EpisodeLedger
from ant_env_node.make import shape
from ant_env_node.settings import EnvSettings
from ant_env_node.shaping import ShapedEnv
from ant_env_node.state_topics import StateTopics
from ant_env_node.vec_env import VectorAnt
from ant_env_node.watchdog import PolicyLock, TorqueWatchdog
from ant_rl_core.spec import ANT
from ant_rl_core.step import TimeStepEnv
from ant_rl_core.tick import Tick, Torques, new_run_number
from ant_rl_ros import qos
from ant_rl_ros.messages import decode_torques, encode_observation
from ant_rl_ros.node import StackNode
from ant_rl_ros.run import peer_hint, run
from ant_rl_ros.telemetry import encode_episode
from ant_rl_ros.wire import FlatCodec

RESEND_PERIOD = 0.2  # [s] between two copies of an unanswered observation


class EnvNode(StackNode):
    """Steps a `VectorAnt` with the torques of one policy node."""

    settings: EnvSettings
    # The newest tick, when it is to be answered in real time [s], and since when nobody answers [s].
    _tick: Tick
    _deadline: float
    _silent_since: float | None
    _ledger: EpisodeLedger
    _watchdog: TorqueWatchdog[Torques]

    def __init__(self) -> None:
        super().__init__("env", EnvSettings)
        self._finished_episodes = 0

    def configure(self) -> None:
        settings = self.settings
        mode = settings.mode
        self._ant = VectorAnt(settings.num_envs, settings.seed, settings.num_threads or None)
        self._env: TimeStepEnv | ShapedEnv = shape(TimeStepEnv(self._ant), settings.shaping_config())
        self._observations = self.publisher(Observation, "observation", mode, last_words=True)
        self._episodes = self.publisher(EpisodeSummary, "episode", last_words=True)
        self._sessions = self.publisher(Session, "session", last_words=True)
        self._inbox = self.loop.subscribe(JointTorques, "joint_torques", qos.asking("joint_torques", mode),
                                          qos.overriding(), raw=True)
        self._states = StateTopics(self, self._ant.model, settings.state_rate) if settings.publish_state else None
        self._own_services = [self.create_service(Reset, "~/reset", self._on_reset),
                              self.create_service(SetBool, "~/pause", self._on_pause),
                              self.create_service(Step, "~/step", self._on_step)]
        self._template = Observation()  # filled anew at each tick
        self._wire, self._torque_wire = FlatCodec(Observation), FlatCodec(JointTorques)
        self._inbox_topic = self.resolve_topic_name("joint_torques")
        self._paused, self._allowance = False, 0
        self._listened = not settings.listeners
        self._lock = PolicyLock(settings.response_timeout)
        self._zero = np.zeros((settings.num_envs, ANT.action_size), np.float32)
        self._begin_session(settings.seed)

    def activate(self) -> None:
        self._resume()

    def cleanup(self) -> None:
        self.loop.unsubscribe(self._inbox)
        self.discard_publisher(self._observations)
        self.discard_publisher(self._episodes)
        self.discard_publisher(self._sessions)
        if self._states is not None:
            self._states.close()
        for service in self._own_services:
            self.destroy_service(service)
        self._env.close()

    def parameters_changed(self) -> None:
        if self.configured:
            self._lock.silence = self.settings.response_timeout
            self._watchdog.timeout = self.settings.torque_timeout

    def values(self) -> Mapping[str, float]:
        if not self.configured:
            return {}
        return {"ticks": self.ticks, "env_steps": self.ticks * self._env.num_envs, "episode": self._finished_episodes,
                "episode_step": self._tick.time_step.step[0], "episode_return": self._ledger.episode_return[0],
                "forward_speed": self._ledger.take_speed(), "step_id": self._tick.step_id}

    def work(self) -> None:
        if not self._listened:
            self._await_listeners()
            return
        if self._fresh:
            self._publish_new()
            if self.exit_code is not None:  # that was the last one
                return
        if self._paused and not self._allowance:
            self.state, self.detail = "paused", ""
            self.loop.wait(0.1)
            self.loop.discard()
        elif self.settings.mode == "lockstep":
            self._work_lockstep()
        else:
            self._work_realtime()

    # The two modes

    def _work_lockstep(self) -> None:
        self.loop.wait(0.1)
        while self._inbox and not self._interrupted:
            torques = self._admit(self._inbox.popleft())
            if torques is not None and torques.step_id != self._tick.step_id:
                self.counters["stale"] += 1
            elif torques is not None:
                self.stages.add("round_trip", time.monotonic() - self._sent)
                self._advance(torques.action, torques.extras, torques.policy_version)
                return
        self._mind_silence("waiting for a policy node")

    def _work_realtime(self) -> None:
        while (left := self._deadline - time.monotonic()) > 0.0 and self.loop.running:
            self.loop.wait(left)
            if self._interrupted:
                return
            while self._inbox:
                torques = self._admit(self._inbox.popleft())
                if torques is None:
                    continue
                if not self._watchdog.received(torques.step_id, torques):
                    self.counters["stale"] += 1
                elif torques.step_id == self._tick.step_id:
                    self.stages.add("round_trip", time.monotonic() - self._sent)
        now = time.monotonic()
        self.stages.add("lateness", now - self._deadline)
        self._deadline += ANT.control_period
        if now > self._deadline:  # a whole period late: don't hurry after it
            self.counters["overruns"] += 1
            self._deadline = now + ANT.control_period
        if not self._watchdog.heard:
            self._mind_silence("waiting for a policy node")
            return
        torques = self._watchdog.current(now)
        if torques is None:
            self.counters["deadline_misses"] += 1
            self._mind_silence("zero torque, for there is no fresh one from a policy node")
            self._advance(self._zero, {}, 0)
        elif self._watchdog.answers(self._tick.step_id):
            self._advance(torques.action, torques.extras, torques.policy_version)
        else:  # chosen for an older observation, so what is known of its probability doesn't hold
            self.counters["torque_gaps"] += 1
            self._advance(torques.action, {}, torques.policy_version)

    # One tick

    def _publish_new(self) -> None:
        """Publish the new observation first, then do the bookkeeping while the policy computes."""
        stamp = self.stamp()
        self._sent = self._first_sent = time.monotonic()
        self._sent_bytes = self._wire.write(encode_observation(self._tick, stamp, self._template))
        self.send(self._observations, self._sent_bytes)
        self._watchdog.sent(self._tick.step_id, self._sent)
        self._fresh = False
        if self._states is not None:
            self._states.publish(self._ant.data(0), self.ticks * ANT.control_period, stamp)
        if self._tick.action is None:
            return
        for episode in self._ledger.add(self._tick.time_step, self._tick.policy_version):
            self.send(self._episodes, encode_episode(episode, stamp))
            self._finished_episodes += 1
        episodes, steps = self.settings.episodes, self.settings.steps
        if (episodes and self._finished_episodes >= episodes) or (steps and self.ticks >= steps):
            self.finish()

    def _advance(self, action: np.ndarray, extras: Mapping[str, np.ndarray], policy_version: int) -> None:
        """Apply torques for one control period."""
        outside = np.abs(action) > 1.0
        if outside.any():
            self.counters["clipped"] += int(np.count_nonzero(outside))
            action = np.clip(action, -1.0, 1.0)
        start = time.monotonic()
        time_step = self._env.step(action)
        self.stages.add("physics", time.monotonic() - start)
        self._tick = Tick(self._tick.session, self._tick.step_id + 1, time_step, action, extras, policy_version)
        self._fresh = True
        self.ticks += 1
        self._allowance = max(0, self._allowance - 1)
        if self._silent_since is not None and action is not self._zero:
            self._hear_again(time.monotonic() - self._silent_since)

    def _begin_session(self, seed: int | None) -> None:
        self._tick = Tick(new_run_number(), 0, self._env.reset(seed))
        self.send(self._sessions, encode_session(self._tick.session, self.settings.mode, self._ant.np_random_seed,
                                                 seed is not None, self.settings.shaping_config(), self.stamp()))
        self._ledger = EpisodeLedger(self._tick.time_step, self._ant.np_random_seed, self._tick.session)
        self._watchdog = TorqueWatchdog(self.settings.torque_timeout)
        self._fresh = True  # the newest observation is still to be published
        self._resume()

    def _resume(self) -> None:
        """Send the newest observation (again) and begin to wait for its answer now."""
        now = time.monotonic()
        self._sent, self._first_sent = now - RESEND_PERIOD, now
        self._deadline = now + ANT.control_period
        self._silent_since = None
        if self.active:
            self.state, self.detail = "running", ""

    @property
    def _interrupted(self) -> bool:
        """Whether a callback that was served while waiting has changed what is to be done next."""
        return self._fresh or not self.active or (self._paused and not self._allowance)

    # Torques that come, and those that don't

    def _admit(self, data: bytes) -> Torques | None:
        """The torques of this session from the one policy that is listened to; None, counted, for any others."""
        try:
            message = self._torque_wire.read(data)
            if message.session != self._tick.session:
                self.counters["stale"] += 1
                return None
            if not self._lock.admit(message.policy_node, time.monotonic()):
                self.counters["rival"] += 1
                self.say("rival", f"two policy nodes answer on {self._inbox_topic}: using the run {self._lock.owner}, "
                                  f"not {message.policy_node}; stop one, or give each its own namespace:=")
                return None
            return decode_torques(message, self._env.num_envs, ANT)
        except ValueError as error:
            self.counters["invalid"] += 1
            self.say("invalid", f"dropped an answer to tick {self._tick.step_id}: {error}")
            return None

    def _mind_silence(self, what: str) -> None:
        """Send the observation again now and then; say whom the node waits for, and how long already."""
        if self._interrupted:
            return
        now = time.monotonic()
        if now - self._sent >= RESEND_PERIOD:
            self._sent = now
            self.send(self._observations, self._sent_bytes)
            self._watchdog.sent(self._tick.step_id, now)
            self.counters["resent"] += 1
        if self._silent_since is None:
            self._silent_since = self._first_sent
        silent = now - self._silent_since
        if silent < self.settings.response_timeout:
            return
        self.state = "waiting"
        said = self.say("silent", lambda: self._silence(what, silent))
        self.detail = said or self.detail

    def _silence(self, what: str, seconds: float) -> str:
        there = self.count_publishers(self._inbox_topic)
        return (f"{what} on {self._inbox_topic} (tick {self._tick.step_id} unanswered for {seconds:.1f} s; "
                f"{there or 'none'} {'publish' if there > 1 else 'publishes'} there)"
                + peer_hint(self, "joint_torques", "ant_rl_interfaces/msg/JointTorques"))

    def _hear_again(self, silent: float) -> None:
        self._silent_since = None
        self.state, self.detail = "running", ""
        if self.unsay("silent"):
            self.get_logger().info(f"a policy node answers on {self._inbox_topic} after {silent:.1f} s")

    def _await_listeners(self) -> None:
        wanted = self.settings.listeners
        if self._episodes.get_subscription_count() >= wanted:
            self._listened = True
            self._resume()
            return
        self.state, self.detail = "waiting", f"waits for {wanted} listener(s) of {self._episodes.topic_name}"
        self.say("listeners", self.detail)
        self.loop.wait(0.02)
        self.loop.discard()

    # Services

    def _on_reset(self, request: Reset.Request, response: Reset.Response) -> Reset.Response:
        seed = int(request.seed) if request.use_seed else None
        self._begin_session(seed)
        response.success, response.session = True, self._tick.session
        response.message = f"new session, {'seed ' + str(seed) if request.use_seed else 'random streams go on'}"
        return response

    def _on_pause(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        if self._paused and not request.data:
            self._resume()
        self._paused, self._allowance = request.data, 0
        response.success = True
        response.message = f"{'paused' if request.data else 'running'} at tick {self._tick.step_id}"
        return response

    def _on_step(self, request: Step.Request, response: Step.Response) -> Step.Response:
        response.success = self._paused and request.steps > 0
        if response.success:
            self._resume()
            self._allowance += request.steps
            response.message = f"{request.steps} ticks"
        else:
            response.message = "steps must be at least 1" if self._paused else "pause the environment first"
        response.step_id = self._tick.step_id + self._allowance
        return response


def main(args: list[str] | None = None) -> int:
    """Entry point of the executable `env_node`."""
    return run(EnvNode, args)
