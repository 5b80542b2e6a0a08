"""Settings that are said once: name, type, default, bounds, choices, unit and meaning are one field of a dataclass.

    @dataclass(frozen=True)
    class ExampleConfig(Settings):
        \"\"\"Settings of the example.\"\"\"

        learning_rate: float = setting(3e-4, "step size of the optimizer", above=0)
        timeout: float = setting(1.0, "how long it waits", unit="s", minimum=0.05)

From such a class come the checks of its values, `key:=value` arguments, the lines of --help and the parameters of a
node (`ant_rl_ros.parameters`). A setting is true or false, a whole number, a number, a text, or a tuple of whole
numbers or of texts.
"""

from __future__ import annotations

import difflib
import math
import os
import re
import textwrap
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeVar

_T = TypeVar("_T")
_TYPES = {bool: "be true or false", int: "be a whole number", float: "be a number", str: "be a text",
          tuple[int, ...]: "hold whole numbers", tuple[str, ...]: "hold texts"}


class ArgumentError(ValueError):
    """An argument that can't be used; the text is one sentence: what was expected, what was found."""


@dataclass(frozen=True)
class Setting:
    """One field of a settings class, and all that is said of it.

    Attributes:
        name: of the field.
        kind: its type: bool, int, float, str, tuple[int, ...] or tuple[str, ...].
        default: its default.
        meaning: what it does, without a full stop.
        unit: of the value; empty where the meaning tells it or there is none.
        minimum, maximum: bounds that are themselves allowed; of a tuple, bounds of each of its numbers.
        above, below: bounds that are not allowed themselves.
        choices: the values it may have; empty: any.
        finite: whether a number must be finite; NaN is refused in any case.
        read_only: as a node's parameter, fixed once the node has started.
        path: whether it is the path of a file or folder, in which ~ is the user's home.
    """

    name: str
    kind: Any
    default: Any
    meaning: str
    unit: str = ""
    minimum: float | None = None
    maximum: float | None = None
    above: float | None = None
    below: float | None = None
    choices: tuple[Any, ...] = ()
    finite: bool = True
    read_only: bool = True
    path: bool = False

    @property
    def description(self) -> str:
        """Meaning and unit as one sentence."""
        return f"{self.meaning}{f' [{self.unit}]' if self.unit else ''}."

    @property
    def constraint(self) -> str:
        """Choices or bounds in words, such as "at least 1"; empty where there are none."""
        if self.choices:
            return " or ".join(map(str, self.choices))
        low = "" if self.minimum is None else f"at least {self.minimum}"
        if self.above is not None:
            low = "positive" if self.above == 0 else f"above {self.above}"
        high = "" if self.maximum is None else f"at most {self.maximum}"
        if self.below is not None:
            high = f"below {self.below}"
        if self.minimum is not None and high:
            return f"from {self.minimum} to {high.removeprefix('at most ')}"
        if self.above is not None and high:
            return f"above {self.above} and {high}"
        return low or high

    def check(self, value: Any) -> Any:
        """`value` in the type of the setting: whole numbers stand for numbers, lists for tuples, ~ for the home.

        Raises:
            ArgumentError: it is of another type, out of bounds, none of the choices, or not finite.
        """
        typed = self._typed(value)
        if typed is None:
            raise self.refused(_TYPES[self.kind], value)
        if not all(self._allows(part) for part in (typed if isinstance(typed, tuple) else (typed,))):
            raise self.refused(self._expected(), value)
        return with_home(self.name, typed) if self.path else typed

    def parse(self, text: str) -> Any:
        """The value that `text` stands for, not yet checked; ArgumentError where it is none of the setting's type."""
        try:
            if self.kind is bool:
                return {"true": True, "false": False}[text.lower()]
            if typing.get_origin(self.kind) is tuple:
                parts = [part.strip() for part in text.strip("[]()").split(",") if part.strip()]
                return tuple(typing.get_args(self.kind)[0](part) for part in parts)
            return self.kind(text)
        except (ValueError, KeyError):
            numbers = self.kind == tuple[int, ...]
            raise self.refused("be numbers such as 64,64" if numbers else _TYPES[self.kind], text) from None

    def refused(self, expected: str, value: Any) -> ArgumentError:
        """The refusal of a value: NAME must EXPECTED, found VALUE."""
        return ArgumentError(f"{self.name} must {expected}, found {_shown(value)}")

    def _typed(self, value: Any) -> Any:
        """The value in the type of the setting, None where it is of another."""
        if typing.get_origin(self.kind) is tuple:
            item = typing.get_args(self.kind)[0]
            is_sequence = isinstance(value, Sequence) and not isinstance(value, (str, bytes))
            return tuple(value) if is_sequence and all(type(part) is item for part in value) else None
        if self.kind is float and isinstance(value, (int, float)) and not isinstance(value, bool):
            return float(value)
        return value if type(value) is self.kind else None

    def _allows(self, value: Any) -> bool:
        if self.choices:
            return value in self.choices
        if isinstance(value, float) and (math.isnan(value) or self.finite and math.isinf(value)):
            return False
        return ((self.minimum is None or value >= self.minimum) and (self.maximum is None or value <= self.maximum)
                and (self.above is None or value > self.above) and (self.below is None or value < self.below))

    def _expected(self) -> str:
        if typing.get_origin(self.kind) is tuple:
            return f"hold sizes of {self.constraint}"
        return f"be {self.constraint or 'a finite number'}"


def with_home(name: str, path: str) -> str:
    """The path, the value of argument `name`, with ~ or ~USER at its start as that home; ArgumentError for no such."""
    found = os.path.expanduser(path)
    if found.startswith("~"):
        raise ArgumentError(f"{name} must begin with the home of a user where it begins with ~, found {path!r}; a file "
                            f"of that name is ./{path}")
    return found


def setting(default: _T, meaning: str, **more: Any) -> _T:
    """A field of a settings class; `more`: unit, bounds, choices and whatever else a `Setting` has."""
    return field(default=default, metadata={"setting": Setting("", type(default), default, meaning, **more)})


def changed(default: _T) -> _T:
    """A field of a base class with another default; whatever else is said of it stays."""
    return field(default=default)


@dataclass(frozen=True)
class Settings:
    """Base of every settings class: its values are checked when it is made.

    Raises:
        ArgumentError: a value, or the several that one of `rules` joins, can't be used.
    """

    def __post_init__(self) -> None:
        for each in settings_of(type(self)):
            object.__setattr__(self, each.name, each.check(getattr(self, each.name)))
        for holds, text in self.rules():
            if not holds:
                raise ArgumentError(f"{text}, found {_shown(getattr(self, text.split()[0]))}")

    def rules(self) -> Iterator[tuple[bool, str]]:
        """What joins several settings, as pairs (holds, text); the text begins with the name of the one to change."""
        yield from ()


_S = TypeVar("_S", bound=Settings)


def settings_of(cls: type[Settings]) -> tuple[Setting, ...]:
    """All settings of a class, those of its bases first; TypeError for a field of which nothing is said."""
    types = typing.get_type_hints(cls)
    return tuple(replace(_said(cls, each.name), name=each.name, kind=types[each.name], default=each.default)
                 for each in fields(cls))


def _said(cls: type[Settings], name: str) -> Setting:
    """What is said of a field; of one whose default alone was changed, in the nearest base that says more."""
    for base in cls.__mro__:
        declared = getattr(base, "__dataclass_fields__", {}).get(name)
        if declared is not None and "setting" in declared.metadata:
            return declared.metadata["setting"]
    raise TypeError(f"{cls.__name__}.{name} must be made with setting(), here or in a base class, found no meaning")


def part(cls: type[_S], whole: Settings) -> _S:
    """The settings of `cls` out of those of a class that has them all."""
    return cls(**{each.name: getattr(whole, each.name) for each in settings_of(cls)})


def split(words: Iterable[str]) -> dict[str, str]:
    """`key:=value` words as a dictionary; ArgumentError names the word that is none, or comes twice."""
    result: dict[str, str] = {}
    for word in words:
        name, found, value = word.partition(":=")
        if not found or not name:
            hint = f"; did you mean {word.replace('=', ':=', 1)}?" if re.fullmatch(r"\w+=.*", word) else ""
            raise ArgumentError(f"arguments must look like name:=value, found {word}{hint}")
        if name in result:
            raise ArgumentError(f"each argument must be given once, found {name} twice")
        result[name] = value
    return result


def build(classes: Sequence[type[Settings]], arguments: Mapping[str, str]) -> list[Any]:
    """One instance of each class, with the settings that `arguments` names set to the parsed values.

    Raises:
        ArgumentError: unknown name (the nearest right one is named), or a value that can't be used.
    """
    known = {each.name: (cls, each) for cls in classes for each in settings_of(cls)}
    for name in arguments:
        if name not in known:
            nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
            raise ArgumentError(f"unknown argument {name!r}; the nearest one is {nearest!r}")
    values = {name: known[name][1].parse(text) for name, text in arguments.items()}
    return [cls(**{name: value for name, value in values.items() if known[name][0] is cls}) for cls in classes]


def describe(cls: type[Settings]) -> list[tuple[str, str, str]]:
    """(name, default, description) of each setting."""
    return [(each.name, format_value(each.default), each.description) for each in settings_of(cls)]


def help_lines(cls: type[Settings], width: int = 100) -> list[str]:
    """Every setting with its default, and below it its meaning, as lines for --help."""
    lines = []
    for name, default, meaning in describe(cls):
        lines.append(f"  {name}:={default}")
        lines += textwrap.wrap(meaning, width, initial_indent=" " * 8, subsequent_indent=" " * 8)
    return lines


def format_value(value: Any) -> str:
    """The text that `build` parses back to `value`."""
    if isinstance(value, (tuple, list)):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _shown(value: Any) -> str:
    return repr(value) if isinstance(value, str) else str(value)
