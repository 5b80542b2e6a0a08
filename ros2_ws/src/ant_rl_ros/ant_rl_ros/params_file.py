"""Parameters that are given from outside, by file or word: what no node would take is said before it starts.

ROS drops without a word what is meant for a node that is not there, a parameter that a node does not declare, and,
where an earlier file gave a number, a text that a later one gives for it. Files are read as rcl reads them, which is
not quite YAML: `1e3` is a number, `on` is true, and quotes make a text.
"""

from __future__ import annotations

import difflib
import itertools
import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import Any

import yaml
from rclpy.utilities import remove_ros_args

from ant_rl_core.settings import ArgumentError, Setting, Settings, setting, settings_of
from ant_rl_ros import qos
from ant_rl_ros.lifecycle import LoopSettings

# Entry points of this group name the settings of each node, by its executable.
GROUP = "ant_rl.settings"
_SECTION = "ros__parameters"
# Overrides of QoS, as `qos.overriding` lets them be: the topic with its namespace, and what they may be.
_QOS = re.compile(r"qos_overrides\.(?P<topic>/\S+)\.(publisher|subscription)\.(?P<policy>\w+)")
_RELIABILITIES = ("reliable", "best_effort", "system_default", "best_available")


@dataclass(frozen=True)
class _QosSettings(Settings):
    """Policies of a topic that may be overridden."""

    history: str = setting("keep_last", "what is kept", choices=("keep_last", "keep_all", "system_default"))
    depth: int = setting(10, "how many messages are kept", minimum=0)
    reliability: str = setting("reliable", "whether lost messages are sent again", choices=_RELIABILITIES)




@dataclass(frozen=True)
class _RosSettings(Settings):
    """What every node of ROS has, beside overrides of QoS."""

    use_sim_time: bool = setting(False, "take the time from the topic clock")
    start_type_description_service: bool = setting(True, "tell others of the types of its topics")


@dataclass(frozen=True)
class Target:
    """A node that parameters may be meant for.

    Attributes:
        name: with its namespace, such as /robot1/env.
        settings: the class of its settings.
        taken: parameters that are given to it in another way, which wins.
    """

    name: str
    settings: type[Settings]
    taken: Mapping[str, Any] = field(default_factory=dict)

    @property
    def parameters(self) -> dict[str, Any]:
        """What each of its parameters may be, by name."""
        return {each.name: each for cls in (self.settings, LoopSettings, _RosSettings) for each in settings_of(cls)}


@dataclass(frozen=True)
class _Given:
    """One parameter of a file: for which nodes, its name and value, and where it stands."""

    pattern: str
    name: str
    value: Any
    place: str

    def is_for(self, node: str) -> bool:
        """Whether the pattern matches the node's name, as rclpy does it."""
        pattern = re.escape(self.pattern).replace(r"/\*\*", r"(/\w+)*").replace(r"/\*", r"/\w+")
        return re.fullmatch(pattern, node) is not None

    @property
    def last(self) -> str:
        """The node's name in the pattern; ** or * where it means any."""
        return self.pattern.rsplit("/", 1)[-1]


def settings_by_executable() -> dict[str, type[Settings]]:
    """The settings of every node that is installed."""
    return {entry.name: entry.load() for entry in entry_points(group=GROUP)}


def check(path: str, targets: Sequence[Target], elsewhere: Collection[str] = ()) -> list[str]:
    """Look at a file before it is given to nodes.

    Args:
        path: of the file.
        targets: the nodes that will run.
        elsewhere: names of nodes that might run, but do not in this arrangement.

    Returns:
        Sentences on what nobody takes this time, though another arrangement would.

    Raises:
        ArgumentError: what it holds can't be read, or a node, parameter or value in it is none.
    """
    notes = []
    for given in _read(path):
        meant = [target for target in targets if given.is_for(target.name)]
        here = {target.name.rsplit("/", 1)[-1] for target in targets}
        if not meant and given.last in set(elsewhere) - here:
            notes.append(f"{given.place}: there is no node {given.last} this time to take {given.name}")
        elif not meant:
            near = difflib.get_close_matches(given.last, [*here, *elsewhere], 1, 0.0)
            hint = [target.name for target in targets if near and target.name.endswith(f"/{near[0]}")]
            raise ArgumentError(f"{given.place}: {given.pattern} is none of the nodes "
                                f"({', '.join(target.name for target in targets)}); did you mean "
                                f"{(hint or [f'/**/{near[0]}'])[0]}?")
        elif not any([_is_taken(given, target) for target in meant]):
            _refuse_unknown(given, meant)
            notes.append(f"{given.place}: none of the nodes of this time takes {given.name}")
    for target in targets:
        _build(path, target)
    return notes


def check_node(words: Sequence[str], name: str, settings: type[Settings]) -> None:
    """Look at the parameters that a node itself was given; those of other nodes in its files are none of its business.

    Args:
        words: its arguments.
        name: of the node, with its namespace.
        settings: the class of its settings.

    Raises:
        ArgumentError: it does not have one of them, or not with such a value.
    """
    target = Target(name, settings)
    for given in [*itertools.chain.from_iterable(map(_read, _files(words))), *_single(words, name)]:
        if given.is_for(name) and not _is_taken(given, target):
            _refuse_unknown(given, [target])


def _is_taken(given: _Given, target: Target) -> bool:
    """Whether the node has this parameter; ArgumentError where it can't have this value, or has another already."""
    known = target.parameters.get(given.name) or _policy(given)
    if known is None:
        return False
    try:
        value = known.check(given.value)
    except ArgumentError as error:
        raise ArgumentError(f"{given.place}: {error}") from None
    value = list(value) if isinstance(value, tuple) else value
    if given.name in target.taken and value != target.taken[given.name]:
        raise ArgumentError(f"{given.place}: {given.name} of {target.name} is set by an argument of the launch, which "
                            f"wins, to {target.taken[given.name]}: give {given.name}:= there")
    return True


def _policy(given: _Given) -> Setting | None:
    """The policy that an override of QoS is for; ArgumentError where it is none of a topic of the stack."""
    if not given.name.startswith("qos_overrides."):
        return None
    found = _QOS.fullmatch(given.name)
    policies = {each.name: each for each in settings_of(_QosSettings)}
    if found is None or found["policy"] not in policies:
        raise ArgumentError(f"{given.place}: overrides of QoS are named qos_overrides./TOPIC.publisher.POLICY or "
                            f"….subscription.POLICY, with {', '.join(policies)}, found {given.name}")
    try:
        qos.profile(found["topic"])
    except KeyError as error:
        near = difflib.get_close_matches(str(error.args[0]), qos.TOPICS, 1, 0.0)[0]
        raise ArgumentError(f"{given.place}: no node has a topic {found['topic']}; the nearest one is {near}") from None
    return policies[found["policy"]]


def _refuse_unknown(given: _Given, meant: Sequence[Target]) -> None:
    """ArgumentError; not for what is said to all nodes and is a parameter of another one."""
    installed = [Target("", settings) for settings in settings_by_executable().values()]
    if given.last in ("*", "**") and any(given.name in target.parameters for target in installed):
        return
    names = sorted({name for target in meant for name in target.parameters})
    near = difflib.get_close_matches(given.name, names, 1, 0.0)[0]
    raise ArgumentError(f"{given.place}: {' and '.join(target.name for target in meant)} has no parameter "
                        f"{given.name}; the nearest one is {near}")


def _build(path: str, target: Target) -> None:
    """ArgumentError where values that are good alone are not together."""
    own = {each.name for each in settings_of(target.settings)}
    values = {given.name: given.value for given in _read(path) if given.is_for(target.name) and given.name in own}
    if values:
        try:
            target.settings(**{**values, **{name: value for name, value in target.taken.items() if name in own}})
        except ArgumentError as error:
            raise ArgumentError(f"params_file {path}: {error}") from None


# Reading


def _read(path: str) -> list[_Given]:
    """All parameters of a file; ArgumentError where rcl would not read it."""
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
        remove_ros_args(["--ros-args", "--params-file", path])  # rcl's own word on it
        root = yaml.compose(text)
    except (OSError, UnicodeDecodeError, RuntimeError, yaml.YAMLError) as error:
        raise ArgumentError(f"params_file {path} can't be read: {' '.join(str(error).split())}") from None
    found = list(_sections(path, root, "")) if isinstance(root, yaml.MappingNode) else []
    if not found:
        raise ArgumentError(f"params_file {path} must hold parameters as NODE: {{{_SECTION}: {{NAME: VALUE}}}}, found "
                            "none")
    return found


def _sections(path: str, node: yaml.MappingNode, name: str) -> Iterator[_Given]:
    """The parameters below a node's name, which may be written in pieces."""
    for key, value in node.value:
        if key.value == _SECTION and isinstance(value, yaml.MappingNode):
            yield from _parameters(path, value, name, "")
        elif isinstance(value, yaml.MappingNode):
            yield from _sections(path, value, f"{name}/{key.value.strip('/')}")


def _parameters(path: str, node: yaml.MappingNode, pattern: str, prefix: str) -> Iterator[_Given]:
    for key, value in node.value:
        name = f"{prefix}{key.value}"
        if isinstance(value, yaml.MappingNode):
            yield from _parameters(path, value, pattern, f"{name}.")
        else:
            yield _Given(pattern, name, _value(value), f"params_file {path}, line {key.start_mark.line + 1}")


def _files(words: Iterable[str]) -> list[str]:
    """The parameter files among a node's arguments."""
    return [value for flag, value in itertools.pairwise(words) if flag == "--params-file"]


def _single(words: Iterable[str], own: str) -> Iterator[_Given]:
    """The parameters among a node's arguments: -p [NODE:]NAME:=VALUE; its own name where there is none."""
    for flag, word in itertools.pairwise(words):
        if flag in ("-p", "--param"):
            name, _, value = word.partition(":=")
            node, _, name = name.rpartition(":")
            yield _Given(f"/**/{node.strip('/')}" if node else own, name, _value(yaml.compose(value)), f"-p {word}")


def _value(node: yaml.Node | None) -> Any:
    """What rcl makes of it: true or false, a whole number, a number, a text, or a list of these."""
    if isinstance(node, yaml.SequenceNode):
        return [_value(item) for item in node.value]
    text = "" if node is None else str(node.value)
    if node is None or node.style:  # quoted
        return text
    for words, meaning in ((_TRUE, True), (_FALSE, False)):
        if text in words:
            return meaning
    for read in (_whole, float) if "_" not in text else ():  # of which C knows nothing in numbers
        try:
            return read(_INFINITE.sub(r"\1inf", text))
        except ValueError:
            continue
    return math.nan if text.lower() == ".nan" else text


_TRUE = ("Y", "y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON")
_FALSE = ("N", "n", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF")
_INFINITE = re.compile(r"^([+-]?)\.(?:inf|Inf|INF)$")


def _whole(text: str) -> int:
    """As strtol reads it: decimal, 0x… or octal with a leading 0."""
    return int(text, 8) if re.fullmatch(r"[+-]?0[0-7]+", text) else int(text, 0)
