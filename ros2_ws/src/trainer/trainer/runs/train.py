"""Training in one process: `./run train ALGORITHM key:=value …`."""

from __future__ import annotations

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
from ant_env_node.make import make, robots_of
from ant_env_node.tasks.distribution import TaskDistribution
from ant_env_node.tasks.task import VECTOR_SIZE
from ant_env_node.tasks.worlds import World, robot_of
from ant_rl_core import bundle as policy_bundle, ending, settings
from ant_rl_core.step import TimeStep
from policy_node.actor import load_actor
from trainer import checkpoint, guard, loop
from trainer.algorithms.method import LooksBeside
from trainer.algorithms.table import ALGORITHMS
from trainer.runs import plot
from trainer.runs.curve import TableError
from trainer.runs.evaluate import evaluate
from trainer.runs.evaluate_world import trial_returns
from trainer.runs.folder import RunFolder, passed
from trainer.runs.progress import Progress
from trainer.runs.record import Record
from trainer.runs.train_config import Chosen, TrainConfig, choose

_EVALUATION_SEED = 1000
_MOST_RETURNS = 100  # that a bundle tells one by one


class Run:
    """One training run in one process, in a folder of its own; see `RunFolder`.

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
        self.folder = RunFolder(algorithm, Chosen(config, learner_config, shaping_config))
        self._tasks = config.any_tasks()
        self._robot = robot_of(self._tasks).name
        method = ALGORITHMS[algorithm]
        looks_ahead = (method.needs_tasks and isinstance(self._tasks, TaskDistribution)
                       and "delay" in self._tasks.differs())
        self.env = make(config.num_envs, config.seed, config.num_threads or None,
                        shaping_config if config.shaping else None,
                        config.max_episode_steps or method.max_episode_steps, self._tasks, looks_ahead,
                        config.task_input)
        self.learner = method.learner(learner_config, config.num_envs, self.env.observation_size,
                                      self.env.action_size, config.seed, robot=self._robot,
                                      **({"tasks": self._tasks} if method.needs_tasks else {}))
        if isinstance(self.learner, LooksBeside):
            self.learner.meet(robots_of(self.env))
        self.record = Record(config.num_envs)
        self._stopping = False
        self._start = self._resume() if config.resume else self._begin()
        self._evaluated_steps = self._saved_steps = self.learner.env_steps

    def train(self) -> Path | None:
        """Train to the end; returns the path of the policy bundle, None where `stop` ended it before."""
        total = self.learner_config.total_steps
        self._progress = Progress(total, self.learner.env_steps)
        try:
            if self.learner.env_steps < total:
                loop.run(self.env, self.learner, self.learner, self._start, self._on_step, self._on_update)
            if self.learner.env_steps < total:
                return None
            guard.check_weights(self.learner.weights(), self.learner.env_steps)
            # The policy first: what comes after takes minutes, and can fail.
            path = self.folder.save_policy(self.policy())
            if self.config.evaluation_episodes:
                path = self.folder.save_policy(self.policy(self._evaluate()))
        finally:
            self._progress.close()
        plot.attempt("curve.png", lambda: plot.save_curve(self.folder.path, f"{self.algorithm}, {self._robot}"))
        return path

    def stop(self) -> None:
        """Ask `train` to end after the update that it is at, with a checkpoint; from a signal's handler too."""
        self._stopping = True

    def policy(self, evaluation: Mapping[str, Any] | None = None) -> bytes:
        """The current policy as bundle bytes, with this run and its evaluation in the provenance."""
        made = self.learner.policy({
            **({"evaluation": evaluation} if evaluation else {}),
            "command": f"./run train {self.algorithm} " + " ".join(self._arguments()), "seed": self.config.seed,
            "code_version": self.folder.code_version, "wall_seconds": round(self.record.seconds, 1)})
        return policy_bundle.told_task(made, VECTOR_SIZE) if self.config.task_input else made

    def close(self) -> None:
        """Release the environment and end the events."""
        self.env.close()
        self.folder.close()

    def _begin(self) -> TimeStep:
        self.folder.begin(self.learner, self.record)
        return self.env.reset()

    def _resume(self) -> TimeStep:
        saved = self.folder.resume(self.learner, self.record)
        if saved is not None:
            return self.env.restore(saved)
        steps = self.learner.env_steps
        print(f"{self.folder.path} was last driven over ROS, whose robots are not in its checkpoint: new episodes "
              f"begin at {steps} steps", file=sys.stderr)
        return self.env.reset(self.config.seed + steps)  # other episodes than the run began with

    def _on_step(self, time_step: TimeStep) -> bool:
        self.record.add_tick(time_step)
        return False

    def _on_update(self, metrics: Mapping[str, float]) -> bool:
        config, steps = self.config, self.learner.env_steps
        finished = steps >= self.learner_config.total_steps
        self.record.add_metrics(metrics)
        self._progress.show(steps, self.record.means[0])
        if config.evaluation_interval and not finished and passed(
                config.evaluation_interval, self._evaluated_steps, steps):
            self._evaluated_steps = steps
            self._evaluate()
        self.folder.add_row_if_due(self.record, steps, finished)
        ends = finished or self._stopping
        if ends or self.folder.checkpoint_is_due(self._saved_steps, steps):
            self._saved_steps = steps
            self.save_checkpoint()
        return ends

    def _evaluate(self) -> dict[str, Any]:
        """Deterministic episodes of the actor as it is exported: a row of evaluation.csv, and what the bundle tells."""
        start, steps, count = time.monotonic(), self.learner.env_steps, self.config.evaluation_episodes
        guard.check_weights(self.learner.weights(), steps)
        wall_seconds = self.record.seconds
        actor = load_actor(policy_bundle.unpack(self.policy()))
        if isinstance(self._tasks, World):
            returns = trial_returns(actor, self._tasks, count, _EVALUATION_SEED).sum(axis=1)
        else:
            episodes = evaluate(actor, count, _EVALUATION_SEED, num_threads=self.config.num_threads, tasks=self._tasks,
                                told=self.config.task_input)
            returns = np.array([episode.episode_return for episode in episodes])
        mean, std = float(returns.mean()), float(returns.std())
        self.folder.add_evaluation({
            "env_steps": steps, "wall_seconds": round(wall_seconds, 2), "mean_return": mean, "std_return": std,
            "min": float(returns.min()), "max": float(returns.max()), "episodes": count})
        self._progress.write(f"evaluation at {steps} steps: mean return {mean:.1f} ± {std:.1f} over {count} episodes")
        spent = time.monotonic() - start
        self.record.leave_out(spent)
        self._progress.leave_out(spent)
        return {"mean_return": mean, "std_return": std, "first_seed": _EVALUATION_SEED,
                **({"returns": returns.round(3).tolist()} if count <= _MOST_RETURNS else {})}

    def save_checkpoint(self) -> None:
        """Write the state of learner and environments.

        Raises:
            CheckpointError: there is no room; the checkpoint before it is kept.
            FloatingPointError: weights were lost; the checkpoint before it is kept.
        """
        self.folder.save(self.learner, self.folder.state(self.learner, self.record), self.env.save())

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


def _limit_threads(count: int) -> None:
    """Compute with so many threads within an operation of TensorFlow; it reads this before its first operation."""
    if count:
        os.environ.update(TF_NUM_INTRAOP_THREADS=str(count), TF_NUM_INTEROP_THREADS="1")


@contextmanager
def _first_signal(do: Callable[[], None]) -> Iterator[None]:
    """The first signal that asks for the end does this, and says so; one that insists interrupts.

    What the process was started to ignore, as a shell's background jobs ignore SIGINT, it goes on to.
    """
    asked: float | None = None

    def answer(number: int, frame: object) -> None:
        nonlocal asked
        now = time.monotonic()
        if asked is not None:
            if number == signal.SIGINT or ending.insists(number, now - asked):
                raise KeyboardInterrupt
            return
        asked = now
        do()
        try:
            # Straight to the terminal: the signal may have come within a print.
            os.write(2, b"\nstopping after this update, with a checkpoint; Ctrl-C once more stops at once\n")
        except OSError:
            pass  # a terminal that was closed, which may be what the signal says

    before = {number: signal.signal(number, answer) for number in ending.heard()}
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
        print(f"can't write to {run.folder.path} ({error.strerror}): make room; {run.folder.how_to_go_on()}",
              file=sys.stderr)
        return 1
    except (checkpoint.CheckpointError, TableError) as error:
        print(error, file=sys.stderr)
        return 1
    except FloatingPointError as error:
        print(f"{error}: {run.folder.how_to_recover()}", file=sys.stderr)
        return 1
    finally:
        run.close()
    if path is None:
        print(f"stopped at {run.learner.env_steps} steps; {run.folder.how_to_go_on()}", file=sys.stderr)
        return 130
    mean_return, _ = run.record.means
    print(f"{run.learner.env_steps} steps, mean return of the last episodes {mean_return:.0f}, policy in {path}")
    return 0
