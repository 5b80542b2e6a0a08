"""Policies walking side by side as a video: `./run video BUNDLE[:VARIANT] … key:=value …`."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ant_env_node.make import ants
from ant_env_node.tasks.ant import TaskAnt
from ant_env_node.tasks.distribution import PARTS
from ant_env_node.tasks.names import NAMES
from ant_env_node.tasks.presets import STOCK, distribution
from ant_env_node.tasks.task import Task
from ant_env_node.vec_env import load_model
from ant_rl_core import bundle as policy_bundle, settings
from ant_rl_core.contracts import Actor
from ant_rl_core.settings import ArgumentError, Settings, setting
from ant_rl_core.shipped import resolve_policy
from ant_rl_core.spec import ANT
from ant_rl_tools.outputs import check_output
from ant_rl_tools.video.film import Film, captioned, side_by_side
from ant_rl_tools.video.walker import MeteredActor, Walker
from policy_node.actor import load_actor
from trainer.runs.progress import Progress
from viewer_node.offscreen import Camera, OffscreenError

_EPISODE = 1000  # [ticks] at most
_SMALLEST, _LARGEST = 64, 2048  # [pixels]
_WIDTH = 100


@dataclass(frozen=True)
class VideoConfig(Settings):
    """Settings of a video."""

    output: str = setting("video.mp4", "file (.mp4) to write; one that exists is written over if you name it",
                        path=True)
    seed: int = setting(1000, "seed of the first episode; the episodes are those of ./run eval with this seed",
                        minimum=0)
    episodes: int = setting(1, "how many episodes of each policy, one after the other", minimum=1)
    steps: int = setting(0, "end after so many control ticks of 0.05 s; 0 means when all episodes have ended",
                         minimum=0)
    tasks: str = setting(STOCK, "tasks of the robots, drawn anew for each trial, see ./run tasks", choices=NAMES)
    task_part: str = setting("held_out", "which of the tasks: those to train on, or those held out", choices=PARTS)
    variant: str = setting(policy_bundle.FLOAT32, "variant of the bundles that are named without one")
    width: int = setting(480, "of the picture of each policy, an even number of pixels")
    height: int = setting(360, "of the picture of each policy, an even number of pixels")

    def rules(self) -> Iterator[tuple[bool, str]]:
        for name in ("width", "height"):
            value = getattr(self, name)
            yield (not value % 2 and _SMALLEST <= value <= _LARGEST,
                   f"{name} must be an even number from {_SMALLEST} to {_LARGEST}")


@dataclass
class Panel:
    """One policy walking, and what is written above it.

    Attributes:
        name: of the policy.
        actor: what walks.
        config: of the video.
        walker: its robot.
        episode: index of the present episode.
        total: return of the present episode so far.
        tick: control ticks of the present episode.
        finished: whether all its episodes have ended.
    """

    name: str
    actor: Actor
    config: VideoConfig
    walker: Walker = field(init=False)
    episode: int = -1
    total: float = 0.0
    tick: int = 0
    finished: bool = False
    _task: Task | None = None

    def __post_init__(self) -> None:
        self._metered = MeteredActor(self.actor)
        self.walker = Walker(self._metered, ants(1, self.config.seed, 1, distribution(self.config.tasks),
                                                 self.config.task_part))
        self._begin()

    def step(self) -> None:
        """One control tick; the tick after an episode's last begins the next one."""
        if self.finished:
            return
        if self.walker.time_step.done[0]:
            self._begin()
        after = self.walker.step().after
        self.total += float(after.reward[0])
        self.tick += 1
        self.finished = bool(after.done[0]) and self.episode + 1 == self.config.episodes

    def picture(self, camera: Camera) -> np.ndarray:
        """The robot with its caption."""
        ant = self.walker.ant
        if isinstance(ant, TaskAnt) and not self.walker.time_step.done[0]:
            self._task = ant.tasks[0]
        return captioned(self.walker.picture(camera), self.caption())

    def caption(self) -> list[str]:
        """Which policy, how it does, what a decision costs at 20 per second."""
        latencies = self._metered.latencies
        share = self._metered.processor_seconds / len(latencies) / ANT.control_period if latencies else 0.0
        latency = float(np.median(latencies)) if latencies else 0.0
        end = ", over" if self.walker.time_step.done[0] else ""
        name = self.name if self._task is None else f"{self.name}   {self._task.name}"
        return [name, f"seed {self.config.seed + self.episode}   return {self.total:.0f}   "
                f"{self.tick * ANT.control_period:.2f} s{end}",
                f"CPU {100 * share:.2f} % of a core   latency {1e3 * latency:.3f} ms"]

    def close(self) -> None:
        """End the simulation's threads."""
        self.walker.close()

    def _begin(self) -> None:
        self.episode, self.total, self.tick = self.episode + 1, 0.0, 0
        self.walker.begin(self.config.seed + self.episode)


def main(words: Sequence[str], arguments: Mapping[str, str]) -> int:
    """Make a video of the policies that `words` name (BUNDLE or BUNDLE:VARIANT); returns the exit code."""
    try:
        (config,) = settings.build([VideoConfig], arguments)
        check_output(config.output, "output" in arguments, [bundle_of(word)[0] for word in words])
        panels = [Panel(word, load(word, config.variant), config) for word in words]
    except ValueError as error:  # of the settings or of a bundle
        raise ArgumentError(str(error)) from error
    try:
        model = load_model()
        camera = Camera(model, config.width, config.height, model.body("torso").id)
    except OffscreenError as error:
        raise ArgumentError(str(error)) from error
    try:
        frames = _film(panels, camera, config)
    except OSError as error:
        print(f"can't write the video {config.output} ({error.strerror}): make room or choose another path",
              file=sys.stderr)
        return 1
    finally:
        camera.close()
        for panel in panels:
            panel.close()
    for panel in panels:
        print("   ".join(panel.caption()))
    print(f"{config.output}: {frames} frames, {frames * ANT.control_period:.2f} s, "
          f"{Path(config.output).stat().st_size / 1e6:.1f} MB")
    return 0


def help_text() -> str:
    """What the command does, and every setting with its default and meaning."""
    text = ("Draws policies (paths or the names of shipped ones) walking side by side, without a display, with return, "
            "processor time and latency of each written above it. BUNDLE:VARIANT takes a smaller variant of a bundle: "
            "./run video default default:int8.")
    return "\n".join(["usage: ./run video BUNDLE[:VARIANT] … [key:=value …]", "",
                      *textwrap.wrap(text, _WIDTH), "", "settings, with their defaults:",
                      *settings.help_lines(VideoConfig)])


def _film(panels: Sequence[Panel], camera: Camera, config: VideoConfig) -> int:
    """Walk and draw until the end; returns the number of frames, one for each tick."""
    limit = config.steps or config.episodes * _EPISODE
    progress = Progress(limit, 0)
    frames = 0
    try:
        with Film(config.output, round(1 / ANT.control_period)) as film:
            while frames < limit and not all(panel.finished for panel in panels):
                for panel in panels:
                    panel.step()
                film.add(side_by_side([panel.picture(camera) for panel in panels]))
                frames += 1
                progress.show(frames, float(np.mean([panel.total for panel in panels])))
    finally:
        progress.close()
    return frames


def load(word: str, variant: str = policy_bundle.FLOAT32) -> Actor:
    """The actor of BUNDLE or BUNDLE:VARIANT."""
    path, own = bundle_of(word)
    policy = policy_bundle.read(path)
    policy.check_robot(ANT.name, ANT.observation_size, ANT.action_size)
    return load_actor(policy, "litert", own or variant)


def bundle_of(word: str) -> tuple[Path, str]:
    """Path and variant of BUNDLE or BUNDLE:VARIANT, the latter empty where none is named.

    A file with a colon in its name is itself.
    """
    name, colon, variant = word.rpartition(":")
    if colon and not Path(word).expanduser().exists():
        return resolve_policy(name), variant
    return resolve_policy(word), ""
