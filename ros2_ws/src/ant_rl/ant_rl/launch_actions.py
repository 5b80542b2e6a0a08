"""The list of `stack.py` as launch actions, for `launch/*.launch.py`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, EmitEvent, LogInfo, OpaqueFunction, SetEnvironmentVariable
from launch.events import Shutdown
from launch.events.process import ProcessExited
from launch_ros.actions import Node

from ant_rl import stack
from ant_rl.argument import Argument
from ant_rl.node_commands import check_params_file
from ant_rl_core.identity.names import RunClaim
from ant_rl_core.settings import ArgumentError

_RESPAWN_DELAY = 1.0  # [s]
_SIGTERM_TIMEOUT, _SIGKILL_TIMEOUT = 6.0, 2.0  # [s]
claims: list[RunClaim] = []  # of the names of the nodes; held until this process ends


def description(arrangement: str) -> LaunchDescription:
    """Everything that `ros2 launch ant_rl ARRANGEMENT.launch.py` does."""
    declared = [_declare(argument, arrangement) for argument in stack.arguments_of(arrangement)]
    variables = [SetEnvironmentVariable(name, value)
                 for name, value in stack.environment(arrangement, os.environ, _config()).items()]
    return LaunchDescription([*declared, *variables, OpaqueFunction(function=_start, args=[arrangement])])


def _config() -> Path:
    return Path(get_package_share_directory("ant_rl"), "config")


def _declare(argument: Argument, arrangement: str) -> DeclareLaunchArgument:
    return DeclareLaunchArgument(argument.name, default_value=argument.default_in(arrangement),
                                 description=argument.description, choices=list(argument.choices) or None)


def _start(context: LaunchContext, arrangement: str) -> list[Any]:
    """Check the arguments and make the nodes; ArgumentError says what can't be used."""
    names = [argument.name for argument in stack.arguments_of(arrangement)]
    notes = [LogInfo(msg=sentence) for sentence in _unknown(context, arrangement, names)]
    values = stack.parse(arrangement, {name: context.launch_configurations[name] for name in names})
    params_files = [str(path) for path in (_config() / "stack.yaml", values["params_file"]) if path]
    wanted = stack.nodes(arrangement, values)
    if values["params_file"]:
        notes += [LogInfo(msg=sentence) for sentence in check_params_file(values["params_file"], wanted)]
    claim, entries = stack.claim(wanted, {**os.environ, **context.environment})
    claims.append(claim)
    if len(entries) < len(wanted):
        notes.append(LogInfo(msg=stack.SPARE_MONITOR))
    return [*notes, *(_node(entry, params_files) for entry in entries)]


def _unknown(context: LaunchContext, arrangement: str, known: list[str]) -> list[str]:
    """Sentences about arguments that the arrangement does not have.

    Typed for this very file they are an error; a launch file that includes this one may have arguments of its own.
    """
    own = {Path(word).name for word in sys.argv} & {f"{arrangement}.launch.py"}
    typed = dict(word.split(":=", 1) for word in context.argv if ":=" in word)
    sentences = [stack.unknown_argument(arrangement, name) for name in typed if name not in known]
    if own and sentences:
        raise ArgumentError(sentences[0])
    return sentences


def _node(entry: stack.NodeEntry, params_files: list[str]) -> Node:
    return Node(
        package=entry.package, executable=entry.executable, name=entry.name, namespace=entry.namespace,
        parameters=[*params_files, dict(entry.parameters)], output="screen", emulate_tty=False,
        ros_arguments=["--log-level", entry.log_level], respawn=entry.respawn, respawn_delay=_RESPAWN_DELAY,
        sigterm_timeout=str(max(_SIGTERM_TIMEOUT, entry.saving)), sigkill_timeout=str(_SIGKILL_TIMEOUT),
        on_exit=lambda event, context: _ended(entry, event, context))


def _ended(entry: stack.NodeEntry, event: ProcessExited, context: LaunchContext) -> list[Any]:
    """The main node's end is the stack's; a node that refuses its configuration is not started again and again."""
    code = event.returncode
    if context.is_shutdown:
        return []
    if code == stack.CONFIGURATION_ERROR or (entry.main and (code in (0, stack.CONTESTED) or not entry.respawn)):
        return [EmitEvent(event=Shutdown(reason=f"{entry.name} ended with exit code {code}"))]
    return []
