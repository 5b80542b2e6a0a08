"""Recorded transitions to a learner, off-line: it must make the policies and the figures that were recorded."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ant_rl_core import bundle, settings
from ant_rl_core.bundle import Bundle
from ant_rl_core.contracts import Learner
from ant_rl_core.spec import ANT
from ant_rl_core.tick import Tick
from ant_rl_tools.recorded import Recording
from ant_rl_tools.replay.outcome import Outcome
from recorder_node.storage import BagError
from trainer.algorithms.table import ALGORITHMS
from trainer.metrics import mean_metrics
from trainer.ros.collector import Collector
from trainer.runs.progress import track

_SOURCE = ""


@dataclass(frozen=True)
class _Progress:
    """A recorded TrainingProgress: means over the updates up to this one since the one before."""

    updates: int
    metrics: Mapping[str, float]


def replay(recording: Recording) -> Outcome:
    """Make the learner that the recorded policies come from, show it the recorded ticks, and compare what it makes.

    Raises:
        BagError: the bag holds no training, or not from its first update on.
    """
    policies = _policies(recording)
    student = _Student(recording, policies)
    for tick in track(recording.ticks(), recording.topics["observation"], "tick"):
        if student.take(tick) or student.done:
            break
    return student.outcome()


class _Student:
    """A learner beside what was recorded of its like."""

    def __init__(self, recording: Recording, policies: Mapping[int, Bundle]) -> None:
        self._path, self._policies = recording.path, dict(policies)
        first = self._policies[min(policies)]
        self._learner = _make_learner(recording.path, first)
        self._on_policy = self._learner.on_policy
        self._progress = deque(_progress(recording))
        self._collector = Collector([_SOURCE])
        self._updates: list[dict[str, float]] = []
        self._told = 0  # updates that the last recorded progress was about
        self._compared_policies = self._compared_figures = 0
        self._difference: dict[str, Any] | None = None
        self._last = max(policies)
        self._compare_policy()

    @property
    def done(self) -> bool:
        """Whether there is nothing left to compare with."""
        return not self._policies and not self._progress

    def take(self, tick: Tick) -> bool:
        """One recorded tick, and all that the trainer node learns from it; returns whether a difference was found."""
        learner = self._learner
        if tick.num_envs != learner.num_envs:
            raise BagError(f"the bag {self._path} must hold all {learner.num_envs} robots that the trainer learned "
                           f"from, found {tick.num_envs}: it learned from several namespaces, or others joined")
        self._collector.add(_SOURCE, tick, learner.version if self._on_policy else None)
        while not self._difference and (batch := self._collector.next_batch()) is not None:
            learner.observe(batch)
            while learner.ready() and not self._difference:
                self._updates.append(learner.update())
                if self._on_policy:
                    self._collector.drop_waiting()
                self._compare_policy()
                self._compare_figures()
        return self._difference is not None

    def outcome(self) -> Outcome:
        """The verdict."""
        found = self._difference
        missing = sorted(self._policies)
        if found is None and missing:
            found = {"what": f"policy version {missing[0]}", "recorded": "published", "replayed": "never made"}
        passed = found is None
        done = (f"{len(self._updates)} updates of {self._learner.name}; compared: {self._compared_policies} policies, "
                f"figures of {self._compared_figures} messages")
        verdict = "passed: bit-equal" if passed else (
            f"FAILED: {found['what']} was recorded as {found['recorded']} and is {found['replayed']} now")
        return Outcome(passed, [done, verdict], {
            "replay": "trainer", "bag": str(self._path), "passed": passed, "algorithm": self._learner.name,
            "updates": len(self._updates), "policies": self._compared_policies, "figures": self._compared_figures,
            "first_difference": found})

    def _compare_policy(self) -> None:
        recorded = self._policies.pop(self._learner.version, None)
        if recorded is None:
            return
        self._compared_policies += 1
        made = bundle.unpack(self._learner.policy())
        for name in sorted(recorded.variants(".tflite").values()):  # Keras writes the date into its files
            if recorded.members[name] != made.members.get(name):
                found = made.members.get(name)
                self._difference = {"what": f"{name} of policy version {self._learner.version}, after "
                                            f"{len(self._updates)} updates,",
                                    "recorded": bundle.sha256(recorded.members[name])[:12],
                                    "replayed": found and bundle.sha256(found)[:12]}
                return

    def _compare_figures(self) -> None:
        if not self._progress or self._progress[0].updates != len(self._updates) or self._difference:
            return
        recorded = self._progress.popleft().metrics
        replayed = mean_metrics(self._updates[self._told:])
        self._told = len(self._updates)
        self._compared_figures += 1
        for name, value in recorded.items():
            if value != replayed[name]:
                self._difference = {"what": f"{name} of update {self._told}", "recorded": value,
                                    "replayed": replayed[name]}
                return


def _policies(recording: Recording) -> dict[int, Bundle]:
    """What the trainer published, by version; those of the first start of a trainer."""
    found = {message.version: bundle.unpack(message.bundle.tobytes())
             for _, _, message in recording.messages("policy")}
    if not found:
        raise BagError(f"the bag {recording.path} must hold the trainer's policies, found none on the topic policy")
    return found


def _progress(recording: Recording) -> Iterator[_Progress]:
    if "training" not in recording.topics:
        return
    last = 0
    for _, _, message in recording.messages("training"):
        if message.updates < last:
            raise BagError(f"the bag {recording.path} must be of one trainer, found one that was started anew after "
                           f"{last} updates: what it learned before lies in its checkpoint, not in the bag")
        if message.updates == last:  # it was about ticks alone
            continue
        last = message.updates
        yield _Progress(message.updates, dict(zip(message.metric_names, message.metric_values)))


def _make_learner(path: Any, first: Bundle) -> Learner:
    """The learner as the trainer node made it, at the version of its first policy."""
    about, name = first.manifest.provenance, first.manifest.algorithm
    if name not in ALGORITHMS or not {"config", "seed", "num_envs", "env_steps"} <= set(about):
        raise BagError(f"the first policy of the bag {path} must tell a method of {', '.join(ALGORITHMS)}, its config, "
                       f"seed and num_envs, found {name} with {', '.join(sorted(about)) or 'nothing'}")
    if about["env_steps"]:
        raise BagError(f"the bag {path} must hold the training from its first step on, found a first policy after "
                       f"{about['env_steps']} steps: record from the start, by record:=, and without resume:=true")
    method = ALGORITHMS[name]
    (config,) = settings.build([method.config], {key: settings.format_value(value)
                                                 for key, value in about["config"].items()})
    learner = method.learner(config, about["num_envs"], ANT.observation_size, ANT.action_size, about["seed"],
                             robot=ANT.name)
    learner.version = first.manifest.version
    return learner
