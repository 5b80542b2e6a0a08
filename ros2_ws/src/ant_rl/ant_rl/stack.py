"""The stack as plain data: the launch arguments, and the nodes of each arrangement.

This is the one list that `launch/*.launch.py` turns into launch actions and `supervisor.py` into processes.
It imports neither rclpy nor launch. Learning methods are named by the trainer, where one is installed, tasks by the env
node. Longer than others because all arguments are one table, beside the nodes that take them.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from ant_rl.argument import Argument, check_outputs
from ant_rl_core import viewers
from ant_rl_core.identity.names import NODE, RUN, RunClaim, domain_of, full_name, is_held
from ant_rl_core.modes import MODES
from ant_rl_core.settings import ArgumentError
from ant_rl_core.surroundings import ros
from ant_rl_core.surroundings.libraries import OWN_SETTINGS

ARRANGEMENTS = {
    "sim": "env, policy and monitor on this machine: watch a policy walk",
    "train": "env, policy, trainer and monitor on this machine: learn over ROS",
    "desktop": "env and monitor (and a trainer if asked for), open to the network: the policy is on another machine",
    "pi": "policy and monitor, open to the network: the environment is on another machine",
    "record": "a recorder beside a stack that runs already: writes its topics to a rosbag2",
}

# Exit code of a node that can't run with the configuration it was given: starting it again can't help.
CONFIGURATION_ERROR = 2
SPARE_MONITOR = "another run's monitor measures this machine already: none is started"
# Exit code of a node that did its work, but another one took part in it.
CONTESTED = 3

# Fast DDS 3, of Kilted and newer, and Fast DDS 2, of Jazzy and older: variable and file of the profiles.
_FAST_DDS_3 = ("FASTDDS_DEFAULT_PROFILES_FILE", "fastdds.xml")
_FAST_DDS_2 = ("FASTRTPS_DEFAULT_PROFILES_FILE", "fastrtps.xml")
_DISTROS_WITH_FAST_DDS_2 = ("humble", "iron", "jazzy")

# Entry points of these groups are tables whose keys are names of learning methods, and of distributions of tasks.
METHODS_GROUP = "ant_rl.methods"
TASKS_GROUP = "ant_rl.tasks"

_EVERYWHERE = tuple(ARRANGEMENTS)
_STACKS = ("sim", "train", "desktop", "pi")
_WITH_ENV = ("sim", "train", "desktop")
_WITH_POLICY = ("sim", "train", "pi")
_WITH_TRAINER = ("train", "desktop", "sim")

ARGUMENTS = (
    Argument("policy", "policy", "default",
             "policy bundle: the name of a shipped one or a path; empty: wait for the trainer's",
             arrangements=_WITH_POLICY, defaults={"train": ""}),
    Argument("backend", "text", "litert", "what runs the policy: litert is light, keras needs TensorFlow",
             choices=("litert", "keras"), arrangements=_WITH_POLICY),
    Argument("variant", "text", "float32",
             "which of the policy's variants to run: float32, or a smaller one that its bundle has, such as int8",
             arrangements=_WITH_POLICY),
    Argument("explore", "bool", "false",
             "explore in the way that the policy's bundle says, as learning needs, instead of taking the best action",
             arrangements=_WITH_POLICY, defaults={"train": "true"}),
    Argument("mode", "text", "lockstep",
             "lockstep: each tick waits for the policy, as fast as physics; realtime: 20 ticks per second, a late "
             "torque means zero torque", choices=MODES, arrangements=_STACKS),
    Argument("num_envs", "int", "1", "number of robots that are simulated side by side",
             minimum=1, maximum=4096, arrangements=_WITH_ENV),
    Argument("seed", "int", "0",
             "seed of the robots' resets (robot i has seed + i), of exploration and of the learner",
             arrangements=_STACKS),
    Argument("episodes", "int", "0", "stop after this many finished episodes; 0: never", arrangements=_WITH_ENV),
    Argument("steps", "int", "0", "stop after this many ticks; 0: never", arrangements=_WITH_ENV),
    Argument("shaping", "bool", "false",
             "learn from shaped rewards (forward bonus, stall and low-body penalty; constants: parameters of env); "
             "returns stay those of the default reward", arrangements=_WITH_ENV),
    Argument("tasks", "text", "none", "tasks of the robots, drawn anew for each trial, see ./run tasks",
             choices_group=TASKS_GROUP, arrangements=_WITH_ENV),
    Argument("task_part", "text", "train", "which of the tasks: those to train on, or those held out",
             choices=("train", "held_out"), arrangements=_WITH_ENV),
    Argument("memory_off", "bool", "false", "the policy forgets all at each tick: what its memory is worth",
             arrangements=_WITH_POLICY),
    Argument("namespace", "name", "", "namespace of every node and topic: give each robot of a fleet its own",
             arrangements=_EVERYWHERE),
    Argument("monitor", "bool", "true", "measure CPU, memory and latency of the nodes on this machine",
             arrangements=_STACKS),
    Argument("status", "bool", "true", "show the live status, and a summary at the end", arrangements=_WITH_ENV),
    Argument("trainer", "bool", "false", "learn from what the robots do and send new policies",
             arrangements=_WITH_TRAINER, defaults={"train": "true"}),
    Argument("algorithm", "text", "ppo", "learning method of the trainer", choices_group=METHODS_GROUP,
             arrangements=_WITH_TRAINER),
    Argument("config", "list", "",
             "settings of the learning method, e.g. config:='total_steps:=1000000 learning_rate:=1e-4'",
             arrangements=_WITH_TRAINER),
    Argument("output", "folder", "runs/ros", "folder for the trainer's checkpoint, curve and policy",
             arrangements=_WITH_TRAINER),
    Argument("resume", "bool", "false",
             "the trainer goes on from the checkpoint in its output folder, which otherwise must hold none, with the "
             "settings of then where none are given; ./run train METHOD output:=… resume:=true goes on from it too",
             arrangements=_WITH_TRAINER),
    Argument("record", "new_folder", "", "folder for a recording of all topics, a rosbag2; empty: none",
             arrangements=_STACKS),
    Argument("record", "new_folder", "",
             "folder for the recording, a rosbag2; empty: rosbag2_ and date and time, in the current folder",
             arrangements=("record",)),
    Argument("record_format", "text", "mcap", "storage of the recording", choices=("mcap", "sqlite3"),
             arrangements=_EVERYWHERE),
    Argument("viewer", "text", "none",
             "show the robot, its contacts, torques, return, latency, CPU and memory in rerun, or the robot alone in "
             "mujoco's own viewer", choices=viewers.VIEWERS, arrangements=_WITH_ENV),
    Argument("viewer_path", "output", "",
             "file (.rrd) that viewer:=rerun writes instead of opening its window; empty: the window",
             arrangements=_WITH_ENV),
    Argument("render_hz", "int", "0",
             "pictures of the robot per second, at most, on the topic image; drawn without a display; 0: none",
             arrangements=_WITH_ENV),
    Argument("log_level", "text", "info", "least severe log message that is shown",
             choices=("debug", "info", "warn", "error", "fatal"), arrangements=_EVERYWHERE),
    Argument("summary", "output", "", "file for the summary as JSON, written at the end; empty: none",
             arrangements=_WITH_ENV),
    Argument("params_file", "input", "",
             "YAML file with further node parameters, on top of config/stack.yaml; empty: none",
             arrangements=_EVERYWHERE),
)


@dataclass(frozen=True)
class NodeEntry:
    """One node of an arrangement.

    Attributes:
        package, executable: what `ros2 run` would start.
        name, namespace: of the node; the namespace is empty or starts with /.
        parameters: node parameters that the arrangement sets; they win over the parameter files.
        respawn: start it again when it ends unexpectedly.
        main: its end ends the stack: a clean one always, any other where it is not started again.
        observer: it watches the others, so it is stopped after them, and they go on where it fails.
        display: it shows the run to people: its lines have no prefix.
        log_level: ROS log level.
        saving: how long it may need to save at its end, where that is longer than other nodes need to end [s].
        expendable: nothing is lost where it has to be killed in the end, so that is told and is no failure.
    """

    package: str
    executable: str
    name: str
    namespace: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    respawn: bool = True
    main: bool = False
    observer: bool = False
    display: bool = False
    log_level: str = "info"
    saving: float = 0.0
    expendable: bool = False


@dataclass(frozen=True)
class _Part:
    """A node, the arrangements that may hold it, what switches it on, the arguments it takes."""

    entry: NodeEntry
    arrangements: tuple[str, ...]
    switch: str | Callable[[Mapping[str, Any]], bool] | None  # an argument, or a look at all of them
    arguments: tuple[str, ...]

    def is_on(self, arguments: Mapping[str, Any]) -> bool:
        """Whether these arguments ask for the node."""
        if self.switch is None:
            return True
        return self.switch(arguments) if callable(self.switch) else bool(arguments[self.switch])


def _is_watched(arguments: Mapping[str, Any]) -> bool:
    return arguments.get("viewer", "none") != "none" or arguments.get("render_hz", 0) > 0


# The observers come first, so that they are there before there is something to miss.
_PARTS = (
    _Part(NodeEntry("ant_rl", "status_node", "status", observer=True, display=True), _WITH_ENV, "status",
          ("summary",)),
    _Part(NodeEntry("recorder_node", "recorder_node", "recorder", observer=True), _STACKS, "record",
          ("record", "record_format")),
    _Part(NodeEntry("recorder_node", "recorder_node", "recorder", observer=True, main=True), ("record",), None,
          ("record", "record_format")),
    _Part(NodeEntry("viewer_node", "viewer_node", "viewer", observer=True), _WITH_ENV, _is_watched,
          ("viewer", "viewer_path", "render_hz")),
    _Part(NodeEntry("ant_env_node", "env_node", "env", main=True), _WITH_ENV, None,
          ("mode", "num_envs", "seed", "episodes", "steps", "shaping", "tasks", "task_part")),
    _Part(NodeEntry("policy_node", "policy_node", "policy"), _WITH_POLICY, None,
          ("policy", "backend", "variant", "explore", "mode", "seed", "memory_off")),
    # It ends its update and writes a checkpoint, replay included, which a slow disk takes long for.
    _Part(NodeEntry("trainer", "trainer_node", "trainer", main=True, saving=60.0), _WITH_TRAINER, "trainer",
          ("mode", "algorithm", "config", "seed", "output", "resume")),
    _Part(NodeEntry("monitor_node", "monitor_node", "monitor", expendable=True), _STACKS, "monitor", ()),
)

# Of all nodes, those that run beside each other and those that never do.
NODE_NAMES = tuple(dict.fromkeys(part.entry.name for part in _PARTS))


def arguments_of(arrangement: str) -> tuple[Argument, ...]:
    """Arguments of `arrangement`, in the order in which help lists them, with what installed packages let them be."""
    return tuple(replace(argument, choices=_offered(argument.choices_group)) if argument.choices_group else argument
                 for argument in ARGUMENTS if arrangement in argument.arrangements)


@cache
def _offered(group: str) -> tuple[str, ...]:
    """Keys of all tables that installed packages offer as entry points of this group."""
    return tuple(name for point in entry_points(group=group) for name in point.load())


def parse(arrangement: str, given: Mapping[str, str]) -> dict[str, Any]:
    """Typed values of all arguments of `arrangement`, defaults filled in; ArgumentError says what can't be used."""
    known = {argument.name: argument for argument in arguments_of(arrangement)}
    for name in given:
        if name not in known:
            raise ArgumentError(unknown_argument(arrangement, name))
    values = {name: argument.value(given.get(name, argument.default_in(arrangement)))
              for name, argument in known.items()}
    check_outputs(known.values(), values)
    if "viewer" in values:
        viewers.check(str(values["viewer"]), str(values["viewer_path"]), os.environ)
    return values


def unknown_argument(arrangement: str, name: str) -> str:
    """Sentence about an argument that `arrangement` does not have."""
    names = [argument.name for argument in arguments_of(arrangement)]
    near = difflib.get_close_matches(name, names, 1)
    hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(names)}"
    return f"{arrangement} has no argument {name}; {hint}"


def nodes(arrangement: str, arguments: Mapping[str, Any]) -> list[NodeEntry]:
    """The nodes of `arrangement`, in starting order, for the values that `parse` returned."""
    namespace = arguments["namespace"].strip("/")
    result = []
    for part in _PARTS:
        if arrangement not in part.arrangements or not part.is_on(arguments):
            continue
        parameters = {name: arguments[name] for name in part.arguments}
        respawn = True
        if part.entry.name == "env":
            # The environment starts ticking once these listen, so that nothing is missed.
            parameters["listeners"] = int(arguments["status"]) + bool(arguments["record"]) + _is_watched(arguments)
            # On one machine a crash of the environment is the end; on a desktop a robot elsewhere waits for it.
            respawn = arrangement == "desktop"
        if part.entry.name == "policy" and arguments["record"]:
            parameters["listeners"] = 2  # the environment, and the recorder, which is to miss no torque
        if part.entry.name in ("recorder", "viewer"):
            respawn = False  # it would find its folder taken, or write over its file: what it wrote is there
        if part.entry.name == "status":
            parameters["arguments"] = [f"{name}:={_text(value)}" for name, value in sorted(arguments.items())]
        result.append(replace(part.entry, namespace=f"/{namespace}" if namespace else "", parameters=parameters,
                              respawn=respawn, log_level=arguments["log_level"]))
    return result


def claim(found: Sequence[NodeEntry], current: Mapping[str, str]) -> tuple[RunClaim, list[NodeEntry]]:
    """Hold the names of these nodes while they run; returns what holds them, and the nodes that are to be started.

    A second monitor is left out: the one that is there measures every node on this machine.

    Args:
        found: nodes of an arrangement.
        current: environment variables.

    Raises:
        NameTakenError: another run has one of the names.
    """
    domain = domain_of(current)
    names = {full_name(entry.namespace, entry.name): entry for entry in found}
    spare = [name for name, entry in names.items()
             if entry.name == "monitor" and len(names) > 1 and any(is_held(kind, domain, name) for kind in (RUN, NODE))]
    wanted = [name for name in names if name not in spare]
    return RunClaim(domain, wanted), [names[name] for name in wanted]


def environment(arrangement: str, current: Mapping[str, str], config: Path) -> dict[str, str]:
    """Environment variables that the processes of `arrangement` get on top of `current`.

    DDS stays on this machine unless the arrangement spans machines or the user has decided; Fast DDS, if that is what
    is used, gets the profiles of the folder `config` unless the user has some.

    Raises:
        ArgumentError: ROS can't run with what is there.
    """
    result = {**ros.variables(current), **OWN_SETTINGS, "ROS_AUTOMATIC_DISCOVERY_RANGE": "SUBNET"}
    if arrangement not in ("desktop", "pi"):
        result["ROS_AUTOMATIC_DISCOVERY_RANGE"] = current.get("ROS_AUTOMATIC_DISCOVERY_RANGE") or "LOCALHOST"
    given = [current[name] for name, _ in (_FAST_DDS_2, _FAST_DDS_3) if current.get(name)]
    if all(map(ros.is_own_profile, given)):
        old = current.get("ROS_DISTRO") in _DISTROS_WITH_FAST_DDS_2
        name, file = _FAST_DDS_2 if old else _FAST_DDS_3
        result[name] = str(config / file)
    return result


def _text(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(value)
    return str(value).lower() if isinstance(value, bool) else str(value)
