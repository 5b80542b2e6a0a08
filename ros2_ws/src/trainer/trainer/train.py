"""Training in one process: `./run train ALGORITHM key:=value …`."""

from __future__ import annotations

import csv
import json
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from tqdm import tqdm

from ant_env_node.vec_env import VectorAnt
from ant_rl_core import bundle as policy_bundle
from ant_rl_core.spec import ANT
from ant_rl_core.step import TimeStep, TimeStepEnv
from policy_node.actor import load_actor
from trainer import checkpoint, loop, plot, provenance, settings
from trainer.algorithms.table import ALGORITHMS
from trainer.evaluate import evaluate
from trainer.returns import EpisodeReturns


@dataclass(frozen=True)
class TrainConfig:
    """Settings of a training run, whatever the method.

    Attributes:
        num_envs: robots that collect in parallel.
        num_threads: threads that step physics; 0 means one per core.
        seed: seed of networks, exploration and environments.
        output: folder for checkpoint, curve and policy; empty means runs/ALGORITHM-SEED.
        checkpoint_interval: environment steps between checkpoints.
        evaluation_episodes: deterministic episodes at the end (seeds 1000, 1001, …) that the policy bundle tells of.
        resume: go on from the checkpoint in the output folder, with the settings of then where none are given.
    """

    num_envs: int = 16
    num_threads: int = 0
    seed: int = 0
    output: str = ""
    checkpoint_interval: int = 250_000
    evaluation_episodes: int = 20
    resume: bool = False

    def __post_init__(self) -> None:
        for name, least in (("num_envs", 1), ("num_threads", 0), ("seed", 0), ("checkpoint_interval", 1),
                            ("evaluation_episodes", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, found {getattr(self, name)}")

    def folder(self, algorithm: str) -> Path:
        """Where the run is kept."""
        return Path(self.output or f"runs/{algorithm}-{self.seed}")


# Seconds between lines of progress where there is no terminal to draw a bar on.
_LINE_INTERVAL = 10.0
_EVALUATION_SEED = 1000


class Run:
    """One training run and its folder: checkpoint.npz, curve.csv, curve.png, config.json, policy.zip."""

    def __init__(self, algorithm: str, config: TrainConfig, learner_config: Any) -> None:
        learner_class = ALGORITHMS[algorithm][0]
        self.algorithm, self.config, self.learner_config = algorithm, config, learner_config
        self.folder = config.folder(algorithm)
        self.env = TimeStepEnv(VectorAnt(config.num_envs, config.seed, config.num_threads or None))
        self.learner = learner_class(learner_config, config.num_envs, self.env.observation_size,
                                     self.env.action_size, config.seed, robot=ANT.name)
        self.returns = EpisodeReturns(config.num_envs)
        self.wall_seconds = 0.0
        self._clock = self._line_at = time.monotonic()
        self._next_checkpoint = config.checkpoint_interval
        self._start = self._resume() if config.resume else self._begin()
        self._resumed_steps = self.learner.env_steps

    def train(self) -> Path:
        """Train to the end; returns the path of the policy bundle."""
        total = self.learner_config.total_steps
        with tqdm(total=total, initial=self.learner.env_steps, unit="step", unit_scale=True, mininterval=1.0,
                  disable=None, file=sys.stderr) as self._bar:
            if self.learner.env_steps < total:
                loop.run(self.env, self.learner, self.learner, self._start, self._on_step, self._on_update)
        plot.save_curve(self.folder / "curve.csv", self.folder / "curve.png", f"{self.algorithm}, {ANT.name}")
        path = self.folder / "policy.zip"
        policy_bundle.write(path, self.policy(self._evaluation()))
        return path

    def how_to_go_on(self) -> str:
        """What a user can do after a run that ended early."""
        if (self.folder / "checkpoint.npz").exists():
            return "go on from the last checkpoint with resume:=true"
        return "there is no checkpoint yet to go on from"

    def policy(self, evaluation: Mapping[str, Any] | None = None) -> bytes:
        """The current policy as bundle bytes, with this run and its evaluation in the provenance."""
        return self.learner.policy({
            **({"evaluation": evaluation} if evaluation else {}),
            "command": f"./run train {self.algorithm} " + " ".join(self._arguments()), "seed": self.config.seed,
            "code_version": self._code_version, "wall_seconds": round(self._elapsed(), 1)})

    def close(self) -> None:
        """Release the environment."""
        self.env.close()

    def _evaluation(self) -> dict[str, Any] | None:
        """Deterministic episodes of the actor as it is exported."""
        count = self.config.evaluation_episodes
        if not count:
            return None
        actor = load_actor(policy_bundle.unpack(self.policy()))
        episodes = evaluate(actor, count, _EVALUATION_SEED, num_threads=self.config.num_threads)
        returns = np.array([episode.episode_return for episode in episodes])
        print(f"evaluation: mean return {returns.mean():.1f} ± {returns.std():.1f} over {count} episodes")
        return {"mean_return": float(returns.mean()), "std_return": float(returns.std()),
                "first_seed": _EVALUATION_SEED, "returns": returns.round(3).tolist()}

    def _begin(self) -> TimeStep:
        if (self.folder / "checkpoint.npz").exists():
            raise settings.SettingsError(f"{self.folder} already holds a run: add resume:=true to go on with it, or "
                                         "choose another output:=")
        self._code_version = provenance.code_version()
        self._prepare_folder()
        (self.folder / "curve.csv").unlink(missing_ok=True)
        return self.env.reset()

    def _resume(self) -> TimeStep:
        saved = checkpoint.load(self.folder / "checkpoint.npz")
        self.learner.restore(_part(saved, "learner."))
        self.returns.restore(_part(saved, "returns."))
        self.wall_seconds = float(saved["wall_seconds"])
        self._code_version = str(saved["code_version"])
        self._next_checkpoint = self.learner.env_steps + self.config.checkpoint_interval
        self._prepare_folder()
        self._drop_rows_after(self.learner.env_steps)
        return self.env.restore(_part(saved, "env."))

    def _prepare_folder(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        for leftover in self.folder.glob(".*.part"):  # of a write that a kill interrupted
            leftover.unlink()
        text = json.dumps({"algorithm": self.algorithm, "train": asdict(self.config),
                           "learner": asdict(self.learner_config), "code_version": self._code_version}, indent=2)
        policy_bundle.write(self.folder / "config.json", text.encode())

    def _on_step(self, time_step: TimeStep) -> bool:
        self.returns.add(time_step.reward, time_step.done)
        return False

    def _on_update(self, figures: Mapping[str, float]) -> bool:
        steps = self.learner.env_steps
        mean_return, mean_length = self.returns.means()
        self._show(steps, mean_return)
        self._add_row({"env_steps": steps, "wall_seconds": round(self._elapsed(), 2), "mean_return": mean_return,
                       "mean_length": mean_length, **figures})
        finished = steps >= self.learner_config.total_steps
        if steps >= self._next_checkpoint or finished:
            self._next_checkpoint = steps + self.config.checkpoint_interval
            self.save_checkpoint()
        return finished

    def _show(self, steps: int, mean_return: float) -> None:
        """A bar on a terminal, now and then a line elsewhere."""
        now = time.monotonic()
        if not self._bar.disable:
            self._bar.set_postfix_str(f"return {mean_return:.0f}", refresh=False)
            self._bar.update(steps - self._bar.n)
        elif now - self._line_at >= _LINE_INTERVAL:
            self._line_at = now
            rate = (steps - self._resumed_steps) / (now - self._clock)
            print(f"{steps} of {self.learner_config.total_steps} steps, {rate:.0f} steps/s, return {mean_return:.0f}",
                  file=sys.stderr, flush=True)

    def save_checkpoint(self) -> None:
        """Write the state of learner and environments; CheckpointError where there is no room."""
        self._keep_curve()
        arrays = {"wall_seconds": np.asarray(self._elapsed()), "code_version": np.asarray(self._code_version)}
        for prefix, part in (("learner.", self.learner), ("env.", self.env), ("returns.", self.returns)):
            arrays.update({prefix + name: array for name, array in part.save().items()})
        checkpoint.save(self.folder / "checkpoint.npz", arrays)

    def _elapsed(self) -> float:
        return self.wall_seconds + time.monotonic() - self._clock

    def _add_row(self, row: Mapping[str, float]) -> None:
        with open(self.folder / "curve.csv", "a", newline="") as file:
            writer = csv.DictWriter(file, list(row))
            if not file.tell():
                writer.writeheader()
            writer.writerow(row)

    def _keep_curve(self) -> None:
        """Flush the curve to the disk: it must never lack rows that a checkpoint is ahead of."""
        with open(self.folder / "curve.csv", "a") as file:
            os.fsync(file.fileno())

    def _drop_rows_after(self, steps: int) -> None:
        """A killed run may have written rows after its last checkpoint; they will be made again."""
        path = self.folder / "curve.csv"
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        kept = [line for line in lines[1:] if line.endswith(b"\n") and int(line.split(b",")[0]) <= steps]
        policy_bundle.write(path, b"".join([*lines[:1], *kept]))

    def _arguments(self) -> list[str]:
        """The arguments that differ from the defaults."""
        pairs = []
        for config in (self.config, self.learner_config):
            defaults = {name: default for name, default, _ in settings.describe(type(config))}
            for name, value in asdict(config).items():
                text = settings.format_value(value)
                if text != defaults[name] and name not in ("resume", "output"):
                    pairs.append(f"{name}:={text}")
        return pairs


def _part(arrays: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {name[len(prefix):]: array for name, array in arrays.items() if name.startswith(prefix)}


def _configure(algorithm: str, arguments: Mapping[str, str]) -> tuple[TrainConfig, Any]:
    """The settings of a run; one that is resumed keeps those that it was begun with, unless others are given."""
    if algorithm not in ALGORITHMS:
        raise settings.SettingsError(f"unknown method {algorithm!r}: choose one of {', '.join(ALGORITHMS)}")
    classes = [TrainConfig, ALGORITHMS[algorithm][1]]
    config, learner_config = settings.build(classes, arguments)
    if not config.resume:
        return config, learner_config
    folder = config.folder(algorithm)
    try:
        saved = json.loads((folder / "config.json").read_bytes())
        begun = {**saved["train"], **saved["learner"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise settings.SettingsError(f"{folder} holds no run to go on with ({error}): leave resume:=true out, or "
                                     "choose another output:=") from error
    if saved["algorithm"] != algorithm:
        raise settings.SettingsError(f"{folder} holds a run of {saved['algorithm']}, not of {algorithm}")
    for name in ("num_envs", "seed"):
        if name in arguments and getattr(config, name) != begun[name]:
            raise settings.SettingsError(f"{folder} holds a run with {name}:={begun[name]}, found {name}:="
                                         f"{getattr(config, name)}: leave it out, or choose another output:=")
    texts = {name: settings.format_value(value) for name, value in begun.items()}
    config, learner_config = settings.build(classes, {**texts, "output": str(folder), **arguments})
    return config, learner_config


def main(algorithm: str, arguments: Mapping[str, str]) -> int:
    """Train in one process; returns the exit code."""
    try:
        run = Run(algorithm, *_configure(algorithm, arguments))
    except OSError as error:
        print(f"can't write to the output folder ({error}): choose another output:=", file=sys.stderr)
        return 2
    except (ValueError, checkpoint.CheckpointError) as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped before the training began", file=sys.stderr)
        return 130
    try:
        path = run.train()
    except KeyboardInterrupt:
        print(f"stopped at {run.learner.env_steps} steps; {run.how_to_go_on()}", file=sys.stderr)
        return 130
    except OSError as error:
        print(f"can't write to {run.folder} ({error.strerror}): make room; {run.how_to_go_on()}", file=sys.stderr)
        return 1
    except (checkpoint.CheckpointError, FloatingPointError) as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        run.close()
    mean_return, _ = run.returns.means()
    print(f"{run.learner.env_steps} steps, mean return of the last episodes {mean_return:.0f}, policy in {path}")
    return 0


def help_text(algorithm: str) -> str:
    """Every setting of a method with its default and meaning."""
    lines = []
    for cls in (TrainConfig, ALGORITHMS[algorithm][1]):
        lines += [f"  {name}:={default}\n      {meaning}" for name, default, meaning in settings.describe(cls)]
    return "\n".join(lines)
