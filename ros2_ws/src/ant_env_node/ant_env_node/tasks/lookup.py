"""A task by what people type: the name that it has in a distribution, or JSON."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from functools import cache

from ant_env_node.tasks.presets import PRESETS
from ant_env_node.tasks.task import Task

_CUSTOM = "custom"  # what a task is called that is told as JSON without a name


def find_task(text: str) -> Task:
    """The task of this name in any distribution, or the one that is told as JSON.

    Raises:
        ValueError: there is none of that name, or what is told is of no task; the text is one sentence.
    """
    text = text.strip()
    if not text.startswith("{"):
        return _named(text)
    try:
        told = json.loads(text)
    except ValueError as error:
        raise ValueError(f'a task must be a name, or JSON such as {{"friction": 2}}, found {text} ({error})') from error
    return Task.from_dict({"name": _CUSTOM, **told})


def _named(name: str) -> Task:
    # The distribution that the name reminds of comes first: to make all of them takes longer than a control period.
    for preset in sorted(PRESETS, key=lambda preset: preset.partition("_")[0] not in name):
        if name in _tasks(preset):
            return _tasks(preset)[name]
    known = [task for preset in PRESETS for task in _tasks(preset)]
    nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
    raise ValueError(f"unknown task {name!r}; the nearest one is {nearest!r}, and ./run tasks NAME lists those of a "
                     "distribution")


@cache
def _tasks(preset: str) -> Mapping[str, Task]:
    """Of a distribution, by their names."""
    tasks = PRESETS[preset]()
    return {task.name: task for task in (*tasks.train, *tasks.held_out)}
