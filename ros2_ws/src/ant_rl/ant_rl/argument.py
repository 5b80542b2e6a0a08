"""One launch argument: what it may be, in which arrangements it exists, and the sentence where it is something else."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ant_rl_core.files import check_new_folder, check_not_an_input, check_writable
from ant_rl_core.settings import ArgumentError, with_home

# Of these ~ is the home of the user.
_PATHS = ("policy", "input", "output", "folder", "new_folder")

LONGEST_NAMESPACE = 180


@dataclass(frozen=True)
class Argument:
    """One launch argument.

    Attributes:
        name: as typed before `:=`.
        kind: int, bool, text, list (words), name (a ROS namespace), policy (a bundle's path or name), input or output
            (a file), folder, new_folder.
        default: as text; `defaults` overrides it per arrangement.
        description: one line for --show-args and --help.
        choices: allowed values, empty where any value of the kind will do.
        choices_group: entry point group of tables that name the allowed values; any will do where none is installed.
        minimum, maximum: smallest and largest allowed int.
        arrangements: where the argument exists.
    """

    name: str
    kind: str
    default: str
    description: str
    choices: tuple[str, ...] = ()
    choices_group: str = ""
    minimum: int = 0
    maximum: int | None = None
    arrangements: tuple[str, ...] = field(kw_only=True)
    defaults: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_path(self) -> bool:
        """Whether it is the path of a file or folder."""
        return self.kind in _PATHS

    def default_in(self, arrangement: str) -> str:
        """Default in this arrangement, as text."""
        return self.defaults.get(arrangement, self.default)

    def value(self, text: str) -> int | bool | str | list[str]:
        """The typed value of `text`; ArgumentError says what was expected and what was found."""
        if self.kind == "bool":
            if text.lower() not in ("true", "false"):
                raise self._refused("true or false", text)
            return text.lower() == "true"
        if self.kind == "int":
            high = "" if self.maximum is None else f" and at most {self.maximum}"
            if not re.fullmatch(r"[+-]?\d{1,18}", text) or not self._is_within(int(text)):
                raise self._refused(f"a whole number of at least {self.minimum}{high}", text)
            return int(text)
        if self.kind == "list":
            return text.split() or [""]  # at least one item: ROS can't tell the type of an empty list
        if self.is_path:
            text = with_home(self.name, text)
        if self.kind == "name" and not re.fullmatch(r"(/?[A-Za-z_]\w*(/[A-Za-z_]\w*)*)?", text, re.ASCII):
            raise self._refused("a ROS name (letters from a to z, digits, _ and /, no digit first)", text)
        if self.kind == "name" and len(text) > LONGEST_NAMESPACE:
            raise self._refused(f"at most {LONGEST_NAMESPACE} characters, so that names of topics fit behind it", text)
        if self.kind == "input" and text and not os.access(text, os.R_OK):
            raise self._refused("a file that can be read", text)
        if self.kind == "output" and text:
            check_writable(self.name, text)
        if self.kind == "new_folder" and text:
            check_new_folder(self.name, text)
        if self.choices and text not in self.choices:
            near = difflib.get_close_matches(text, self.choices, 1)
            raise self._refused(" or ".join(self.choices), text, f"; did you mean {near[0]}?" if near else "")
        return text

    def _is_within(self, number: int) -> bool:
        return number >= self.minimum and (self.maximum is None or number <= self.maximum)

    def _refused(self, expected: str, found: str, hint: str = "") -> ArgumentError:
        return ArgumentError(f"{self.name} must be {expected}, found {self.name}:={found}{hint}")


def check_outputs(arguments: Iterable[Argument], values: Mapping[str, Any]) -> None:
    """ArgumentError where a file that is to be written is one that is read, or another one that is to be written."""
    arguments = list(arguments)
    read = [values[each.name] for each in arguments if each.kind == "input" or each.kind == "policy" and (
        "/" in values[each.name] or values[each.name].endswith(".zip"))]
    written: dict[str, str] = {}
    for each in arguments:
        if each.kind != "output" or not values[each.name]:
            continue
        check_not_an_input(each.name, values[each.name], filter(None, read))
        place = os.path.realpath(values[each.name])
        if place in written and (os.path.isfile(place) or not os.path.exists(place)):
            raise ArgumentError(f"{each.name} must be another file than {written[place]}, found {values[each.name]}")
        written[place] = each.name
