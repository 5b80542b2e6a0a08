"""The commands of the stack: `./run VERB key:=value …`, which is `python -m ant_rl VERB key:=value …`.

What a verb needs is imported when it is used: `sim` must not wait for the import of a learning library.
"""

from __future__ import annotations

import difflib
import os
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ant_rl import stack
from ant_rl_core.settings import ArgumentError, split

_ONE_PROCESS = {
    "train ALGORITHM": "learn in one process, for speed, e.g. ./run train ppo seed:=1; methods: ./run train --list",
    "eval BUNDLE": "evaluate a policy bundle in one process, e.g. ./run eval default episodes:=20 seed:=1000",
    "compress BUNDLE": "smaller variants of a policy, and what each gains and costs, e.g. ./run compress default int8",
    "report BAG …": "one HTML page with the story of a recorded run, or of several side by side",
    "replay BAG [env]": "play a recording to a policy node, to env or to trainer, and compare with what was recorded",
    "video BUNDLE …": "policies walking side by side, as an MP4, e.g. ./run video default default:int8 steps:=200",
    "repair BAG": "finish a recording whose recorder was killed, so that it opens again",
    "bench [learn]": "measure speed and memory and compare with what is to be reached: the stack, or the learners",
}
_WITH_PROGRESS = ("train", "eval", "report", "replay", "video")
_SHELL = {
    "setup": "install and build what is missing, and nothing else",
    "build": "build everything from nothing",
    "test": "run every test; further words go to pytest",
    "exec CMD": "run a command in the environment",
}
_VERBS = [*stack.ARRANGEMENTS, "eval", "compress", "report", "replay", "video", "repair", "bench", "help"]
_USAGE_ERROR = 2
_QUIET = "--quiet"
_WIDTH = 100


def main(words: Sequence[str]) -> int:
    """Run the verb in `words`; returns the exit code. 2 and one sentence where the words can't be understood."""
    try:
        return _run(list(words))
    except ArgumentError as error:
        print(f"ant_rl: {error}", file=sys.stderr)
        return _USAGE_ERROR


def _run(words: list[str]) -> int:
    quiet = _QUIET in words
    verb, *rest = [word for word in words if word != _QUIET] or ["help"]
    wants_help = any(word in ("-h", "--help", "help") for word in words)
    if verb in ("-h", "--help", "help"):
        topic = rest[0] if rest else ""
        print(verb_help(topic) if topic in stack.ARRANGEMENTS else overview())
        return 0
    if verb not in _VERBS:
        near = difflib.get_close_matches(verb, [*_VERBS, *(name.split()[0] for name in _SHELL)], 1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(_VERBS)}"
        raise ArgumentError(f"there is no command {verb}; {hint}")
    if quiet and verb in _WITH_PROGRESS:
        from trainer.runs import progress
        progress.show_lines_only()
    if verb == "eval":
        return _evaluate(rest, wants_help)
    if verb == "compress":
        return _compress(rest, wants_help)
    if verb == "report":
        return _report(rest, wants_help)
    if verb == "replay":
        return _replay(rest, wants_help)
    if verb == "video":
        return _video(rest, wants_help)
    if verb == "repair":
        return _repair(rest, wants_help)
    if verb == "bench":
        from ant_rl_tools import bench
        suite = rest.pop(0) if rest and rest[0] in bench.SUITES else ""
        if wants_help:
            print(bench.help_text(suite))
            return 0
        return bench.main(split(rest), suite)
    if verb == "train" and rest and (rest[0] == "--list" or ":=" not in rest[0] and not rest[0].startswith("-")):
        return _train(rest[0], rest[1:], wants_help)
    if wants_help:
        print(verb_help(verb))
        return 0
    return _start(verb, split(rest), quiet)


def _start(arrangement: str, given: dict[str, str], quiet: bool) -> int:
    """Run an arrangement of nodes as processes, until it ends; `quiet` shows lines only, on a terminal too."""
    values = stack.parse(arrangement, given)
    from ant_rl.console import Console
    from ant_rl.supervisor import NotBuiltError, Supervisor, node_command, share_folder
    console = Console(sys.stdout)
    try:
        config = share_folder() / "config"
        environment = stack.environment(arrangement, os.environ, config)
        params_files = [str(path) for path in (config / "stack.yaml", values["params_file"]) if path]
        commands = [node_command(_styled(entry, console.live and not quiet), params_files, environment)
                    for entry in stack.nodes(arrangement, values)]
    except NotBuiltError as error:
        print(f"ant_rl: {error}", file=sys.stderr)
        return _USAGE_ERROR
    return Supervisor(commands, console).run()


def _styled(entry: stack.NodeEntry, live: bool) -> stack.NodeEntry:
    """What is shown of the run is drawn in place where the console can do that."""
    if not (entry.display and live):
        return entry
    return replace(entry, parameters={**entry.parameters, "style": "frames"})


def _train(algorithm: str, words: list[str], wants_help: bool) -> int:
    from trainer.runs import train_config
    if algorithm == "--list":
        print(train_config.list_text())
        return 0
    if wants_help:
        print(train_config.help_text(algorithm))
        return 0
    train_config.method_named(algorithm)  # TensorFlow takes seconds to import: a wrong name is told before
    from trainer.runs import train
    return train.main(algorithm, split(words))


def _evaluate(words: list[str], wants_help: bool) -> int:
    if wants_help or not words or ":=" in words[0]:
        sentence = "eval needs a policy bundle, a path or the name of a shipped one: ./run eval BUNDLE key:=value …"
        if not wants_help:
            raise ArgumentError(sentence)
        print(sentence)
        return 0
    from trainer.runs import evaluate
    return evaluate.main(words[0], split(words[1:]))


def _compress(words: list[str], wants_help: bool) -> int:
    from trainer.compress import command
    if wants_help:
        print(command.help_text())
        return 0
    if not words or ":=" in words[0]:
        raise ArgumentError("compress needs a policy bundle, a path or the name of a shipped one: ./run compress "
                            "BUNDLE [METHOD …] key:=value …")
    methods = [word for word in words[1:] if ":=" not in word]
    return command.main(words[0], methods, split([word for word in words[1:] if ":=" in word]))


def _report(words: list[str], wants_help: bool) -> int:
    from ant_rl_tools.report import command
    if not wants_help:
        return command.main(words)
    print(command.help_text())
    return 0


def _replay(words: list[str], wants_help: bool) -> int:
    from ant_rl_tools.replay import command
    if wants_help:
        print(command.help_text())
        return 0
    if not words or ":=" in words[0]:
        raise ArgumentError("replay needs the folder of a recording: ./run replay BAG [policy|env|trainer] key:=value …")
    bag, *words = words
    target = words.pop(0) if words and ":=" not in words[0] else "policy"
    if target not in command.TARGETS:
        near = difflib.get_close_matches(target, command.TARGETS, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ArgumentError(f"replay plays to {' or '.join(command.TARGETS)}, found {target}{hint}")
    return command.main(bag, target, split(words))


def _video(words: list[str], wants_help: bool) -> int:
    from ant_rl_tools.video import command
    if wants_help:
        print(command.help_text())
        return 0
    names = [word for word in words if ":=" not in word]
    if not names:
        raise ArgumentError("video needs policy bundles, paths or names of shipped ones: ./run video BUNDLE … "
                            "key:=value …")
    return command.main(names, split([word for word in words if ":=" in word]))


def _repair(words: list[str], wants_help: bool) -> int:
    sentence = "repair needs the folder of a recording: ./run repair BAG"
    if wants_help:
        print(sentence)
        return 0
    if len(words) != 1:
        raise ArgumentError(f"{sentence}, found {' '.join(words) or 'none'}")
    from recorder_node.bag import BagError, repair
    try:
        contents = repair(Path(words[0]))
    except BagError as error:
        raise ArgumentError(str(error)) from error
    print(f"{words[0]}: {sum(contents.counts.values())} messages of {len(contents.topics)} topics, "
          f"{1e-9 * (contents.end - contents.start):.1f} s")
    return 0


def overview() -> str:
    """Help on all verbs."""
    parts = ["usage: ./run VERB [key:=value …]      help on one: ./run VERB --help", "",
             "ROS 2 nodes, until Ctrl-C or until what was asked for is done:", _list(stack.ARRANGEMENTS), "",
             "In one process:", _list(_ONE_PROCESS), "",
             "Around them (of ./run itself):", _list(_SHELL), "",
             "--quiet after any of them: lines instead of bars and a live status, as where there is no terminal.",
             "With ROS 2 sourced the arrangements are launch files too: ros2 launch ant_rl sim.launch.py …"]
    return "\n".join(parts)


def verb_help(arrangement: str) -> str:
    """Help on one arrangement: what it starts and its arguments with their defaults."""
    lines = [f"usage: ./run {arrangement} [key:=value …]", "", stack.ARRANGEMENTS[arrangement]]
    if arrangement == "train":
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
