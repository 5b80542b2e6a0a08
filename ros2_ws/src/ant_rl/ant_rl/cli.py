"""The commands of the stack: `./run VERB key:=value …`, which is `python -m ant_rl VERB key:=value …`.

The arrangements of nodes are here; other verbs come with the packages that are built (`ant_rl_core.verbs`).
What a verb needs is imported when it is used: `sim` must not wait for the import of a learning library.
"""

from __future__ import annotations

import difflib
import os
import sys
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import replace

from ant_rl import stack
from ant_rl_core import ending, verbs
from ant_rl_core.identity.names import NameTakenError
from ant_rl_core.settings import ArgumentError, split
from ant_rl_core.surroundings import ros
from ant_rl_core.verbs import Verb

_SHELL = {
    "setup": "install and build what is missing, and nothing else",
    "build": "build everything from nothing",
    "test": "run every test; further words go to pytest",
    "exec CMD": "run a command in the environment",
}
_USAGE_ERROR = 2
_QUIET = "--quiet"
_HELP = ("-h", "--help", "help")
_WIDTH = 100
# How alike a word must be to be taken for a slip of the pen: "replay", which a Pi does not have, is not "repair".
_NEAR = 0.7


def program(words: Sequence[str]) -> int:
    """`main` as a process: nothing that is printed can end it, and each signal that asks for the end does so alike."""
    ending.speak()
    ending.interrupt_on_signals()
    try:
        code = main(words)
    except KeyboardInterrupt:
        print("ant_rl: stopped", file=sys.stderr)
        code = ending.INTERRUPTED
    lost = ending.not_written()
    if lost is not None and not code:
        print(f"ant_rl: what it printed could not be written ({lost.strerror}); all else was done", file=sys.stderr)
        code = 1
    return code


def main(words: Sequence[str]) -> int:
    """Run the verb in `words`; returns the exit code. 2 and one sentence where the words can't be understood."""
    try:
        return _run(list(words))
    except (ArgumentError, NameTakenError) as error:
        print(f"ant_rl: {error}", file=sys.stderr)
        return _USAGE_ERROR


def _run(words: list[str]) -> int:
    quiet = _QUIET in words
    name, *rest = [word for word in words if word != _QUIET] or ["help"]
    wants_help = any(word in _HELP for word in words)
    if name in _HELP:
        topic = rest[0] if rest else ""
        print(arrangement_help(topic) if topic in stack.ARRANGEMENTS else overview())
        return 0
    found = {} if name in stack.ARRANGEMENTS and not _may_name_a_method(rest) else verbs.installed()
    if name in found:
        return _run_verb(found[name], rest, wants_help, quiet)
    if name not in stack.ARRANGEMENTS:
        raise ArgumentError(_unknown(name, found))
    if wants_help:
        print(arrangement_help(name))
        return 0
    return _start(name, split(rest), quiet)


def _may_name_a_method(words: list[str]) -> bool:
    """Whether these words can be meant for a verb that has the name of an arrangement, as in `train ppo`."""
    return bool(words) and (words[0] == "--list" or ":=" not in words[0] and not words[0].startswith("-"))


def _run_verb(verb: Verb, words: list[str], wants_help: bool, quiet: bool) -> int:
    if verb.uses_ros:
        ros.check_middleware(os.environ)
    if wants_help:
        print(verb.help(words))
        return 0
    if quiet and verb.show_lines_only:
        verb.show_lines_only()
    return verb.run(words)


def _unknown(name: str, found: Iterable[str]) -> str:
    known = [*dict.fromkeys([*stack.ARRANGEMENTS, *found]), "help"]
    near = difflib.get_close_matches(name, [*known, *(usage.split()[0] for usage in _SHELL)], 1, _NEAR)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
    return f"there is no command {name}; {hint}"


def _start(arrangement: str, given: dict[str, str], quiet: bool) -> int:
    """Run an arrangement of nodes as processes, until it ends; `quiet` shows lines only, on a terminal too."""
    values = stack.parse(arrangement, given)
    ros.check_middleware(os.environ)
    from ant_rl.console import Console
    from ant_rl.node_commands import NotBuiltError, check_params_file, node_command, share_folder
    from ant_rl.supervisor import Supervisor
    console = Console(sys.stdout)
    try:
        config = share_folder() / "config"
        environment = stack.environment(arrangement, os.environ, config)
        params_files = [str(path) for path in (config / "stack.yaml", values["params_file"]) if path]
        wanted = stack.nodes(arrangement, values)
        for note in check_params_file(values["params_file"], wanted) if values["params_file"] else ():
            print(f"ant_rl: {note}", file=sys.stderr)
        claim, entries = stack.claim(wanted, os.environ)
        commands = [node_command(_styled(entry, console.live and not quiet), params_files, environment)
                    for entry in entries]
    except NotBuiltError as error:
        print(f"ant_rl: {error}", file=sys.stderr)
        return _USAGE_ERROR
    if len(entries) < len(wanted):
        console.write("supervisor", stack.SPARE_MONITOR)
    # Where something is kept, or is for another machine, it is of use that nobody reads along.
    keeps = arrangement != "sim" or any(values[name] for name in ("record", "summary", "viewer_path", "trainer"))
    with claim:
        return Supervisor(commands, console, unread=keeps).run()


def _styled(entry: stack.NodeEntry, live: bool) -> stack.NodeEntry:
    """What is shown of the run is drawn in place where the console can do that."""
    if not (entry.display and live):
        return entry
    return replace(entry, parameters={**entry.parameters, "style": "frames"})


def overview() -> str:
    """Help on all verbs."""
    one_process = {verb.usage: verb.summary for verb in verbs.installed().values()}
    parts = ["usage: ./run VERB [key:=value …]      help on one: ./run VERB --help", "",
             "ROS 2 nodes, until Ctrl-C or until what was asked for is done:", _list(stack.ARRANGEMENTS), "",
             "In one process:", _list(one_process), "",
             "Around them (of ./run itself):", _list(_SHELL), "",
             "--quiet after any of them: lines instead of bars and a live status, as where there is no terminal.",
             "With ROS 2 sourced the arrangements are launch files too: ros2 launch ant_rl sim.launch.py …"]
    return "\n".join(parts)


def arrangement_help(arrangement: str) -> str:
    """Help on one arrangement: what it starts and its arguments with their defaults."""
    lines = [f"usage: ./run {arrangement} [key:=value …]", "", stack.ARRANGEMENTS[arrangement]]
    if arrangement == "train" and arrangement in verbs.installed():
        lines += ["`./run train ALGORITHM …` learns in one process instead, which is faster.",
                  "`./run train --list` names the methods, `./run train ALGORITHM --help` the settings of one."]
    lines += ["", "arguments, with their defaults:"]
    for argument in stack.arguments_of(arrangement):
        lines.append(f"  {argument.name}:={argument.default_in(arrangement)}")
        choices = f" [{' | '.join(argument.choices)}]" if argument.choices else ""
        lines += textwrap.wrap(argument.description + choices, _WIDTH, initial_indent=" " * 8,
                               subsequent_indent=" " * 8)
    return "\n".join(lines)


def _list(table: dict[str, str]) -> str:
    lines = []
    for name, description in table.items():
        lines += textwrap.wrap(description, _WIDTH, initial_indent=f"  {name:<18}", subsequent_indent=" " * 20)
    return "\n".join(lines)
