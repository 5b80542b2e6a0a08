"""The order of learning over ROS, as one object that knows nothing of ROS: the node, replay and tests drive it.

Longer than others because what comes before what, from the first tick to the last checkpoint, is to be read in one
place.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any, NamedTuple

from ant_rl_core.contracts import Learner
from ant_rl_core.tick import RowTasks, Tick
from ant_rl_core.timing import StageTimer
from trainer.checkpoint import CheckpointError
from trainer.metrics import mean_metrics
from trainer.ros.background import MAX_BEHIND, BackgroundLearning, InlineLearning
from trainer.ros.collector import Collector
from trainer.ros.outbox import CannotBegin, Outbox
from trainer.ros.recorded import RecordedLearner
from trainer.runs.folder import RunFolder
from trainer.runs.record import Record

_VERSIONS_PER_START = 1_000_000
_MAX_UNKNOWN = 2000  # [ticks] of one source that may wait for what their tasks are, before the oldest are given up
_PERIOD = 1.0  # [s] between messages on progress, and between requests to hold, of methods that learn all the time


class Pace(NamedTuple):
    """When what is learned goes out, where it does not go by the clock.

    Attributes:
        policy: whether a policy of this version is to be sent.
        progress: whether progress is to be sent after so many updates.
    """

    policy: Callable[[int], bool]
    progress: Callable[[int], bool]


class Session:
    """Feeds ticks to a learner and hands on what it learned.

    The learner is made once all environments were heard of. One that is on-policy makes its updates within `take`, with
    the environments on hold, and a new policy comes of each. Any other learns beside, in a thread of its own, from what
    every version of the policy did.

    Args:
        make: the method's new learner for a number of robots; ValueError where there can be none.
        on_policy: of that learner.
        total_steps: environment steps to learn from.
        sources: names of the environments, in the order of their rows.
        out: takes what is said.
        folder: where the run is kept; None keeps nothing.
        about: what the provenance of every policy tells beside the number of robots.
        policy_interval: time between new policies of a learner that is not on-policy [s].
        pace: see `Pace`; None goes by the clock.
        in_line: learn within `take` whatever the method, for the same ticks in the same order.
        stages: takes the durations of updates and exports that are made in line.
        clock: seconds.

    Attributes:
        catching_up: the environments are held until all that waits was learned from.
        done: all steps were learned from, and the policy is written.
        detail: what holds the environments at present; empty where nothing does.
        rows: robots of each environment that was heard of.
    """

    def __init__(self, make: Callable[[int], Learner], on_policy: bool, total_steps: int, sources: Sequence[str],
                 out: Outbox, folder: RunFolder | None = None, about: Mapping[str, Any] | None = None,
                 policy_interval: float = 1.0, pace: Pace | None = None, in_line: bool = False,
                 stages: StageTimer | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._make, self._on_policy, self._total, self._sources = make, on_policy, total_steps, sources
        self._out, self._folder, self._about = out, folder, dict(about or {})
        self._pace = pace or Pace(self._policy_is_due, self._progress_is_due)
        self._policy_interval, self._in_line = policy_interval, in_line or on_policy
        self._stages, self._clock = stages or StageTimer(), clock
        self._learner: Learner
        self._begun = self.done = False
        self.rows: dict[str, int] = {}
        self._asked_to_hold = 0.0
        self.open()

    def open(self) -> None:
        """Begin to listen, again too: nothing is joined to what came before."""
        self._collector = Collector(self._sources)
        self._unknown = {source: deque[Tick](maxlen=_MAX_UNKNOWN) for source in self._sources}
        self.catching_up, self.detail = False, ""
        if self._begun:
            self._publish_policy()

    def tell(self, source: str, tasks: RowTasks) -> bool:
        """What an environment tells of its robots' tasks; returns and raises as `take`, of ticks that waited for it."""
        self._collector.tell(source, tasks)
        return self._take_known(source)

    def take(self, source: str, tick: Tick) -> bool:
        """One tick of an environment, and all that is to be learned with it, once its tasks are told.

        Returns:
            False, and the tick is left out, where the environment has another number of robots than before.

        Raises:
            CannotBegin: see there.
            FloatingPointError: numbers were lost.
            OSError: the folder can't be written to.
            CheckpointError: at the end, where the last checkpoint can't be written.
        """
        self._unknown[source].append(tick)
        return self._take_known(source)

    def _take_known(self, source: str) -> bool:
        """All ticks that waited and need not wait longer."""
        waiting, taken = self._unknown[source], True
        while waiting and self._collector.knows(source, waiting[0]):
            taken = self._take(source, waiting.popleft()) and taken
        return taken

    def _take(self, source: str, tick: Tick) -> bool:
        if not self._collector.admits(source, tick):
            return True
        if self._begun and tick.num_envs != self.rows[source]:
            return False
        self.rows[source], self.detail = tick.num_envs, ""
        # A learner that is on-policy learns from what its present policy did, from nothing else.
        version = None if not self._on_policy else self._learner.version if self._begun else 0
        self._collector.add(source, tick, version)
        if not self._begun:
            rows = self._collector.num_envs()
            if rows is not None:
                self._begin(rows, tick.policy_version)
            return True
        if tick.policy_version > max(self._learner.version, self._outrun_by):
            self._outrun(tick.policy_version)
        while self._wants_more() and (batch := self._collector.next_batch()) is not None:
            self._taken += len(batch.reward)
            self._learning.take(batch)
        return True

    def tend(self) -> None:
        """Do what is due beside the ticks: call it now and then; raises as `take`."""
        if self._begun and not self.done:
            metrics = self._learning.metrics()
            self._updates += len(metrics)
            self._recent += metrics
            self._catch_up()
            self._offer_policy()
        if self._out.held and not self.catching_up:
            self._out.release()
        if self._begun and not self.done:
            if self._pace.progress(self._updates):
                self._publish_progress()
            if self._folder is not None and self._folder.checkpoint_is_due(self._saved_steps, self._learner.env_steps):
                self.save()
            self._finish_if_done()

    def save(self) -> str | None:
        """Write a checkpoint; returns what went wrong, if anything did.

        Raises:
            FloatingPointError: weights were lost; the checkpoint before is kept.
        """
        if not self._begun:
            return "nothing was learned yet: no observation came"
        try:
            self._save()
        except CheckpointError as error:
            self._out.warn("checkpoint", str(error))
            return str(error)
        return None

    @property
    def contested(self) -> list[str]:
        """Names under which a second environment was found, whose ticks are left out."""
        return self._collector.contested

    def end(self) -> None:
        """Save what a stop from outside would lose; raises as `save`, and CheckpointError where that can't be."""
        if self._begun and self._saved_steps != self._learner.env_steps:
            self._save()

    def close(self) -> None:
        """End the learning and its files; nothing is saved."""
        if self._begun:
            self._learning.close()
        if self._folder is not None:
            self._folder.close()

    def values(self) -> dict[str, float]:
        """Live figures."""
        if not self._begun:
            return {}
        return {"env_steps": float(self._learner.env_steps), "policy_version": float(self._learner.version),
                "mean_return": self._record.means[0], "dropped_rows": float(self._collector.dropped_rows)}

    # -- in this order -----------------------------------------------------------------------------------------------

    def _begin(self, rows: int, running_version: int) -> None:
        self._out.hold()  # making the learner takes seconds; the next call of `tend` lets them go
        try:
            if self._folder is not None:
                self._folder.check_num_envs(rows)
            learner, self._record = self._make(rows), Record(rows, self._clock)
            resumed = self._restore(learner)
        except (ValueError, CheckpointError) as error:
            raise CannotBegin(str(error)) from error
        learner.renumber(max(learner.version, running_version + 1))
        self._learner, self._begun, self._about["num_envs"] = learner, True, rows
        if self._folder is not None:
            self._about["code_version"] = self._folder.code_version
        self._updates = self._outrun_by = 0
        self._recent: list[dict[str, float]] = []
        self._offer: Future[tuple[bytes, int]] | None = None
        self._recorded = RecordedLearner(learner, self._record, self._folder, self._total)
        in_line = InlineLearning(self._recorded, self._before_update, self._after_update) if self._in_line else None
        self._learning = in_line or BackgroundLearning(self._recorded)
        self._taken = self._saved_steps = self._told_steps = learner.env_steps
        self._told = self._sent = self._clock()
        if resumed and self._on_policy:
            self.save()  # under its new version, so that another start takes a higher one
        self._publish_policy()
        if in_line is not None:
            in_line.learn()  # what it owed when it was saved
        self._finish_if_done()

    def _restore(self, learner: Learner) -> bool:
        """Whether the learner goes on from a checkpoint; else the run begins in its folder."""
        folder = self._folder
        if folder is None:
            return False
        if not folder.chosen.train.resume:
            folder.begin(learner, self._record)
            return False
        folder.resume(learner, self._record)
        self._record.begin_episodes()  # the robots are not those of the checkpoint
        # Versions after the checkpoint may be out there, with other weights: theirs are not used again.
        learner.renumber((learner.version // _VERSIONS_PER_START + 1) * _VERSIONS_PER_START)
        self._out.say(f"resumed from {folder.checkpoint} at {learner.env_steps} steps")
        return True

    def _wants_more(self) -> bool:
        """Whether another tick is to be learned from; an on-policy learner fills its last rollout."""
        return not self.done and (self._on_policy or self._taken < self._total)

    def _outrun(self, running_version: int) -> None:
        """Another learner's policy runs, and policy nodes take higher versions only: publish under a higher one."""
        self._outrun_by = running_version
        self._out.say(f"policy version {running_version} is running: going on with higher ones")
        self._learning.call(partial(self._learner.renumber, running_version + 1)).result()
        self._publish_policy()

    def _save(self) -> None:
        self._saved_steps = self._learner.env_steps
        if not self._in_line:
            self._out.hold()  # what comes meanwhile might be more than the inbox holds
        self._learning.call(self._recorded.save).result()

    def _before_update(self) -> None:
        self._update_began = time.perf_counter()
        if self._on_policy:
            self.detail = "learning; the environments are on hold"
            self._out.hold()

    def _after_update(self) -> None:
        self._stages.add("update", time.perf_counter() - self._update_began)
        if self._on_policy:
            self._collector.drop_waiting()
        self.tend()

    def _catch_up(self) -> None:
        """Hold the environments while too much waits to be learned from, until nothing does."""
        now, behind = self._clock(), self._learning.behind
        # Asked again now and then: an environment that starts anew runs.
        if behind > MAX_BEHIND and not (self.catching_up and now - self._asked_to_hold < _PERIOD):
            self._out.hold()
            self.catching_up, self._asked_to_hold = self._out.held, now
        elif not behind:
            self.catching_up = False
        if self.catching_up:
            self.detail = "learning; the environments are on hold"

    def _offer_policy(self) -> None:
        version = self._learner.version
        if self._offer is None and version != self._sent_version and self._pace.policy(version):
            self._offer = self._learning.call(self._export)
        if self._offer is not None and self._offer.done():
            self._send_policy(*self._offer.result())
            self._offer = None

    def _finish_if_done(self) -> None:
        """End with checkpoint and policy once all steps were learned from; what is only told comes after them."""
        steps = self._learner.env_steps
        if steps < self._total or self._learning.behind or self.done:
            return
        self.done = True
        problem = self.save()
        policy, version = self._learning.call(self._export).result()
        path = None if self._folder is None else self._folder.save_policy(policy)
        if version != self._sent_version:
            self._send_policy(policy, version)
        if self._recent or steps != self._told_steps:
            self._publish_progress()
        if path is not None:
            self._out.say(f"{steps} steps learned from, policy in {path}")
        if problem:
            raise CheckpointError(problem)

    # -- what goes out -----------------------------------------------------------------------------------------------

    def _policy_is_due(self, version: int) -> bool:
        return self._on_policy or self._clock() - self._sent >= self._policy_interval

    def _progress_is_due(self, updates: int) -> bool:
        if self._on_policy:
            return bool(self._recent)
        return self._clock() - self._told >= _PERIOD and (
            bool(self._recent) or self._learner.env_steps != self._told_steps)

    def _export(self) -> tuple[bytes, int]:
        began = time.perf_counter()
        made = self._learner.policy(self._about), self._learner.version
        if self._in_line:  # the stages are not for two threads
            self._stages.add("export", time.perf_counter() - began)
        return made

    def _publish_policy(self) -> None:
        self._send_policy(*self._learning.call(self._export).result())

    def _send_policy(self, bundle: bytes, version: int) -> None:
        self._sent, self._sent_version = self._clock(), version
        self._out.send_policy(bundle, version)

    def _publish_progress(self) -> None:
        now, learner, (mean_return, mean_length) = self._clock(), self._learner, self._record.means
        steps, seconds = learner.env_steps, now - self._told
        figures = {"env_steps": steps, "updates": self._updates, "policy_version": learner.version,
                   "mean_return": mean_return, "mean_length": mean_length,
                   "steps_per_second": (steps - self._told_steps) / seconds if seconds else float("nan"),
                   "dropped_rows": self._collector.dropped_rows}
        metrics, self._recent = mean_metrics(self._recent), []
        self._told, self._told_steps = now, steps
        self._out.send_progress(learner.name, figures, metrics)
