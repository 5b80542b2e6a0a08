"""Training in one process: `./run train ALGORITHM key:=value …`."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from ant_env_node import shaping
from ant_env_node.make import make
from ant_rl_core import bundle as policy_bundle, settings
from ant_rl_core.files import write_atomically
from ant_rl_core.settings import ArgumentError
from ant_rl_core.spec import ANT
from ant_rl_core.step import TimeStep, unshaped_reward
from policy_node.actor import load_actor
from trainer import checkpoint, guard, loop
from trainer.algorithms.table import ALGORITHMS
from trainer.runs import plot, provenance
from trainer.runs.curve import Means, Table
from trainer.runs.evaluate import evaluate
from trainer.runs.events import Events
from trainer.runs.progress import Progress
from trainer.runs.returns import EpisodeReturns
from trainer.runs.train_config import TrainConfig, choose

_EVALUATION_SEED = 1000


class Run:
    """One training run and its folder.

    The folder holds checkpoint.npz, curve.csv, evaluation.csv, curve.png, config.json, policy.zip and TensorBoard's
    events.

    Args:
        algorithm: name of the method.
        config: settings of the run; its num_envs must be a number of robots.
        learner_config: settings of the method.
        shaping_config: constants of the shaped reward, for config.shaping.
    """

    def __init__(self, algorithm: str, config: TrainConfig, learner_config: Any,
                 shaping_config: shaping.ShapingConfig = shaping.ShapingConfig()) -> None:
        self.algorithm, self.config, self.learner_config = algorithm, config, learner_config
        self._shaping_config = shaping_config
        self.folder = config.folder(algorithm)
        self.curve, self.evaluations = Table(self.folder / "curve.csv"), Table(self.folder / "evaluation.csv")
        self.env = make(config.num_envs, config.seed, config.num_threads or None,
                                shaping_config if config.shaping else None, config.max_episode_steps)
        self.learner = ALGORITHMS[algorithm].learner(learner_config, config.num_envs, self.env.observation_size,
                                                     self.env.action_size, config.seed, robot=ANT.name)
        self.returns = EpisodeReturns(config.num_envs)
        self.wall_seconds = 0.0
        self._metrics = Means()
        self._stopping = False
        self._clock = time.monotonic()
        self._start = self._resume() if config.resume else self._begin()
        self._row_steps = self._evaluated_steps = self._saved_steps = self.learner.env_steps
        self._row_seconds = self._elapsed()
        self._events = Events(self.folder, self._row_seconds)
        for group, table in (("train", self.curve), ("evaluation", self.evaluations)):
            self._events.add(group, table.read()[1])

    def train(self) -> Path | None:
        """Train to the end; returns the path of the policy bundle, None where `stop` ended it before."""
        total = self.learner_config.total_steps
        self._progress = Progress(total, self.learner.env_steps)
        try:
            if self.learner.env_steps < total:
                loop.run(self.env, self.learner, self.learner, self._start, self._on_step, self._on_update)
            if self.learner.env_steps < total:
                return None
            evaluation = self._evaluate() if self.config.evaluation_episodes else None
        finally:
            self._progress.close()
        plot.save_curve(self.folder, f"{self.algorithm}, {ANT.name}")
        path = self.folder / "policy.zip"
        write_atomically(path, self.policy(evaluation))
        return path

    def stop(self) -> None:
        """Ask `train` to end after the update that it is at, with a checkpoint; from a signal's handler too."""
        self._stopping = True

    @property
    def checkpoint(self) -> Path:
        """Where the last checkpoint is, if there is one yet."""
        return self.folder / "checkpoint.npz"

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

    def policy(self, evaluation: Mapping[str, Any] | None = None) -> bytes:
        """The current policy as bundle bytes, with this run and its evaluation in the provenance."""
        return self.learner.policy({
            **({"evaluation": evaluation} if evaluation else {}),
            "command": f"./run train {self.algorithm} " + " ".join(self._arguments()), "seed": self.config.seed,
            "code_version": self._code_version, "wall_seconds": round(self._elapsed(), 1)})

    def close(self) -> None:
        """Release the environment and end the events."""
        self.env.close()
        self._events.close()

    def _begin(self) -> TimeStep:
        if self.checkpoint.exists():
            raise ArgumentError(f"{self.folder} already holds a run: add resume:=true to go on with it, or "
                                         "choose another output:=")
        self._code_version = provenance.code_version()
        self._prepare_folder()
        self.curve.clear()
        self.evaluations.clear()
        return self.env.reset()

    def _resume(self) -> TimeStep:
        saved = checkpoint.load(self.checkpoint)
        self.learner.restore(checkpoint.Part(saved, "learner."))
        self.returns.restore(checkpoint.Part(saved, "returns."))
        self._metrics.restore(checkpoint.Part(saved, "metrics."))
        self.wall_seconds = float(saved["wall_seconds"])
        versions = [*str(saved["code_version"]).split(", "), provenance.code_version()]
        self._code_version = ", ".join(dict.fromkeys(versions))  # of all code that the run was made with
        self._prepare_folder()
        # A killed run may have written rows after its last checkpoint; they will be made again.
        self.curve.drop_after(self.learner.env_steps)
        self.evaluations.drop_after(self.learner.env_steps)
        return self.env.restore(checkpoint.Part(saved, "env."))

    def _prepare_folder(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        for leftover in self.folder.glob(".*.part"):  # of a write that a kill interrupted
            leftover.unlink()
        text = json.dumps({"algorithm": self.algorithm, "train": asdict(self.config),
                           "learner": asdict(self.learner_config), "shaping": asdict(self._shaping_config),
                           "code_version": self._code_version}, indent=2)
        write_atomically(self.folder / "config.json", text.encode())

    def _on_step(self, time_step: TimeStep) -> bool:
        self.returns.add(unshaped_reward(time_step), time_step.done)
        return False

    def _on_update(self, metrics: Mapping[str, float]) -> bool:
        config, steps = self.config, self.learner.env_steps
        finished = steps >= self.learner_config.total_steps
        self._metrics.add(metrics)
        mean_return, mean_length = self.returns.means()
        self._progress.show(steps, mean_return)
        if config.evaluation_interval and not finished and _passed(
                config.evaluation_interval, self._evaluated_steps, steps):
            self._evaluated_steps = steps
            self._evaluate()
        if finished or _passed(config.curve_interval, self._row_steps, steps):
            self._add_row(steps, mean_return, mean_length)
        ends = finished or self._stopping
        if ends or _passed(config.checkpoint_interval, self._saved_steps, steps):
            self._saved_steps = steps
            self.save_checkpoint()
        return ends

    def _add_row(self, steps: int, mean_return: float, mean_length: float) -> None:
        seconds = self._elapsed()
        rate = (steps - self._row_steps) / (seconds - self._row_seconds)
        self._row_steps, self._row_seconds = steps, seconds
        row = {"env_steps": steps, "wall_seconds": round(seconds, 2), "steps_per_second": round(rate, 1),
               "mean_return": mean_return, "mean_length": mean_length, **self._metrics.take()}
        self.curve.add(row)
        self._events.add("train", [row])

    def _evaluate(self) -> dict[str, Any]:
        """Deterministic episodes of the actor as it is exported: a row of evaluation.csv, and what the bundle tells."""
        start, steps, count = time.monotonic(), self.learner.env_steps, self.config.evaluation_episodes
        guard.check_weights(self.learner.save(), steps)
        wall_seconds = self._elapsed()
        actor = load_actor(policy_bundle.unpack(self.policy()))
        episodes = evaluate(actor, count, _EVALUATION_SEED, num_threads=self.config.num_threads)
        returns = np.array([episode.episode_return for episode in episodes])
        mean, std = float(returns.mean()), float(returns.std())
        self.evaluations.drop_after(steps - 1)  # where the end of a finished run is evaluated once more
        row = {"env_steps": steps, "wall_seconds": round(wall_seconds, 2), "mean_return": mean, "std_return": std,
               "min": float(returns.min()), "max": float(returns.max()), "episodes": count}
        self.evaluations.add(row)
        self._events.add("evaluation", [row])
        self._progress.write(f"evaluation at {steps} steps: mean return {mean:.1f} ± {std:.1f} over {count} episodes")
        spent = time.monotonic() - start
        self._clock += spent
        self._progress.leave_out(spent)
        return {"mean_return": mean, "std_return": std, "first_seed": _EVALUATION_SEED,
                "returns": returns.round(3).tolist()}

    def save_checkpoint(self) -> None:
        """Write the state of learner and environments.

        Raises:
            CheckpointError: there is no room; the checkpoint before it is kept.
            FloatingPointError: weights were lost; the checkpoint before it is kept.
        """
        parts = {"learner.": self.learner.save(), "env.": self.env.save(), "returns.": self.returns.save(),
                 "metrics.": self._metrics.save()}
        guard.check_weights(parts["learner."], self.learner.env_steps)
        for table in (self.curve, self.evaluations):
            table.sync()  # they must never lack rows that a checkpoint is ahead of
        arrays = {"wall_seconds": np.asarray(self._elapsed()), "code_version": np.asarray(self._code_version)}
        for prefix, part in parts.items():
            arrays.update({prefix + name: array for name, array in part.items()})
        checkpoint.save(self.checkpoint, arrays)

    def _elapsed(self) -> float:
        """Seconds of training without the evaluations, those before a resumption included."""
        return self.wall_seconds + time.monotonic() - self._clock

    def _arguments(self) -> list[str]:
        """The arguments that differ from the defaults."""
        pairs = []
        for config in (self.config, self.learner_config, self._shaping_config):
            defaults = {name: default for name, default, _ in settings.describe(type(config))}
            for name, value in asdict(config).items():
                text = settings.format_value(value)
                if text != defaults[name] and name not in ("resume", "output"):
                    pairs.append(f"{name}:={text}")
        return pairs


def _passed(interval: int, before: int, now: int) -> bool:
    """Whether a multiple of `interval` lies after `before` and not after `now`."""
    return now // interval > before // interval


def _limit_threads(count: int) -> None:
    """Compute with so many threads within an operation of TensorFlow; it reads this before its first operation."""
    if count:
        os.environ.update(TF_NUM_INTRAOP_THREADS=str(count), TF_NUM_INTEROP_THREADS="1")


@contextmanager
def _first_signal(do: Callable[[], None]) -> Iterator[None]:
    """The first SIGINT or SIGTERM does this, and says so; another one interrupts.

    Where the process was started to ignore SIGINT, as a shell's background jobs are, it goes on to.
    """
    numbers = [number for number in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(number) != signal.SIG_IGN]

    def first(number: int, frame: object) -> None:
        for each in numbers:
            signal.signal(each, signal.default_int_handler)
        do()
        # Straight to the terminal: the signal may have come within a print.
        os.write(2, b"\nstopping after this update, with a checkpoint; Ctrl-C once more stops at once\n")

    before = {number: signal.signal(number, first) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def main(algorithm: str, arguments: Mapping[str, str]) -> int:
    """Train in one process; returns the exit code."""
    try:
        chosen = choose(algorithm, arguments)
        _limit_threads(chosen.train.num_threads)
        run = Run(algorithm, *chosen)
    except OSError as error:
        print(f"can't write to the output folder ({error}): choose another output:=", file=sys.stderr)
        return 2
    except (ValueError, checkpoint.CheckpointError) as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped before the training began", file=sys.stderr)
        return 130
    path = None
    try:
        with _first_signal(run.stop):
            path = run.train()
    except KeyboardInterrupt:
        pass  # at once; there is no path
    except OSError as error:
        print(f"can't write to {run.folder} ({error.strerror}): make room; {run.how_to_go_on()}", file=sys.stderr)
        return 1
    except checkpoint.CheckpointError as error:
        print(error, file=sys.stderr)
        return 1
    except FloatingPointError as error:
        print(f"{error}: {run.how_to_recover()}", file=sys.stderr)
        return 1
    finally:
        run.close()
    if path is None:
        print(f"stopped at {run.learner.env_steps} steps; {run.how_to_go_on()}", file=sys.stderr)
        return 130
    mean_return, _ = run.returns.means()
    print(f"{run.learner.env_steps} steps, mean return of the last episodes {mean_return:.0f}, policy in {path}")
    return 0
