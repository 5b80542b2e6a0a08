"""The nodes of a stack as commands for the supervisor: where their programs are installed, and with which arguments."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from ant_rl.stack import NODE_NAMES, NodeEntry
from ant_rl.supervisor import Command

_BUILD_FIRST = "run `./run build`, or `colcon build` in ros2_ws and source its install/setup.bash"


class NotBuiltError(RuntimeError):
    """A node's program is not there; the text says what to do."""


def share_folder() -> Path:
    """Where the configuration of the stack is installed; NotBuiltError if it is not."""
    from ament_index_python.packages import PackageNotFoundError, get_package_share_directory
    try:
        return Path(get_package_share_directory("ant_rl"))
    except (PackageNotFoundError, OSError) as error:  # OSError: AMENT_PREFIX_PATH is not set
        raise NotBuiltError(f"the package ant_rl is not built, or not sourced: {_BUILD_FIRST}") from error


def node_command(entry: NodeEntry, params_files: Sequence[str], environment: Mapping[str, str]) -> Command:
    """How to start a node of the stack as a process; NotBuiltError if it is not installed."""
    from ament_index_python.packages import PackageNotFoundError, get_package_prefix
    try:
        program = Path(get_package_prefix(entry.package), "lib", entry.package, entry.executable)
    except (PackageNotFoundError, OSError) as error:  # OSError: AMENT_PREFIX_PATH is not set
        raise NotBuiltError(f"the package {entry.package} is not built, or not sourced: {_BUILD_FIRST}") from error
    if not os.access(program, os.X_OK):
        raise NotBuiltError(f"the node {entry.name} needs the program {program}, which is not there: {_BUILD_FIRST}")
    arguments = ["--ros-args", "--log-level", entry.log_level, "-r", f"__node:={entry.name}"]
    if entry.namespace:
        arguments += ["-r", f"__ns:={entry.namespace}"]
    for path in params_files:
        arguments += ["--params-file", path]
    for name, value in entry.parameters.items():
        # JSON is YAML with the type kept: "1" stays text. Its codes for characters are not always YAML's: they stay.
        arguments += ["-p", f"{name}:={json.dumps(value, ensure_ascii=False)}"]
    return Command(entry.name, [str(program), *arguments], environment, entry.respawn, entry.main, entry.observer,
                    prefix=not entry.display, saving=entry.saving, expendable=entry.expendable)


def check_params_file(path: str, entries: Sequence[NodeEntry]) -> list[str]:
    """Sentences on what in a parameter file is for none of these nodes; ArgumentError where it is for none at all."""
    from ant_rl_ros import params_file  # takes ROS itself, half a second
    settings = params_file.settings_by_executable()
    targets = [params_file.Target(f"{entry.namespace}/{entry.name}", settings[entry.executable], entry.parameters)
               for entry in entries]
    return params_file.check(path, targets, NODE_NAMES)
