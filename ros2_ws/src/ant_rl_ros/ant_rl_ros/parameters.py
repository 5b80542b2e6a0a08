"""Node parameters are made from settings classes (`ant_rl_core.settings`): one parameter for each setting."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from rcl_interfaces.msg import ParameterDescriptor
from rclpy.node import Node

from ant_rl_core.settings import ArgumentError, Setting, Settings, settings_of

_S = TypeVar("_S", bound=Settings)


class ParameterError(ValueError):
    """A parameter value that can't be used; the text says what was expected and what was found."""


def declare(node: Node, cls: type[_S]) -> _S:
    """Declare a parameter for each setting of a class; returns their values.

    Raises:
        ParameterError: one of them, or several together, can't be used.
    """
    found = {}
    for each in settings_of(cls):
        default = list(each.default) if isinstance(each.default, tuple) else each.default  # ROS has no tuples
        found[each.name] = node.declare_parameter(each.name, default, descriptor(each)).value
    return _checked(lambda: cls(**found))


def changed(settings: _S, values: Mapping[str, Any]) -> _S:
    """The settings with other values of some parameters; ParameterError where they can't be used."""
    return _checked(lambda: replace(settings, **values))


def descriptor(setting: Setting) -> ParameterDescriptor:
    """What ROS tools show of a parameter."""
    constraints = f"one of: {', '.join(setting.choices)}" if setting.choices else setting.constraint
    return ParameterDescriptor(name=setting.name, description=setting.description, read_only=setting.read_only,
                               dynamic_typing=True, additional_constraints=constraints)


def _checked(make: Callable[[], _S]) -> _S:
    try:
        return make()
    except ArgumentError as error:
        raise ParameterError(f"parameter {error}") from error
