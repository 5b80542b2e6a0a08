"""A policy that adapts and one that can't, side by side while their task changes: `./run demo NAME key:=value …`."""

from __future__ import annotations

import sys
import textwrap
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from ant_env_node.vec_env import load_model
from ant_rl.console import Console, frame_line
from ant_rl_core import settings
from ant_rl_core.settings import ArgumentError, Settings, setting
from ant_rl_core.shipped import resolve_policy
from ant_rl_core.spec import ANT
from ant_rl_tools.demo import lines, picture
from ant_rl_tools.demo.scenes import SCENES, offered, scene_named
from ant_rl_tools.demo.show import Show
from ant_rl_tools.outputs import check_output
from ant_rl_tools.video.command import load
from ant_rl_tools.video.film import Film
from trainer.runs import progress
from viewer_node.offscreen import Camera, OffscreenError

_PIXELS = (480, 300)  # of each robot's picture
_WIDTH = 100
_LINE_INTERVAL = 20  # [ticks] between lines where there is no terminal


@dataclass(frozen=True)
class DemoConfig(Settings):
    """Settings of a demonstration."""

    seed: int = setting(0, "of both robots and of the tasks that are drawn", minimum=0)
    seconds: float = setting(12.0, "how long it lasts, in simulated time", unit="s", minimum=ANT.control_period,
                             maximum=3600)
    task: str = setting("", "task at the start, one of ./run tasks; empty: drawn, of those that are held out")
    then: str = setting("", "task that it changes to; empty: drawn, of those that are held out")
    realtime: bool = setting(True, "20 ticks per second, as a robot has it; false, or an output: as fast as it goes")
    output: str = setting("", "video (.mp4) of it to write, which needs no display; empty means none", path=True)


def main(name: str, arguments: Mapping[str, str]) -> int:
    """Show the scene `name`; returns the exit code."""
    scene = scene_named(name)
    (config,) = settings.build([DemoConfig], arguments)
    tasks = scene.choose(config.seed, config.task, config.then)
    policies = (scene.policy, scene.memoryless)
    if config.output:
        check_output(config.output, True, map(resolve_policy, policies))
    try:
        adaptive, memoryless = map(load, policies)
    except ValueError as error:  # of a bundle
        raise ArgumentError(str(error)) from error
    with ExitStack() as stack:
        camera = stack.enter_context(_camera()) if config.output else None
        show = Show(scene, tasks, config.seed, round(config.seconds / ANT.control_period), (adaptive, memoryless))
        stack.callback(show.close)
        print(f"{scene.story} {_what_comes(show)}")
        try:
            _play(show, config, camera)
        except OSError as error:
            if camera is None:
                raise
            print(f"can't write the video {config.output} ({error.strerror}): make room or choose another path",
                  file=sys.stderr)
            return 1
        print("\n".join(lines.summary(show)))
    if config.output:
        print(f"{config.output}: {show.ticks} frames, {show.time:.2f} s, "
              f"{Path(config.output).stat().st_size / 1e6:.1f} MB")
    return 0


def help_text() -> str:
    """What the command does, which scenes there are, and every setting with its default and meaning."""
    there = offered()
    text = ("Two robots with the same seed in the same task, which changes while they walk: one walks by a policy with "
            "a memory, which finds out what the task is, the other by one without. What the first believes is drawn "
            "beside the truth. A robot that falls begins again, with a fresh memory.")
    scenes = []
    for name, scene in SCENES.items():
        missing = "" if name in there else " (not here: its policy does not ship yet)"
        scenes += textwrap.wrap(f"{scene.story} After {scene.change_at:g} s.{missing}", _WIDTH,
                                initial_indent=f"  {name:<12}", subsequent_indent=" " * 14)
    ros = ["The same over ROS, in two terminals:",
           "  ./run sim tasks:=wired policy:=wired            # memory_off:=true: the control, without its memory",
           "  ros2 service call /env/set_task ant_rl_interfaces/srv/SetTask \"{task: wired +-++----}\""]
    return "\n".join(["usage: ./run demo NAME [key:=value …]", "", *textwrap.wrap(text, _WIDTH), "", "NAME:", *scenes,
                      "", *ros, "", "settings, with their defaults:", *settings.help_lines(DemoConfig)])


def _what_comes(show: Show) -> str:
    first, then = (task.name for task in show.tasks)
    if show.change_at >= show.ticks:
        return f"Here: {first}."
    return f"Here: {first}, and {then} after {show.scene.change_at:g} s."


@contextmanager
def _camera() -> Iterator[Camera]:
    """What draws the robots; ArgumentError where this machine can't without a display."""
    model = load_model()
    try:
        camera = Camera(model, *_PIXELS, model.body("torso").id)
    except OffscreenError as error:
        raise ArgumentError(str(error)) from error
    try:
        yield camera
    finally:
        camera.close()


def _play(show: Show, config: DemoConfig, camera: Camera | None) -> None:
    """All ticks, shown on the terminal and, with a camera, written as a video."""
    console = Console(sys.stdout)
    live = console.live and not progress.lines_only()
    fill = "█" if "utf" in (sys.stdout.encoding or "").lower() else "#"
    begun = time.monotonic()
    with ExitStack() as stack:
        film = stack.enter_context(Film(config.output, round(1 / ANT.control_period))) if camera else None
        while show.tick < show.ticks:
            show.step()
            if film and camera:
                film.add(picture.frame(show, camera))
            elif config.realtime:
                time.sleep(max(0.0, begun + show.time - time.monotonic()))
            if live:
                console.write("", frame_line(lines.block(show, fill)))
            elif show.tick % _LINE_INTERVAL == 0:
                print(lines.line(show), flush=True)
