"""The folder of a training: what both drivers, one process and the trainer node, write into it and go on from."""

from __future__ import annotations

import json
import math
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from ant_rl_core.contracts import Learner
from ant_rl_core.files import FolderBusyError, FolderLock, write_atomically
from ant_rl_core.settings import ArgumentError
from trainer import checkpoint, guard
from trainer.runs import provenance
from trainer.runs.curve import Table
from trainer.runs.events import Events
from trainer.runs.record import Record
from trainer.runs.train_config import Chosen

# What a training leaves beside its checkpoint, and can't be made again without it.
_RESULTS = ("policy.zip", "curve.csv", "evaluation.csv", "curve.png")
_CONFIG = "config.json"
_LEFTOVER = re.compile(rf"\.({'|'.join(map(re.escape, (*_RESULTS, _CONFIG, 'checkpoint.npz')))})\.\d+\.part")


class RunFolder:
    """Settings, curve, evaluations, events, checkpoint and policy of one training.

    `begin` or `resume` comes first, and writes nothing where it refuses. From `make` on, which both do if it was not
    done, the folder is this object's alone, until `close`.

    Args:
        algorithm: name of the method.
        chosen: settings of the run, of its method and of the shaped reward; those of a run that is resumed name the
            number of robots that it was begun with.
        anew: whether rows of a run that was killed before its first checkpoint may be made again.

    Attributes:
        path: the folder.
        curve, evaluations: curve.csv and evaluation.csv.
        code_version: of all code that the run was made with.
    """

    def __init__(self, algorithm: str, chosen: Chosen, anew: bool = False) -> None:
        self.algorithm, self.chosen, self._anew = algorithm, chosen, anew
        self.path = chosen.train.folder(algorithm)
        self.curve, self.evaluations = Table(self.path / "curve.csv"), Table(self.path / "evaluation.csv")
        self.code_version = provenance.code_version()
        self._events: Events | None = None
        self._lock: FolderLock | None = None
        self._row_steps, self._row_seconds = 0, 0.0

    @property
    def checkpoint(self) -> Path:
        """Where the last checkpoint is, if there is one yet."""
        return checkpoint.path_in(self.path)

    def make(self) -> None:
        """Make the folder, if it is not there, and hold it; ArgumentError where it can't be written or is another's."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ArgumentError(f"can't make the output folder {self.path} ({error.strerror}): choose another "
                                "output:=") from error
        if not os.access(self.path, os.W_OK):
            raise ArgumentError(f"can't write to the output folder {self.path}: choose another output:=")
        if self._lock is None:
            try:
                self._lock = FolderLock(self.path, "a training")
            except FolderBusyError as error:
                raise ArgumentError(str(error)) from error

    def refuse_taken(self) -> None:
        """ArgumentError where a new training would write over what is in the folder."""
        if self.checkpoint.exists():
            raise ArgumentError(f"{self.path} already holds a training: add resume:=true to go on with it, or choose "
                                "another output:=")
        found = [name for name in _RESULTS if _holds_something(self.path / name)]
        if found and not (self._anew and "policy.zip" not in found):
            raise ArgumentError(f"{self.path} already holds results of a training ({', '.join(found)}), without a "
                                "checkpoint to go on from: move them away, or choose another output:=")
        if not self._has_own_config():
            raise ArgumentError(f"{self.path} already holds a {_CONFIG} that is of no training: choose another "
                                "output:=")

    def begin(self, learner: Learner, record: Record) -> None:
        """Begin a run; ArgumentError where the folder holds one, or another training has it."""
        with self._let_go_on_refusal():
            self.make()
            self.refuse_taken()
            self._prepare(learner)
            self.curve.clear()
            self.evaluations.clear()
            self._open(learner, record)

    def resume(self, learner: Learner, record: Record) -> Mapping[str, np.ndarray] | None:
        """Put learner and record into the state of the last checkpoint.

        Returns:
            The state of the environments, if the run was driven by a process that has them; else None: its robots
            begin new episodes.

        Raises:
            CheckpointError: there is none that can be read.
            ValueError: it is of other networks, or of another number of robots, another training has the folder,
                or a table can't be read.
        """
        self.check_num_envs(learner.num_envs)
        with self._let_go_on_refusal():
            self.make()
            saved = checkpoint.load(self.checkpoint)
            learner.restore(checkpoint.Part(saved, "learner."))
            record.restore(saved)
            for table in (self.curve, self.evaluations):
                table.check(learner.env_steps)
            versions = [*str(saved["code_version"]).split(", "), self.code_version]
            self.code_version = ", ".join(dict.fromkeys(versions))
            self._prepare(learner)
            # A killed run may have written rows after its last checkpoint; they will be made again.
            self.curve.drop_after(learner.env_steps)
            self.evaluations.drop_after(learner.env_steps)
            self._open(learner, record)
        env = checkpoint.Part(saved, "env.")
        if len(env):
            return env
        record.begin_episodes()
        return None

    def check_num_envs(self, found: int) -> None:
        """ArgumentError where a run that is resumed has another number of robots."""
        train = self.chosen.train
        if train.resume and found != train.num_envs:
            raise ArgumentError(f"{self.path} holds a run with num_envs:={train.num_envs}, found num_envs:={found}: "
                                f"give the robots num_envs:={train.num_envs}, or choose another output:=")

    def add_row_if_due(self, record: Record, env_steps: int, finished: bool) -> None:
        """Add the row of these steps to the curve, where curve_interval or the end asks for one."""
        if not finished and not passed(self.chosen.train.curve_interval, self._row_steps, env_steps):
            return
        seconds = record.seconds
        passed_seconds = seconds - self._row_seconds
        rate = (env_steps - self._row_steps) / passed_seconds if passed_seconds else math.nan
        self._row_steps, self._row_seconds = env_steps, seconds
        mean_return, mean_length = record.means
        self._add("train", self.curve, {
            "env_steps": env_steps, "wall_seconds": round(seconds, 2), "steps_per_second": round(rate, 1),
            "mean_return": mean_return, "mean_length": mean_length, **record.take_metrics()})

    def add_evaluation(self, row: Mapping[str, Any]) -> None:
        """Add a row to the evaluations; one of the same steps goes, as the end of a finished run is evaluated again."""
        self.evaluations.drop_after(row["env_steps"] - 1)
        self._add("evaluation", self.evaluations, row)

    def checkpoint_is_due(self, saved_steps: int, env_steps: int) -> bool:
        """Whether checkpoint_interval asks for a checkpoint after these steps, with one at `saved_steps`."""
        return passed(self.chosen.train.checkpoint_interval, saved_steps, env_steps)

    def state(self, learner: Learner, record: Record) -> dict[str, np.ndarray]:
        """What a checkpoint holds of learner and record, as named arrays."""
        return {**{f"learner.{name}": array for name, array in learner.save().items()}, **record.save()}

    def save(self, learner: Learner, state: Mapping[str, np.ndarray],
             env: Mapping[str, np.ndarray] | None = None) -> None:
        """Write a checkpoint.

        Args:
            learner: whose `state` it is; no update has come since.
            state: see `state`.
            env: state of the environments, where the driver has them.

        Raises:
            CheckpointError: there is no room; the checkpoint before it is kept.
            FloatingPointError: weights were lost; the checkpoint before it is kept.
        """
        guard.check_weights(learner.weights(), learner.env_steps)
        for table in (self.curve, self.evaluations):
            table.sync()  # they must never lack rows that a checkpoint is ahead of
        checkpoint.save(self.checkpoint, {**state, "code_version": np.asarray(self.code_version),
                                          **{f"env.{name}": array for name, array in (env or {}).items()}})

    def save_policy(self, policy: bytes) -> Path:
        """Write the bundle of a run that has learned from all its steps; returns its path."""
        path = self.path / "policy.zip"
        write_atomically(path, policy)
        return path

    def close(self) -> None:
        """End the events, and let the folder go."""
        events, self._events = self._events, None
        if events is not None:
            self._kept_beside(events.close)
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def how_to_go_on(self) -> str:
        """What a user can do after a run that ended early."""
        if self.checkpoint.exists():
            return f"go on from the last checkpoint, {self.checkpoint}, with resume:=true"
        return "there is no checkpoint yet to go on from"

    def how_to_recover(self) -> str:
        """What a user can do after values were lost, which would be lost again with the same settings."""
        if self.checkpoint.exists():
            return f"go on from it, {self.checkpoint}, with resume:=true and a setting changed, such as a learning rate"
        return "there is none yet, so begin again with a setting changed, such as a learning rate"

    def _prepare(self, learner: Learner) -> None:
        for leftover in self.path.glob(".*.part"):  # of a write that a kill interrupted
            if _LEFTOVER.fullmatch(leftover.name):
                leftover.unlink()
        train = replace(self.chosen.train, num_envs=learner.num_envs)
        text = json.dumps({"algorithm": self.algorithm, "train": asdict(train), "learner": asdict(self.chosen.learner),
                           "shaping": asdict(self.chosen.shaping), "code_version": self.code_version}, indent=2)
        write_atomically(self.path / _CONFIG, text.encode())

    def _open(self, learner: Learner, record: Record) -> None:
        self._row_steps, self._row_seconds = learner.env_steps, record.seconds
        self._kept_beside(self._begin_events)
        for group, table in (("train", self.curve), ("evaluation", self.evaluations)):
            self._tell(group, table.read()[1])

    def _begin_events(self) -> None:
        self._events = Events(self.path, self._row_seconds)

    def _add(self, group: str, table: Table, row: Mapping[str, Any]) -> None:
        table.add(row)
        self._tell(group, [row])

    def _tell(self, group: str, rows: Iterable[Mapping[str, Any]]) -> None:
        events = self._events
        if events is not None:
            self._kept_beside(lambda: events.add(group, rows))

    def _kept_beside(self, do: Callable[[], None]) -> None:
        """Events are a copy of the tables: a training goes on without them."""
        try:
            do()
        except OSError as error:
            self._events = None
            print(f"events for TensorBoard can't be written to {self.path} ({error}): going on without, the tables "
                  "have it all", file=sys.stderr)

    @contextmanager
    def _let_go_on_refusal(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self.close()
            raise

    def _has_own_config(self) -> bool:
        """Whether config.json, where there is one, is that of a training."""
        try:
            found = json.loads((self.path / _CONFIG).read_bytes())
        except FileNotFoundError:
            return True
        except (OSError, ValueError):
            return False
        return isinstance(found, dict) and {"algorithm", "train", "learner"} <= set(found)


def _holds_something(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 0


def passed(interval: int, before: int, now: int) -> bool:
    """Whether a multiple of `interval` lies after `before` and not after `now`."""
    return now // interval > before // interval
