"""Recorded transitions to a learner, off-line: it must make the policies and the figures that were recorded."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ant_rl_core import bundle
from ant_rl_core.bundle import Bundle
from ant_rl_core.spec import ANT
from ant_rl_core.tick import RowTasks, Tick
from ant_rl_tools.recorded import Recording
from ant_rl_tools.replay.outcome import Outcome
from recorder_node.storage import BagError
from trainer.algorithms.table import ALGORITHMS
from trainer.ros.session import Pace, Session
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
    student = _Student(recording, _policies(recording))
    for tasks in recording.tasks():
        student.tell(tasks)
    for tick in track(recording.ticks(), recording.topics["observation"], "tick"):
        if student.take(tick):
            break
    return student.outcome()


class _Student:
    """A session of learning beside what was recorded of its like: what it says is compared, and goes nowhere."""

    held = False

    def __init__(self, recording: Recording, policies: Mapping[int, Bundle]) -> None:
        self._path, self._policies = recording.path, dict(policies)
        first = self._policies[min(policies)]
        method, config, about = _method(recording, first)
        self._name, self._num_envs, seed = first.manifest.algorithm, about["num_envs"], about["seed"]
        self._progress = deque(_progress(recording))
        self._updates = self._compared_policies = self._compared_figures = 0
        self._difference: dict[str, Any] | None = None
        self._session = Session(
            lambda rows: method.learner(config, rows, ANT.observation_size, ANT.action_size, seed, robot=ANT.name),
            method.learner.on_policy, config.total_steps, [_SOURCE], self, about={"seed": seed}, in_line=True,
            pace=Pace(self._policies.__contains__, self._is_told))

    def tell(self, tasks: RowTasks) -> None:
        """What was recorded of the robots' tasks."""
        self._session.tell(_SOURCE, tasks)

    def take(self, tick: Tick) -> bool:
        """One recorded tick, and all that the trainer node learns from it; returns whether the comparison is over."""
        if tick.num_envs != self._num_envs:
            raise BagError(f"the bag {self._path} must hold all {self._num_envs} robots that the trainer learned "
                           f"from, found {tick.num_envs}: it learned from several namespaces, or others joined")
        self._session.take(_SOURCE, tick)
        self._session.tend()
        return self._difference is not None or not self._policies and not self._progress

    def outcome(self) -> Outcome:
        """The verdict."""
        found = self._difference
        missing = sorted(self._policies)
        if found is None and missing:
            found = {"what": f"policy version {missing[0]}", "recorded": "published", "replayed": "never made"}
        done = (f"{self._updates} updates of {self._name}; compared: {self._compared_policies} policies, "
                f"figures of {self._compared_figures} messages")
        verdict = "passed: bit-equal" if found is None else (
            f"FAILED: {found['what']} was recorded as {found['recorded']} and is {found['replayed']} now")
        return Outcome(found is None, [done, verdict], {
            "replay": "trainer", "bag": str(self._path), "passed": found is None, "algorithm": self._name,
            "updates": self._updates, "policies": self._compared_policies, "figures": self._compared_figures,
            "first_difference": found})

    # -- what the session says ---------------------------------------------------------------------------------------

    def send_policy(self, policy: bytes, version: int) -> None:
        """Compare a policy with the recorded one of its version, if there is one."""
        recorded = self._policies.pop(version, None)
        if recorded is None or self._difference:
            return
        self._compared_policies += 1
        made = bundle.unpack(policy)
        for name in sorted(recorded.variants(".tflite").values()):  # Keras writes the date into its files
            if recorded.members[name] != made.members.get(name):
                found = made.members.get(name)
                self._difference = {"what": f"{name} of policy version {version}, after {self._updates} updates,",
                                    "recorded": bundle.sha256(recorded.members[name])[:12],
                                    "replayed": found and bundle.sha256(found)[:12]}
                return

    def send_progress(self, algorithm: str, figures: Mapping[str, float], metrics: Mapping[str, float]) -> None:
        """Compare the metrics of as many updates as the recorded message was about."""
        if self._difference or not self._is_told(int(figures["updates"])):
            return
        recorded = self._progress.popleft().metrics
        self._compared_figures += 1
        for name, value in recorded.items():
            if value != metrics.get(name):
                self._difference = {"what": f"{name} of update {self._updates}", "recorded": value,
                                    "replayed": metrics.get(name)}
                return

    def hold(self) -> None:
        """Nothing: a recording waits."""

    def release(self) -> None:
        """Nothing."""

    def say(self, sentence: str) -> None:
        """Nothing: the outcome says it."""

    def warn(self, key: str, sentence: str) -> None:
        """Nothing: there is no folder to warn of."""

    def _is_told(self, updates: int) -> bool:
        """Whether a recorded message was about so many updates."""
        self._updates = updates
        return bool(self._progress) and self._progress[0].updates == updates


def _policies(recording: Recording) -> dict[int, Bundle]:
    """What the trainer published, by version; those of the first start of a trainer."""
    found = {message.version: bundle.unpack(message.bundle.tobytes())
             for _, _, message in recording.messages("policy")}
    for policy in found.values():
        policy.check_robot(ANT.name, ANT.observation_size, ANT.action_size)
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
        yield _Progress(message.updates, recording.named("metrics", message.metric_names, message.metric_values))


def _method(recording: Recording, first: Bundle) -> tuple[Any, Any, Mapping[str, Any]]:
    """The method of the first policy, its settings, and what that policy says of itself."""
    about, name, path = first.manifest.provenance, first.manifest.algorithm, recording.path
    if name not in ALGORITHMS or not {"config", "seed", "num_envs", "env_steps"} <= set(about):
        raise BagError(f"the first policy of the bag {path} must tell a method of {', '.join(ALGORITHMS)}, its config, "
                       f"seed and num_envs, found {name} with {', '.join(sorted(about)) or 'nothing'}")
    if about["env_steps"]:
        raise BagError(f"the bag {path} must hold the training from its first step on, found a first policy after "
                       f"{about['env_steps']} steps: record from the start, by record:=, and without resume:=true")
    method = ALGORITHMS[name]
    return method, recording.settings(method.config, f"the learner {name}", about["config"]), about
