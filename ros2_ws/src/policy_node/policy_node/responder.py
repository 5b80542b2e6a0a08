"""One observation in, one answer out: what a policy node does, without ROS around it."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from ant_rl_core.identity.sessions import SessionLock
from ant_rl_core.spec import RobotSpec
from ant_rl_core.step import Previous, TimeStep
from ant_rl_core.tick import Tick, Torques
from ant_rl_core.timing import StageTimer
from policy_node.safety import make_safe
from policy_node.slot import ActorSlot, Loaded

Standing = Literal["new", "resent", "outdated", "foreign"]


class Responder:
    """Answers observations, each tick once; keeps the actor's memory between them.

    What a row remembers is dropped where its trial is another one than at the last tick that was answered, and the
    actor is told that an episode ended where its episode is another one. A tick that was missed on the way, in real
    time a usual thing, changes neither, so it drops nothing: one input less spoils a memory less than having none.
    Since all of that depends on the answered ticks alone, a recording of those gives the same answers again.

    Args:
        slot: where the running actor is; exchanged at the start of a tick only.
        spec: the robot's sizes.
        node_id: random number of this run of the node, sent with each answer.
        counters: counts answered, resent, outdated, foreign, swaps, clipped (elements), zeroed (rows).
        stages: durations of `inference`.

    Attributes:
        sessions: which environment is answered.
        memory_off: nothing is remembered from tick to tick; the control of what a memory is worth.
    """

    def __init__(self, slot: ActorSlot, spec: RobotSpec, node_id: int, counters: Counter[str],
                 stages: StageTimer) -> None:
        self._slot = slot
        self._spec = spec
        self._node_id = node_id
        self._counters = counters
        self._stages = stages
        self.sessions = SessionLock()
        self.memory_off = False
        self._session: int | None = None
        self._step_id = -1
        self._running: Loaded | None = None
        self._last: TimeStep | None = None  # of the tick that was answered last
        self._state: Any = ()

    def standing(self, session: int, step_id: int) -> Standing:
        """How an observation stands to those that were answered; to be asked before anything else is done with it.

        new: it is to be answered. resent: it is the one that was answered last, and is to get the same answer again, so
        that neither the actor's memory nor its random numbers advance twice. outdated: it was overtaken, and gets none.
        foreign: it is of a second environment, and gets none.
        """
        if not self.sessions.admit(session):
            self._counters["foreign"] += 1
            return "foreign"
        if session != self._session or step_id > self._step_id:
            return "new"
        standing: Standing = "outdated" if step_id < self._step_id else "resent"
        self._counters[standing] += 1
        return standing

    def answer(self, tick: Tick) -> Torques | None:
        """The torques for a new observation; None while there is no actor."""
        if self._slot.swap():
            self._counters["swaps"] += 1
        loaded = self._slot.current
        if loaded is None:
            return None
        torques = self._act(tick, loaded)
        self._session, self._step_id, self._last = tick.session, tick.step_id, tick.time_step
        self._counters["answered"] += 1
        return torques

    def _act(self, tick: Tick, loaded: Loaded) -> Torques:
        previous, fresh = self._remembered(tick, loaded)
        start = time.perf_counter()
        action, extras, self._state = loaded.actor.act(tick.time_step.observation, previous, self._state, fresh)
        inference_time = time.perf_counter() - start
        self._stages.add("inference", inference_time)
        action, clipped, zeroed = make_safe(action)
        if clipped or zeroed:
            self._counters["clipped"] += clipped
            self._counters["zeroed"] += zeroed
        return Torques(tick.session, tick.step_id, action, extras, loaded.version, self._node_id, inference_time)

    def _remembered(self, tick: Tick, loaded: Loaded) -> tuple[Previous, np.ndarray]:
        """What happened before the tick, and the rows (bool [n]) that start anew."""
        step, last, before = tick.time_step, self._last, self._running
        previous = tick.previous(self._spec.action_size)
        self._running, self._slot.num_envs = loaded, tick.num_envs
        if (self.memory_off or last is None or before is None or tick.session != self._session
                or tick.num_envs != len(last.observation) or not _shares_memory(before, loaded)):
            self._state = loaded.actor.initial_state(tick.num_envs)
            return previous, np.ones(tick.num_envs, bool)
        ended = step.episode_id != last.episode_id  # also where the tick that told it was missed
        return replace(previous, done=ended), step.trial_id != last.trial_id


def _shares_memory(before: Loaded, after: Loaded) -> bool:
    """Whether an actor goes on with the memory of the one before."""
    key = after.actor.memory_key
    return after is before or (key is not None and key == before.actor.memory_key)
