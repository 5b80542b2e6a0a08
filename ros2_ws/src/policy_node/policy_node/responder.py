"""One Observation in, one JointTorques out: what a policy node does, without ROS around it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from ant_rl_interfaces.msg import JointTorques, Observation

from ant_rl_core.spec import RobotSpec
from ant_rl_core.tick import Tick, Torques
from ant_rl_core.timing import StageTimer
from ant_rl_ros.messages import decode_observation, encode_torques
from policy_node.safety import make_safe
from policy_node.slot import ActorSlot, Loaded


class Responder:
    """Answers observations, each tick once; keeps the actor's memory between them.

    Args:
        slot: where the running actor is; exchanged at the start of a tick only.
        spec: the robot's sizes.
        node_id: random number of this run of the node, sent with each answer.
        counters: counts answered, resent, outdated, swaps, clipped (elements), zeroed (rows).
        stages: durations of `inference`.
    """

    def __init__(self, slot: ActorSlot, spec: RobotSpec, node_id: int, counters: Counter[str],
                 stages: StageTimer) -> None:
        self._slot = slot
        self._spec = spec
        self._node_id = node_id
        self._counters = counters
        self._stages = stages
        self._session: int | None = None
        self._step_id = -1
        self._kept: JointTorques | None = None
        self._running: Loaded | None = None
        self._num_envs = 0
        self._state: Any = ()

    def answer(self, message: Observation, now: Callable[[], Any]) -> JointTorques | None:
        """What to send for one observation; None for one that was overtaken, and while there is no actor.

        An observation that was answered already gets the kept answer again: the actor's memory and its random
        numbers do not advance twice.

        Args:
            message: the observation.
            now: gives the stamp of the answer, a builtin_interfaces Time.

        Raises:
            ValueError: the message does not fit this robot; the sentence says what was expected.
        """
        if message.session == self._session and message.step_id <= self._step_id:
            if message.step_id < self._step_id:
                self._counters["outdated"] += 1
                return None
            self._counters["resent"] += 1
            return self._kept
        tick = decode_observation(message, self._spec)
        if self._slot.swap():
            self._counters["swaps"] += 1
        loaded = self._slot.current
        if loaded is None:
            return None
        torques = self._act(tick, loaded)
        self._session, self._step_id = tick.session, tick.step_id
        self._kept = encode_torques(torques, now(), self._kept)
        self._counters["answered"] += 1
        return self._kept

    def _act(self, tick: Tick, loaded: Loaded) -> Torques:
        rows = tick.num_envs
        if tick.session != self._session or loaded is not self._running or rows != self._num_envs:
            # Another run, another actor, other robots: nothing to remember.
            self._state = loaded.actor.initial_state(rows)
            self._running, self._num_envs = loaded, rows
            self._slot.num_envs = rows
        start = time.perf_counter()
        action, extras, self._state = loaded.actor.act(
            tick.time_step.observation, tick.previous(self._spec.action_size), self._state, tick.reset_mask)
        inference_time = time.perf_counter() - start
        self._stages.add("inference", inference_time)
        action, clipped, zeroed = make_safe(action)
        if clipped or zeroed:
            self._counters["clipped"] += clipped
            self._counters["zeroed"] += zeroed
        return Torques(tick.session, tick.step_id, action, extras, loaded.version, self._node_id, inference_time)
