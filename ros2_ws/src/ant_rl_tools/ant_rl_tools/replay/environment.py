"""Recorded torques on a fresh environment: the observations must be the recorded ones, bit for bit."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from ant_rl_interfaces.msg import Session

from ant_env_node.codec import software
from ant_env_node.make import shape
from ant_env_node.shaping import ShapingConfig
from ant_env_node.tasks.ant import TaskAnt
from ant_env_node.tasks.distribution import TaskDistribution
from ant_env_node.tasks.task import Task
from ant_rl_core.contracts import VectorEnv
from ant_rl_core.spec import ANT
from ant_rl_core.step import TimeStep, TimeStepEnv
from ant_rl_core.tick import RowTasks, Tick
from ant_rl_tools.recorded import Recording
from ant_rl_tools.replay.outcome import Outcome, first_unequal
from recorder_node.storage import BagError
from trainer.runs.progress import track

# Of a tick's time step, in the order in which a difference is looked for.
_FIELDS = ("terminated", "truncated", "final_observation", "observation", "reward", "episode_id", "step", "trial_id")
_FIRST_FIELDS = ("observation", "episode_id", "step", "trial_id")


def replay(recording: Recording) -> Outcome:
    """Step an environment, reset as the recorded one was, with the recorded torques, up to the first difference.

    Raises:
        BagError: the bag does not tell how a session began, does not hold its beginning, or has a gap.
    """
    player = _Player(recording)
    try:
        for tick in track(recording.ticks(), recording.topics["observation"], "tick"):
            found = player.play(tick)
            if found is not None:
                return player.outcome(found)
    finally:
        player.close()
    return player.outcome(None)


class _Player:
    """The environment that is stepped, and how far it has come."""

    def __init__(self, recording: Recording) -> None:
        self._recording, self._path = recording, recording.path
        self._sessions = {message.session: message for _, _, message in recording.messages("session")}
        self._tasks: dict[int, deque[RowTasks]] = {}  # by session
        for tasks in recording.tasks():
            self._tasks.setdefault(tasks.session, deque()).append(tasks)
        self._env: VectorEnv | None = None
        self._last: Tick | None = None
        self._ticks = self._episodes = self._num_sessions = 0
        self._first_episode = 0
        self._software: list[str] = []

    def play(self, tick: Tick) -> Mapping[str, Any] | None:
        """Take the recorded tick; returns how what the environment makes differs from it, None where it does not."""
        if self._last is None or tick.session != self._last.session:
            made = self._begin(tick)
            # An environment node counts on from session to session.
            self._first_episode = tick.time_step.episode_id[0] - made.episode_id[0]
        elif tick.step_id != self._last.step_id + 1:
            raise BagError(f"the bag {self._path} must have every tick, found {tick.step_id} after "
                           f"{self._last.step_id}: a recording from the start by record:=, in lock-step, misses none")
        elif self._env is None or tick.action is None:
            raise BagError(f"tick {tick.step_id} of the bag {self._path} must tell the torques that led to it, "
                           "found none")
        else:
            made = self._env.step(tick.action)
        told = self._told(tick)
        self._last = tick
        self._ticks += 1
        self._episodes += int(np.count_nonzero(tick.time_step.done))
        if told is not None:
            tick = replace(tick, time_step=replace(tick.time_step, task=told.vectors))
        return _difference(tick, replace(made, episode_id=made.episode_id + self._first_episode,
                                         trial_id=made.trial_id + self._first_episode, task=self._ant.task_vectors))

    def outcome(self, found: Mapping[str, Any] | None) -> Outcome:
        """The verdict, with the difference that ended the replay, if one did."""
        here = software()
        summary = {"replay": "env", "bag": str(self._path), "passed": found is None, "ticks": self._ticks,
                   "sessions": self._num_sessions, "episodes": self._episodes, "first_difference": found,
                   "software": {"recorded": self._software, "here": here}}
        done = f"{self._ticks} ticks, {self._episodes} episode ends, {self._num_sessions} sessions"
        if found is None:
            return Outcome(True, [done, "passed: bit-equal"], summary)
        place = f"{found['field']}{found['index']}" if found["index"] else found["field"]
        verdict = (f"FAILED at step {found['step_id']} of session {found['session']}: {place} of robot "
                   f"{found['robot']} was recorded as {found['recorded']!r} and is {found['replayed']!r} now")
        if found["difference"] is not None:
            verdict += f" (differs by {found['difference']:.3g})"
        if self._software != here:
            verdict += f"; it was recorded with {', '.join(self._software)}, this is {', '.join(here)}"
        return Outcome(False, [done, verdict], summary)

    def close(self) -> None:
        """Release the environment."""
        if self._env is not None:
            self._env.close()

    def _begin(self, tick: Tick) -> TimeStep:
        """Reset as the recorded session was."""
        begun = self._sessions.get(tick.session)
        if begun is None:
            raise BagError(f"the bag {self._path} must tell how session {tick.session} began (topic session), found "
                           f"{len(self._sessions)} other sessions: record from the start, by record:=")
        if tick.step_id:
            raise BagError(f"the bag {self._path} must hold session {tick.session} from tick 0, found tick "
                           f"{tick.step_id} first: record from the start, by record:=")
        if begun.robot != ANT.name:
            raise BagError(f"session {tick.session} of the bag {self._path} must be of an {ANT.name}, found one of "
                           f"{begun.robot}")
        if len(begun.seed) != tick.num_envs:
            raise BagError(f"session {tick.session} of the bag {self._path} must have one seed for each of its "
                           f"{tick.num_envs} robots, found {len(begun.seed)}")
        self._num_sessions += 1
        self._software = list(begun.software)
        if begun.reseeded:
            self.close()
            # Without tasks these are the robots of an environment that knows none, bit for bit.
            self._ant = TaskAnt(tick.num_envs, self._distribution(begun), begun.task_part or "train")
            self._env = shape(TimeStepEnv(self._ant), self._shaping(begun))
            return self._env.reset(int(begun.seed[0]))
        if self._env is None:
            raise BagError(f"session {tick.session} of the bag {self._path} goes on with the random streams of the "
                           "one before, which the bag does not hold: record from the start, by record:=")
        return self._env.reset()

    def _told(self, tick: Tick) -> RowTasks | None:
        """What was told of the tasks at a tick; those that were given by hand are given again."""
        told, waiting = None, self._tasks.get(tick.session, deque())
        while waiting and waiting[0].step_id <= tick.step_id:
            told = waiting.popleft()
            for row in np.flatnonzero(told.given & (told.since == told.step_id)).tolist():
                self._ant.set_task(row, self._task(told.definitions[row]))
        return told

    def _task(self, definition: str) -> Task:
        try:
            return Task.from_dict(json.loads(definition))
        except ValueError as error:
            raise BagError(f"the bag {self._path} must tell each task as this version knows it: {error}") from error

    def _distribution(self, begun: Session) -> TaskDistribution | None:
        try:
            return TaskDistribution.from_dict(json.loads(begun.task_distribution)) if begun.tasks else None
        except ValueError as error:
            raise BagError(f"the tasks {begun.tasks} of the bag {self._path} can't be made again: {error}") from error

    def _shaping(self, begun: Session) -> ShapingConfig | None:
        constants = self._recording.named("constants of the shaping", begun.shaping_names, begun.shaping_values)
        return self._recording.settings(ShapingConfig, "the shaping", constants) if constants else None


def _difference(tick: Tick, made: TimeStep) -> dict[str, Any] | None:
    """The first number of a tick that is not the recorded one."""
    recorded = tick.time_step
    # A message that completes no transition has nothing of one.
    pairs = {name: (getattr(recorded, name), getattr(made, name))
             for name in (_FIELDS if tick.action is not None else _FIRST_FIELDS)}
    if recorded.task is not None and made.task is not None:
        # Tasks have come to be told by more numbers, further ones at the end.
        common = min(recorded.task.shape[1], made.task.shape[1])
        pairs["task"] = recorded.task[:, :common], made.task[:, :common]
    if "unshaped_reward" in recorded.info:
        pairs["unshaped_reward"] = recorded.info["unshaped_reward"], made.info["unshaped_reward"]
    for name, (theirs, ours) in pairs.items():
        index = first_unequal(theirs, ours.astype(theirs.dtype))
        if index is not None:
            was, now = theirs[index].item(), ours[index].item()
            size = abs(now - was) if isinstance(was, float) else None
            return {"session": tick.session, "step_id": tick.step_id, "field": name, "robot": index[0],
                    "index": list(index[1:]), "recorded": was, "replayed": now, "difference": size}
    return None
