"""What `./run` has of this package: report, replay, video, demo, model, bench.

A verb's own modules are imported when it runs.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Sequence

from ant_rl_core.settings import ArgumentError, split
from ant_rl_core.verbs import Verb
from trainer.verbs import show_lines_only


def _report(words: Sequence[str]) -> int:
    from ant_rl_tools.report import command
    return command.main(words)


def _report_help(words: Sequence[str]) -> str:
    from ant_rl_tools.report import command
    return command.help_text()


def _replay(words: Sequence[str]) -> int:
    if not words or ":=" in words[0]:
        raise ArgumentError("replay needs the folder of a recording: ./run replay BAG [policy|env|trainer] "
                            "key:=value …")
    from ant_rl_tools.replay import command
    bag, *rest = words
    target = rest.pop(0) if rest and ":=" not in rest[0] else "policy"
    if target not in command.TARGETS:
        near = difflib.get_close_matches(target, command.TARGETS, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ArgumentError(f"replay plays to {' or '.join(command.TARGETS)}, found {target}{hint}")
    return command.main(bag, target, split(rest))


def _replay_help(words: Sequence[str]) -> str:
    from ant_rl_tools.replay import command
    return command.help_text()


def _video(words: Sequence[str]) -> int:
    names = [word for word in words if ":=" not in word]
    if not names:
        raise ArgumentError("video needs policy bundles, paths or names of shipped ones: ./run video BUNDLE … "
                            "key:=value …")
    from ant_rl_tools.video import command
    return command.main(names, split(word for word in words if ":=" in word))


def _video_help(words: Sequence[str]) -> str:
    from ant_rl_tools.video import command
    return command.help_text()


def _demo(words: Sequence[str]) -> int:
    from ant_rl_tools.demo import command, scenes
    if not words or ":=" in words[0]:
        names = " or ".join(scenes.offered()) or "NAME"
        raise ArgumentError(f"demo needs what to show: ./run demo {names} key:=value …")
    return command.main(words[0], split(words[1:]))


def _demo_help(words: Sequence[str]) -> str:
    from ant_rl_tools.demo import command
    return command.help_text()


def _model(words: Sequence[str]) -> int:
    from ant_rl_tools.model import command
    return command.main(words)


def _model_help(words: Sequence[str]) -> str:
    from ant_rl_tools.model import command
    return command.help_text()


def _bench(words: Sequence[str]) -> int:
    from ant_rl_tools import bench
    suite = _suite(words, bench.SUITES)
    return bench.main(split(words[1:] if suite else words), suite)


def _bench_help(words: Sequence[str]) -> str:
    from ant_rl_tools import bench
    return bench.help_text(_suite(words, bench.SUITES))


def _suite(words: Sequence[str], suites: Collection[str]) -> str:
    """The suite of the benchmark that is asked for, by the first word; the one without a name where it is none."""
    return words[0] if words and words[0] in suites else ""


REPORT = Verb("report BAG …", "one HTML page with the story of a recorded run, or of several side by side", 40, _report,
              _report_help, show_lines_only, uses_ros=True)
REPLAY = Verb("replay BAG [env]", "play a recording to a policy node, to env or to trainer, and compare with what was "
              "recorded", 50, _replay, _replay_help, show_lines_only, uses_ros=True)
VIDEO = Verb("video BUNDLE …", "policies walking side by side, as an MP4, e.g. ./run video default default:int8 "
             "steps:=200", 60, _video, _video_help, show_lines_only)
DEMO = Verb("demo NAME", "a policy that finds out its task beside one that can't, while the task changes, e.g. "
            "./run demo wired", 65, _demo, _demo_help, show_lines_only)
MODEL = Verb("model DATA …", "learn a model of the environment from recordings or from a run's replay, and judge it",
             35, _model, _model_help, show_lines_only, uses_ros=True)
BENCH = Verb("bench [learn]", "measure speed and memory and compare with what is to be reached: the stack, or the "
             "learners", 80, _bench, _bench_help, uses_ros=True)
