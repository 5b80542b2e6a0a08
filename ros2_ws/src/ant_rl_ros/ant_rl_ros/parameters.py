"""Node parameters from a plain table: name, default, description, range or choices, and whether they may change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rcl_interfaces.msg import ParameterDescriptor

_KINDS = {bool: "true or false", int: "an integer", float: "a number", str: "a text", list: "a list"}


class ParameterError(ValueError):
    """A parameter value that can't be used; the text says what was expected and what was found."""


@dataclass(frozen=True)
class Parameter:
    """One parameter of a node.

    Attributes:
        name, description: as shown by `ros2 param describe`; the description names the unit.
        default: its type is the parameter's type: bool, int, float, str or a list of str.
        choices: the values a text may have; empty: any.
        minimum, maximum: bounds of a number, both included.
        read_only: fixed once the node has started.
    """

    name: str
    default: Any
    description: str
    choices: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    read_only: bool = True

    def check(self, value: Any) -> Any:
        """`value` in the type of the default (an integer may stand for a number); ParameterError if it is wrong."""
        kind = type(self.default)
        if kind is float and type(value) is int:
            value = float(value)
        if kind is list and not isinstance(value, (str, bytes)) and hasattr(value, "__iter__"):
            value = list(value)
        if type(value) is not kind:
            raise ParameterError(f"parameter {self.name} must be {_KINDS[kind]}, found {value!r}")
        if self.choices and value not in self.choices:
            raise ParameterError(f"parameter {self.name} must be {' or '.join(self.choices)}, found {value!r}")
        if (self.minimum is not None and not value >= self.minimum) or (
                self.maximum is not None and not value <= self.maximum):
            raise ParameterError(f"parameter {self.name} must be {self._bounds(' and ')}, found {value}")
        return value

    def descriptor(self) -> ParameterDescriptor:
        """What ROS tools show of it."""
        found = ParameterDescriptor(name=self.name, description=self.description, read_only=self.read_only,
                                    dynamic_typing=True)
        if self.choices:
            found.additional_constraints = "one of: " + ", ".join(self.choices)
        else:
            found.additional_constraints = self._bounds(", ")
        return found

    def _bounds(self, between: str) -> str:
        low = "" if self.minimum is None else f"at least {self.minimum}"
        high = "" if self.maximum is None else f"at most {self.maximum}"
        return between.join(filter(None, (low, high)))
