"""Configuration from `key:=value` arguments: names, types and defaults come from frozen dataclasses."""

from __future__ import annotations

import difflib
import inspect
import re
import textwrap
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any


class ArgumentError(ValueError):
    """An argument that can't be used; the text is one sentence: what was expected, what was found."""


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


def build(classes: Sequence[type], arguments: Mapping[str, str]) -> list[Any]:
    """One instance of each dataclass, with the fields that `arguments` names set to the parsed values.

    Raises:
        ArgumentError: unknown name (the nearest right one is named) or a value of another type.
    """
    known = {field.name: cls for cls in classes for field in fields(cls)}
    for name in arguments:
        if name not in known:
            nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
            raise ArgumentError(f"unknown argument {name!r}; the nearest one is {nearest!r}")
    built = []
    for cls in classes:
        types = typing.get_type_hints(cls)
        values = {name: _parse(name, types[name], text) for name, text in arguments.items() if known[name] is cls}
        built.append(cls(**values))
    return built


def describe(cls: type) -> list[tuple[str, str, str]]:
    """(name, default, description) of each field; the descriptions are in the docstrings of the class and its bases."""
    meanings: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        text = inspect.cleandoc(base.__doc__ or "").partition("Attributes:\n")[2]
        entries = re.findall(r"^ {4}(\w[\w, ]*): (.*(?:\n {8}.*)*)", text, re.MULTILINE)
        meanings.update((name.strip(), " ".join(meaning.split())) for names, meaning in entries
                        for name in names.split(","))
    return [(field.name, format_value(field.default), meanings[field.name]) for field in fields(cls)]


def help_lines(cls: type, width: int = 100) -> list[str]:
    """Every field with its default, and below it its meaning, as lines for --help."""
    lines = []
    for name, default, meaning in describe(cls):
        lines.append(f"  {name}:={default}")
        lines += textwrap.wrap(meaning, width, initial_indent=" " * 8, subsequent_indent=" " * 8)
    return lines


def _parse(name: str, kind: Any, text: str) -> Any:
    try:
        if kind is bool:
            return {"true": True, "false": False}[text.lower()]
        if typing.get_origin(kind) is tuple:
            return tuple(int(part) for part in text.strip("[]()").split(",") if part.strip())
        return kind(text)
    except (ValueError, KeyError):
        expected = {bool: "true or false", int: "a whole number", float: "a number"}.get(kind, "numbers such as 64,64")
        raise ArgumentError(f"{name} must be {expected}, found {text!r}") from None


def format_value(value: Any) -> str:
    """The text that `build` parses back to `value`."""
    if isinstance(value, (tuple, list)):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)
