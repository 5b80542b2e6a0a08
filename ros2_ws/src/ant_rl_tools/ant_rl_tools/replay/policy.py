"""Recorded observations to a policy node over DDS: its torques beside the recorded ones."""

from __future__ import annotations

import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ant_rl_interfaces.srv import LoadPolicy

from ant_rl_core.spec import ACTUATOR_NAMES, ANT
from ant_rl_ros.arrays import unflat
from ant_rl_tools.asker import Asker
from ant_rl_tools.node_process import NodeProcess
from ant_rl_tools.own_node import OwnNode
from ant_rl_tools.recorded import Recording
from ant_rl_tools.replay.outcome import Outcome, first_unequal
from ant_rl_tools.unavailable import Unavailable
from recorder_node.storage import BagError
from trainer.runs.progress import track

# Apart from any stack that runs on this machine already.
_NAMESPACE = f"/replay_{os.getpid()}"
_PATIENCE = 30.0  # [s] for the node to start, to load a policy, to answer
_TORQUE_LIMIT = 150.0  # [N*m] that 1.0 stands for
_SHIPPED = "default"


@dataclass(frozen=True)
class _Question:
    """An observation that was answered when it was recorded."""

    observation: bytes
    session: int
    step_id: int
    torque: np.ndarray
    version: int


def replay(recording: Recording, policy: str, variant: str, backend: str, explore: bool, seed: int,
           memory_off: bool, tolerance: float) -> Outcome:
    """Start a policy node, ask it what was asked, and compare its torques with the recorded ones.

    Args:
        recording: the bag.
        policy: bundle, a path or the name of a shipped one; empty: those that the bag holds, each for the ticks that it
            answered, or where it holds none the shipped default.
        variant, backend, explore, seed, memory_off: as the launch arguments of these names.
        tolerance: largest difference of a torque that passes [1], 0: none to the last bit.

    Raises:
        BagError: the bag has no answered observation, or not the policies.
        Unavailable: the policy node can't be started, refuses a policy or falls silent.
    """
    questions = _questions(recording)
    recorded = {} if policy or "policy" not in recording.topics else {
        message.version: message.bundle.tobytes() for _, _, message in recording.messages("policy")}
    if not recorded:
        policy = policy or _SHIPPED
    comparison = _Comparison()
    parameters = {"policy": policy, "variant": variant, "backend": backend, "explore": explore, "seed": seed,
                  "memory_off": memory_off}
    with NodeProcess("policy", _NAMESPACE, parameters) as process, _Interviewer(process) as interviewer:
        for question in track(questions, len(questions), "tick"):
            if recorded:
                if question.version not in recorded:
                    raise BagError(f"the bag {recording.path} must hold policy version {question.version}, which "
                                   f"answered tick {question.step_id}, found {min(recorded)} to {max(recorded)}: "
                                   "name a bundle by policy:=")
                interviewer.load(question.version, recorded[question.version])
            comparison.add(question, *interviewer.ask(question))
    source = f"{len(recorded)} policies of the bag" if recorded else policy
    return comparison.outcome(recording, f"{source}, variant {variant}, {backend}", tolerance)


class _Interviewer(OwnNode):
    """A node that stands in for the environment of one policy node."""

    def __init__(self, process: NodeProcess) -> None:
        super().__init__("replay", _NAMESPACE)
        self._process = process
        self._asker = Asker(self.node, self.loop)
        self._load: Any = self.node.create_client(LoadPolicy, "policy/load_policy")
        self.loop.refresh()
        self._version: int | None = None

    def load(self, version: int, policy: bytes) -> None:
        """Let the node run this policy from now on."""
        if version == self._version:
            return
        self._wait(self._load.service_is_ready, "offers no load_policy")
        with tempfile.NamedTemporaryFile(suffix=".zip") as file:
            Path(file.name).write_bytes(policy)
            answer = self._load.call_async(LoadPolicy.Request(path=file.name))
            self._wait(answer.done, "doesn't answer to load_policy")
        found: Any = answer.result()
        if not found.success:
            raise Unavailable(f"the policy node {found.message}")
        self._version = version

    def ask(self, question: _Question) -> tuple[np.ndarray, int]:
        """Torques, float32 [n, action_size], and the version of the policy that chose them."""
        end = time.monotonic() + _PATIENCE
        while (answer := self._asker.ask(question.observation, question.session, question.step_id, 1.0)) is None:
            self._process.check()
            if time.monotonic() > end:
                raise Unavailable(f"the policy node gave no torques for tick {question.step_id} within "
                                  f"{_PATIENCE:.0f} s")
        return unflat(answer.torque, np.float32, question.torque.shape, "torque"), answer.policy_version

    def _wait(self, condition: Callable[[], Any], complaint: str) -> None:
        self.wait_until(condition, [self._process], f"the policy node {complaint}", _PATIENCE)


class _Comparison:
    """How far torques are from the recorded ones, so far."""

    def __init__(self) -> None:
        self._ticks = self._rows = self._unequal = 0
        self._largest, self._sum = np.zeros(ANT.action_size), np.zeros(ANT.action_size)
        self._first: dict[str, Any] | None = None
        self._versions: Counter[tuple[int, int]] = Counter()

    def add(self, question: _Question, torque: np.ndarray, version: int) -> None:
        """The answer to one question, and the version of the policy that gave it."""
        self._ticks += 1
        self._rows += len(torque)
        self._versions[question.version, version] += 1
        distance = np.abs(torque.astype(np.float64) - question.torque)
        self._largest = np.maximum(self._largest, distance.max(axis=0))
        self._sum += distance.sum(axis=0)
        index = first_unequal(question.torque, torque)
        if index is None:
            return
        self._unequal += 1
        if self._first is None:
            robot, joint = index
            self._first = {"session": question.session, "step_id": question.step_id, "robot": robot,
                           "joint": ACTUATOR_NAMES[joint], "recorded": float(question.torque[index]),
                           "replayed": float(torque[index])}

    def outcome(self, recording: Recording, what: str, tolerance: float) -> Outcome:
        """The verdict on all of it."""
        largest, mean = self._largest.max(), self._sum / self._rows
        passed = self._first is None or bool(0 < tolerance >= largest)
        others = sorted({was for was, now in self._versions if was != now})
        summary: dict[str, Any] = {
            "replay": "policy", "bag": str(recording.path), "passed": passed, "policy": what, "ticks": self._ticks,
            "bit_equal": self._first is None, "unequal_ticks": self._unequal, "tolerance": tolerance,
            "max_difference": dict(zip(ACTUATOR_NAMES, self._largest.tolist(), strict=True)),
            "mean_difference": dict(zip(ACTUATOR_NAMES, mean.tolist(), strict=True)), "first_difference": self._first,
            "recorded_versions": sorted({was for was, _ in self._versions}),
            "replayed_versions": sorted({now for _, now in self._versions})}
        lines = [f"{self._ticks} ticks answered by {what}"]
        if others:
            lines.append(f"another version answered when it was recorded: {', '.join(map(str, others[:5]))}, now "
                         f"{', '.join(map(str, summary['replayed_versions'][:5]))}")
        if self._first is None:
            return Outcome(True, [*lines, "passed: bit-equal"], summary)
        first = self._first
        lines += [f"{'joint':<10}{'max':>12}{'mean':>12}   difference of the torque [1]; 1.0 = {_TORQUE_LIMIT:.0f} N*m",
                  *(f"{name:<10}{peak:>12.3g}{middle:>12.3g}"
                    for name, peak, middle in zip(ACTUATOR_NAMES, self._largest, mean, strict=True)),
                  f"{self._unequal} ticks differ, the first is step {first['step_id']}: {first['joint']} of robot "
                  f"{first['robot']} was recorded as {first['recorded']!r} and is {first['replayed']!r} now"]
        wanted = f"at most {tolerance:g}" if tolerance else "none (tolerance:=0)"
        lines.append(f"{'passed' if passed else 'FAILED'}: the largest difference is {largest:.3g}, asked for was "
                     f"{wanted}")
        return Outcome(passed, lines, summary)


def _questions(recording: Recording) -> list[_Question]:
    """Every observation that was answered, in order.

    What went unanswered is left out: a policy with a memory had not seen it either.
    """
    torques: dict[tuple[int, int], Any] = {}
    for _, _, message in recording.messages("joint_torques"):
        torques.setdefault((message.session, message.step_id), message)
    found = list(recording.in_order(_match(recording, torques), lambda question: question))
    if not found:
        raise BagError(f"the bag {recording.path} must hold observations and the torques that answer them, found "
                       f"{recording.topics['observation']} and {len(torques)} that don't belong together")
    return found


def _match(recording: Recording, torques: dict[tuple[int, int], Any]) -> Iterator[_Question]:
    """The observations that `torques` (by session and step_id, emptied by this) answer."""
    read = recording.reader("observation")
    for _, _, data in recording.raw_messages("observation"):
        try:
            message = read(data)
        except ValueError as error:
            raise BagError(f"the bag {recording.path} is damaged: {error}") from error
        answer = torques.pop((message.session, message.step_id), None)
        if answer is None:
            continue
        try:
            torque = unflat(answer.torque, np.float32, (message.num_envs, ANT.action_size), "torque")
        except ValueError as error:
            raise BagError(f"the bag {recording.path} must be of an {ANT.name}: {error}") from error
        yield _Question(data, message.session, message.step_id, torque, answer.policy_version)
