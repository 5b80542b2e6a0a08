"""The policy as a ROS node: answers each `observation` with `joint_torques`."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from ant_rl_interfaces.msg import JointTorques, Observation

from ant_rl_core.spec import ANT
from ant_rl_core.tick import Tick
from ant_rl_ros import qos
from ant_rl_ros.audience import Audience
from ant_rl_ros.messages import decode_observation, encode_torques
from ant_rl_ros.node import StackNode
from ant_rl_ros.run import peer_hint, run
from ant_rl_ros.wire import FlatCodec
from policy_node.actor import load_actor
from policy_node.responder import Responder
from policy_node.settings import PolicySettings
from policy_node.slot import ActorSlot
from policy_node.updates import PolicyUpdates

_SILENCE = 1.0  # [s] without an observation until the node says that it waits
_AUDIENCE_PATIENCE = 10.0  # [s] robots stand still meanwhile; a recorder may have ended before this node came back


class PolicyNode(StackNode):
    """Owns the topics and the slot of the running actor."""

    settings: PolicySettings

    def __init__(self) -> None:
        super().__init__("policy", PolicySettings)
        self._undo: list[Callable[[], Any]] = []

    def configure(self) -> None:
        """Load and check the policy, then take part in the graph; BundleError if it can't be used."""
        settings = self.settings
        load = partial(load_actor, backend=settings.backend, variant=settings.variant,
                       explore=settings.explore, seed=np.random.default_rng(settings.seed))
        self._slot = ActorSlot(load, ANT, settings.max_policy_bytes)
        if settings.policy:
            self.get_logger().info(self._slot.load_named(settings.policy))
        self._responder = Responder(self._slot, ANT, self.run_number, self.counters, self.stages)
        self._responder.memory_off = settings.memory_off
        self._torques = self.publisher(JointTorques, "joint_torques", settings.mode)
        self._audience = Audience(self, self._torques, settings.listeners, _AUDIENCE_PATIENCE)
        self._topic = self.resolve_topic_name("observation")
        self._inbox = self.loop.subscribe(Observation, "observation",
                                          qos.asking("observation", settings.mode), qos.overriding(), raw=True)
        self._observation_wire, self._torque_wire = FlatCodec(Observation), FlatCodec(JointTorques)
        self._template, self._kept = JointTorques(), b""  # filled anew at each tick; the newest answer
        self._undo = [partial(self.discard_publisher, self._torques), partial(self.loop.unsubscribe, self._inbox),
                      PolicyUpdates(self, self._slot).close]

    def activate(self) -> None:
        """Answer from now on."""
        self._heard = time.monotonic()

    def cleanup(self) -> None:
        """Leave the graph."""
        while self._undo:
            self._undo.pop()()

    def parameters_changed(self) -> None:
        """Remember from now on, or don't."""
        if self.configured:
            self._responder.memory_off = self.settings.memory_off

    def work(self) -> None:
        """Answer what came; say what is waited for where nothing comes."""
        self.loop.wait(0.02 if self._inbox else 0.1)
        if self._inbox and (awaited := self._audience.awaited()):
            self._wait_for(awaited)
        elif self._inbox:
            while self._inbox:
                self._answer(self._inbox.popleft())
        elif time.monotonic() - self._heard > _SILENCE:
            self._say_waiting()
        for sentence in self._slot.refusals():
            self.counters["refused_policies"] += 1
            self.get_logger().warning(sentence)

    def values(self) -> dict[str, float]:
        """The running version, for `timing`."""
        loaded = self._slot.current if self.configured else None
        return {"policy_version": float("nan") if loaded is None else float(loaded.version)}

    def _answer(self, data: bytes) -> None:
        start = self._heard = time.monotonic()
        try:
            message = self._observation_wire.read(data)
            standing = self._responder.standing(message.session, message.step_id)
            tick = decode_observation(message, ANT) if standing == "new" else None
        except ValueError as error:
            self.counters["invalid_observations"] += 1
            self.detail = f"no torque for {self._topic}: {error}"
            self.say("invalid", self.detail)
            return
        if self._responder.sessions.rival is not None:
            self.contest("environments", f"two environments publish on {self._topic} at once: the first is "
                                         "answered; stop one, or give each its own namespace:=")
        if standing in ("outdated", "foreign"):
            return
        if tick is not None:
            torques = self._responder.answer(tick)
            if torques is None:
                self._wait_for(f"waiting for a policy on {self.resolve_topic_name('policy')}")
                return
            self._mind_trials(tick)
            self._kept = self._torque_wire.write(encode_torques(torques, self.stamp(), self._template))
        self.send(self._torques, self._kept)
        self.ticks += 1
        self.stages.add("tick", time.monotonic() - start)
        if self.state != "running" or self.detail:
            self.state, self.detail = "running", ""
            if self.unsay("waiting"):
                self.get_logger().info("answering observations")

    def _say_waiting(self) -> None:
        if self.count_publishers("observation"):
            self._wait_for(f"waiting for the next observation on {self._topic}", tell=False)
        else:
            self._wait_for(f"waiting for an env node on {self._topic}"
                           + peer_hint(self, "observation", "ant_rl_interfaces/msg/Observation"))

    def _wait_for(self, sentence: str, tell: bool = True) -> None:
        if sentence != self.detail:
            self.unsay("waiting")
        self.state, self.detail = "waiting", sentence
        if tell:
            self.say("waiting", sentence, every_s=30.0)

    def _mind_trials(self, tick: Tick) -> None:
        """Say once where a memory of a whole trial is used for episodes only."""
        loaded = self._slot.current
        if not tick.tasks_told and loaded is not None and loaded.actor.manifest.memory == "trial":
            self.say("trials", "this policy's memory is made for trials, and the environment has no tasks: it begins "
                     "anew with each episode; start the environment with tasks:=NAME", every_s=math.inf)


def main(args: list[str] | None = None) -> int:
    """Run the node."""
    return run(PolicyNode, args)
