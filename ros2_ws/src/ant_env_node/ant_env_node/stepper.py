"""Robots that are stepped with the torques that come: what an env node does, without ROS around it.

Lock-step: every tick waits for the torques that answer it. Real time: 20 ticks per second of the steady clock with
the newest torques, and zero torque where they are too old.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ant_env_node.episodes import EpisodeLedger
from ant_env_node.make import ants, open_to_tasks, shape
from ant_env_node.outside import Outside
from ant_env_node.settings import EnvSettings
from ant_env_node.tasks.ant import TaskAnt
from ant_env_node.tasks.record import TaskRecord
from ant_env_node.tasks.task import Task
from ant_env_node.watchdog import PolicyLock, TorqueWatchdog
from ant_rl_core.spec import ANT
from ant_rl_core.step import TimeStepEnv
from ant_rl_core.telemetry import Episode
from ant_rl_core.tick import Tick, Torques, new_run_number
from ant_rl_core.timing import StageTimer

RESEND_PERIOD = 0.2  # [s] between two copies of an unanswered observation
_LOOK_PERIOD = 0.1  # [s] lock-step: at most so long until an unanswered observation is looked at


class Stepper(ABC):
    """Owns the robots and the tick they are at; decides for torques that come and for time that passes.

    Whoever drives it sends what is `fresh` (`sending`, then `settle`), waits for at most `patience` seconds, brings
    what came meanwhile (`admits`, then `take`) while it is `listening`, and then lets it look at the clock
    (`pass_time`). The first session begins at once.

    Args:
        settings: robots, seed, shaping and timeouts; the mode is the class's own (see `make_stepper`).
        outside: is told what to send and to say.
        counters: counts stale, rival, clipped (elements), resent; in real time overruns, deadline_misses, torque_gaps.
        stages: durations of round_trip and physics; in real time lateness.
        clock: steady time [s].

    Attributes:
        ant: the robots; others of the same kind once they were given tasks that they were not begun with.
        tick: the newest one.
        tasks: of the robots, at that tick.
        fresh: its observation is still to be sent.
        paused, allowance: no tick is made while paused, except so many.
    """

    def __init__(self, settings: EnvSettings, outside: Outside, counters: Counter[str], stages: StageTimer,
                 clock: Callable[[], float] = time.monotonic) -> None:
        self._settings, self._outside, self._clock = settings, outside, clock
        self._counters, self._stages = counters, stages
        self.ant = ants(settings.num_envs, settings.seed, settings.num_threads or None, settings.task_distribution(),
                        settings.task_part)
        self._env = shape(TimeStepEnv(self.ant), settings.shaping_config())
        self.tasks = TaskRecord()
        self._lock = PolicyLock(settings.response_timeout)
        self.paused, self.allowance = False, 0
        self.begin_session(settings.seed)

    def begin_session(self, seed: int | None) -> None:
        """Reset all robots, under a new number; their random streams begin anew with a seed, and go on without."""
        self.tick = self.tasks.look(self.ant, Tick(new_run_number(), 0, self._env.reset(seed)))
        self._ledger = EpisodeLedger(self.tick.time_step, self.ant.np_random_seed, self.tick.session)
        self.fresh = True
        self.resume()

    def resume(self) -> None:
        """Begin to wait for an answer now; the newest observation is due to be sent again."""
        now = self._clock()
        self._sent, self._first_sent = now - RESEND_PERIOD, now
        self._silent_since: float | None = None
        self._outside.resumed()

    def change(self, settings: EnvSettings) -> None:
        """Take over the timeouts."""
        self._settings = settings
        self._lock.silence = settings.response_timeout

    def set_task(self, task: Task, rows: Sequence[int]) -> None:
        """Give these robots a task, in which the answer to the newest tick acts; all else goes on."""
        if not isinstance(self.ant, TaskAnt):
            self.ant, self._env = open_to_tasks(self._env, self._settings.shaping_config())
        for row in rows:
            self.ant.set_task(row, task)
        self.tick = self.tasks.look(self.ant, self.tick, rows)

    def close(self) -> None:
        """Release the robots."""
        self._env.close()

    # Pause and single ticks

    def pause(self, paused: bool) -> None:
        """Make no ticks from now on, or go on."""
        if self.paused and not paused:
            self.resume()
        self.paused, self.allowance = paused, 0

    def allow(self, ticks: int) -> bool:
        """Make so many ticks and pause again; False, and nothing changes, unless paused and `ticks` above 0."""
        if not self.paused or ticks < 1:
            return False
        self.resume()
        self.allowance += ticks
        return True

    @property
    def held(self) -> bool:
        """Paused, with no tick allowed."""
        return self.paused and not self.allowance

    @property
    def listening(self) -> bool:
        """Whether torques for the newest tick are wanted now."""
        return not (self.fresh or self.held)

    # One tick

    def sending(self) -> None:
        """The newest observation is sent right after this: it is fresh no longer, and waits for its answer."""
        self._first_sent = self._clock()
        self._mark_sent(self._first_sent)
        self.fresh = False

    def settle(self) -> list[Episode]:
        """Keep the books of the newest tick, while its observation is answered; the episodes that it ended."""
        if self.tick.action is None:
            return []
        return self._ledger.add(self.tick.time_step, self.tick.policy_version, self.tasks.acted_in)

    def values(self) -> dict[str, float]:
        """First robot's episode_step, episode_return, forward_speed [m/s] since the last call; session, step_id."""
        return {"episode_step": self.tick.time_step.step[0], "episode_return": self._ledger.episode_return[0],
                "forward_speed": self._ledger.take_speed(), "session": self.tick.session, "step_id": self.tick.step_id}

    # What comes, and what does not

    @abstractmethod
    def patience(self) -> float:
        """How long to wait for torques until `pass_time` is due [s]; 0 or below: not at all."""

    def admits(self, session: int, policy_node: int) -> bool:
        """Whether torques are of this session and of the one policy that is listened to; counted where not."""
        if session != self.tick.session:
            self._counters["stale"] += 1
            return False
        if not self._lock.admit(policy_node, self._clock()):
            self._counters["rival"] += 1
            self._outside.rival(self._lock.owner, policy_node)
            return False
        if self._lock.beside is not None:
            self._outside.contested(self._lock.beside)
        return True

    @abstractmethod
    def take(self, torques: Torques) -> bool:
        """Take torques that `admits` let in; whether they made a tick."""

    @abstractmethod
    def pass_time(self) -> bool:
        """Do what the clock calls for, everything that came having been brought; whether that made a tick."""

    def _act(self, torques: Torques, extras: Mapping[str, np.ndarray]) -> None:
        """Apply a policy's torques for one control period."""
        self._advance(torques.action, extras, torques.policy_version)
        if self._silent_since is not None:
            silent, self._silent_since = self._clock() - self._silent_since, None
            self._outside.answered(silent)

    def _advance(self, action: np.ndarray, extras: Mapping[str, np.ndarray], policy_version: int) -> None:
        outside = np.abs(action) > 1.0
        if outside.any():
            self._counters["clipped"] += int(np.count_nonzero(outside))
            action = np.clip(action, -1.0, 1.0)
        start = self._clock()
        time_step = self._env.step(action)
        self._stages.add("physics", self._clock() - start)
        made = Tick(self.tick.session, self.tick.step_id + 1, time_step, action, extras, policy_version)
        self.tick = self.tasks.look(self.ant, made)
        self.fresh = True
        self.allowance = max(0, self.allowance - 1)

    def _mind_silence(self, what: str) -> None:
        """Have the observation sent again now and then; tell how long it is unanswered already."""
        now = self._clock()
        if now - self._sent >= RESEND_PERIOD:
            self._mark_sent(now)
            self._outside.resend()
            self._counters["resent"] += 1
        if self._silent_since is None:
            self._silent_since = self._first_sent
        silent = now - self._silent_since
        if silent >= self._settings.response_timeout:
            self._outside.waiting(what, silent)

    def _mark_sent(self, now: float) -> None:
        self._sent = now

    def _answered_now(self) -> None:
        self._stages.add("round_trip", self._clock() - self._sent)


class LockStep(Stepper):
    """Every tick waits for the torques that answer it: as fast as these come, and the same each time."""

    def patience(self) -> float:
        """As in the base class."""
        return _LOOK_PERIOD

    def take(self, torques: Torques) -> bool:
        """As in the base class; those for another tick are counted as stale."""
        if torques.step_id != self.tick.step_id:
            self._counters["stale"] += 1
            return False
        self._answered_now()
        self._act(torques, torques.extras)
        return True

    def pass_time(self) -> bool:
        """As in the base class; no tick without torques."""
        self._mind_silence("waiting for a policy node")
        return False


class RealTime(Stepper):
    """A tick per control period, once a policy was heard: with the newest torques, zero where they are too old."""

    def begin_session(self, seed: int | None) -> None:
        """As in the base class."""
        self._watchdog: TorqueWatchdog[Torques] = TorqueWatchdog(self._settings.torque_timeout)
        super().begin_session(seed)

    def resume(self) -> None:
        """As in the base class; the next tick is due a whole period from now."""
        super().resume()
        self._deadline = self._first_sent + ANT.control_period

    def change(self, settings: EnvSettings) -> None:
        """As in the base class."""
        super().change(settings)
        self._watchdog.timeout = settings.torque_timeout

    def patience(self) -> float:
        """As in the base class."""
        return self._deadline - self._clock()

    def take(self, torques: Torques) -> bool:
        """As in the base class; they act at the deadline, and count as stale where newer ones came before."""
        if not self._watchdog.received(torques.step_id, torques):
            self._counters["stale"] += 1
        elif torques.step_id == self.tick.step_id:
            self._answered_now()
        return False

    def pass_time(self) -> bool:
        """As in the base class; nothing before the deadline."""
        now = self._clock()
        if now < self._deadline:
            return False
        self._stages.add("lateness", now - self._deadline)
        self._deadline += ANT.control_period
        if now > self._deadline:  # a whole period late: don't hurry after it
            self._counters["overruns"] += 1
            self._deadline = now + ANT.control_period
        if not self._watchdog.heard:
            self._mind_silence("waiting for a policy node")
            return False
        self._tick_at(now)
        return True

    def _tick_at(self, now: float) -> None:
        torques = self._watchdog.current(now)
        if torques is None:
            self._counters["deadline_misses"] += 1
            self._mind_silence("zero torque, for there is no fresh one from a policy node")
            self._advance(np.zeros((self.tick.num_envs, ANT.action_size), np.float32), {}, 0)
        elif self._watchdog.answers(self.tick.step_id):
            self._act(torques, torques.extras)
        else:  # chosen for an older observation, so what is known of its probability doesn't hold
            self._counters["torque_gaps"] += 1
            self._act(torques, {})

    def _mark_sent(self, now: float) -> None:
        super()._mark_sent(now)
        self._watchdog.sent(self.tick.step_id, now)


def make_stepper(settings: EnvSettings, outside: Outside, counters: Counter[str], stages: StageTimer) -> Stepper:
    """The stepper of the mode that the settings name; arguments as of `Stepper`."""
    kind = {"lockstep": LockStep, "realtime": RealTime}[settings.mode]
    return kind(settings, outside, counters, stages)
