"""What `./run` has of this package: tasks. The modules that it needs are imported when it runs."""

from __future__ import annotations

import difflib
import textwrap
from collections.abc import Sequence
from dataclasses import fields

from ant_rl_core.settings import ArgumentError, format_value
from ant_rl_core.verbs import Verb

_HELP = """usage: ./run tasks [NAME]

Without a name: the distributions of tasks, and what the numbers of a task mean. With one: its tasks."""
_WIDTH = 100


def _tasks(words: Sequence[str]) -> int:
    from ant_env_node.tasks.presets import PRESETS
    from ant_env_node.tasks.worlds import WORLDS
    if len(words) > 1:
        raise ArgumentError(f"tasks needs one name or none, found {' '.join(words)}: ./run tasks [NAME]")
    if not words:
        print("\n".join(_overview()))
        return 0
    known = (*PRESETS, *WORLDS)
    if words[0] not in known:
        nearest = difflib.get_close_matches(words[0], known, n=1, cutoff=0.0)[0]
        raise ArgumentError(f"unknown tasks {words[0]!r}; the nearest ones are {nearest!r}, and there are "
                            f"{', '.join(known)}")
    print("\n".join(_world(words[0]) if words[0] in WORLDS else _listed(words[0])))
    return 0


def _overview() -> list[str]:
    from ant_env_node.tasks.presets import PRESETS
    from ant_env_node.tasks.task import Task
    from ant_env_node.tasks.worlds import WORLDS
    lines = ["tasks, as in ./run train td7 tasks:=NAME and ./run eval BUNDLE tasks:=NAME:", ""]
    for name, make in PRESETS.items():
        tasks = make()
        counts = f"{len(tasks.train):3d} to train on, {len(tasks.held_out):2d} held out"
        lines.append(f"  {name:<12} {counts}: {tasks.meaning}")
    lines += ["", "without the Ant and without nodes, as in ./run train rl2 tasks:=NAME; each trial has a task of its "
              "own:", "", *(f"  {world.name:<12} {world.meaning}" for world in WORLDS.values())]
    lines += ["", "the numbers of a task, with those of the stock Ant:", ""]
    for each in fields(Task):
        if "low" in each.metadata:
            unit = f" [{each.metadata['unit']}]" if each.metadata["unit"] else ""
            default = "none" if each.default in (None, ()) else format_value(each.default)
            meaning = (f"{each.metadata['meaning']}; from {each.metadata['low']:g} to {each.metadata['high']:g}{unit}")
            lines.append(f"  {each.name} = {default}")
            lines += textwrap.wrap(meaning, _WIDTH, initial_indent=" " * 8, subsequent_indent=" " * 8)
    return lines


def _listed(name: str) -> list[str]:
    from ant_env_node.tasks.distribution import PARTS
    from ant_env_node.tasks.presets import PRESETS
    tasks = PRESETS[name]()
    plural = "s" if tasks.episodes_per_trial > 1 else ""
    lines = [f"{name}: {tasks.meaning}; a trial is {tasks.episodes_per_trial} episode{plural}, the chance of another "
             f"task within it {tasks.hazard:g} per tick"]
    for part in PARTS:
        lines += ["", f"{part}:"]
        for task in getattr(tasks, part):
            told = [f"{key} = {format_value(value)}" for key, value in task.as_dict().items() if key != "name"]
            lines.append(f"  {task.name:<20} {', '.join(told) or 'as the stock Ant'}")
    return lines


def _world(name: str) -> list[str]:
    from ant_env_node.tasks.worlds import WORLDS
    world = WORLDS[name]
    env = world.make(1, 0, "train")
    settings = " ".join(f"{key}:={value}" for key, value in world.settings.items())
    plural = "s" if env.episodes_per_trial > 1 else ""
    lines = [f"{name}: {world.meaning}; a trial is {env.episodes_per_trial} episode{plural} of {env.episode_steps} "
             "ticks", "", " ".join((env.__doc__ or "").split("Args:")[0].split()), "",
             f"./run train and ./run eval take, as far as they have these and nothing else is given: {settings}"]
    if world.yardstick:
        what, value = world.yardstick()
        lines += ["", f"{what}: {value:.3f} in a trial"]
    return [row for line in lines for row in textwrap.wrap(line, _WIDTH) or [""]]


def _help(words: Sequence[str]) -> str:
    return _HELP


TASKS = Verb("tasks [NAME]", "tasks to learn on and to adapt to: their distributions, and what each number means", 15,
             _tasks, _help)
