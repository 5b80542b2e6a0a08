"""Parameter files: read as ROS reads them, and nothing in them is dropped without a word."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
import rclpy
from rclpy.context import Context
from rclpy.node import Node

from ant_rl_core.settings import ArgumentError, Settings, setting
from ant_rl_ros import params_file
from ant_rl_ros.params_file import Target


@dataclass(frozen=True)
class RobotSettings(Settings):
    """Of a robot."""

    torque_timeout: float = setting(0.1, "patience", unit="s", minimum=0.001)
    seed: int = setting(0, "seed", minimum=0)
    mode: str = setting("slow", "how", choices=("slow", "fast"))
    quiet: bool = setting(False, "whether")
    names: tuple[str, ...] = setting(("",), "names")


@dataclass(frozen=True)
class WatchSettings(Settings):
    """Of what watches it."""

    period: float = setting(1.0, "time", unit="s", minimum=0.05, read_only=False)
    low: float = setting(1.0, "a limit")
    high: float = setting(2.0, "another")

    def rules(self):
        yield self.low <= self.high, "low must be at most high"


TARGETS = [Target("/a/env", RobotSettings, {"seed": 7}), Target("/a/monitor", WatchSettings)]


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / "params.yaml"
        path.write_text(text)
        return str(path)
    return write


@pytest.mark.parametrize("text", [
    "/**/env:\n  ros__parameters:\n    torque_timeout: 0.2\n    mode: fast\n    quiet: on\n    names: [a, b]\n",
    "/a/env: {ros__parameters: {torque_timeout: 1e-1}}", "/a/env: {ros__parameters: {torque_timeout: 1}}",
    "/*/env: {ros__parameters: {torque_timeout: 0.2}}", "a:\n  env: {ros__parameters: {torque_timeout: 0.2}}",
    "/**: {ros__parameters: {use_sim_time: true, period: 2.0}}", "a/env: {ros__parameters: {seed: 7}}",
    "/**/env: {ros__parameters: {wait: executor, qos_overrides: {/a/observation: {publisher: {depth: 3}}}}}"])
def test_what_a_node_takes_is_let_through(file, text):
    assert params_file.check(file(text), TARGETS) == []


@pytest.mark.parametrize("text, said", [
    ("/**/environment: {ros__parameters: {seed: 7}}", r"line 1: /\*\*/environment is none of the nodes "
                                                      r"\(/a/env, /a/monitor\); did you mean /a/env\?"),
    ("env: {ros__parameters: {seed: 7}}", r"/env is none of the nodes .*; did you mean /a/env\?"),
    ("/b/env: {ros__parameters: {seed: 7}}", "/b/env is none of the nodes"),
    ("/**/env:\n  ros__parameters:\n    torque_timout: 0.2", "line 3: /a/env has no parameter torque_timout; the "
                                                           "nearest one is torque_timeout"),
    ("/**/env: {ros__parameters: {period: 0.2}}", "/a/env has no parameter period"),
    ("/**: {ros__parameters: {periode: 0.2}}", "/a/env and /a/monitor has no parameter periode; .* is period"),
    ("/**/env: {ros__parameters: {torque: {timeout: 0.2}}}", "no parameter torque.timeout; .* torque_timeout"),
    ("/**/env: {ros__parameters: {torque_timeout: '0.2'}}", "torque_timeout must be a number, found '0.2'"),
    ("/**/env: {ros__parameters: {torque_timeout: 0}}", "torque_timeout must be at least 0.001, found 0"),
    ("/**/env: {ros__parameters: {seed: 1.0}}", "seed must be a whole number, found 1.0"),
    ("/**/env: {ros__parameters: {quiet: 'true'}}", "quiet must be true or false, found 'true'"),
    ("/**/env: {ros__parameters: {mode: fst}}", "mode must be slow or fast, found 'fst'"),
    ("/**/env: {ros__parameters: {names: a}}", "names must hold texts, found 'a'"),
    ("/**/env: {ros__parameters: {use_sim_time: 'true'}}", "use_sim_time must be true or false"),
    ("/**/env: {ros__parameters: {seed: 8}}", "seed of /a/env is set by an argument of the launch, which wins, to 7: "
                                              "give seed:= there"),
    ("/**/env: {ros__parameters: {qos_overrides: {/a/observaton: {publisher: {depth: 3}}}}}",
     "no node has a topic /a/observaton; the nearest one is observation"),
    ("/**/env: {ros__parameters: {qos_overrides: {/observation: {publisher: {dept: 3}}}}}", "found qos_overrides./obs"),
    ("/**/env: {ros__parameters: {qos_overrides: {/observation: {publisher: {reliability: best}}}}}",
     "reliability must be reliable or best_effort or .*, found 'best'"),
    ("/**/monitor: {ros__parameters: {low: 3.0}}", "low must be at most high, found 3.0"),
    ("/**/env: {torque_timeout: 0.2}", "can't be read"), ("torque_timeout: 0.2", "can't be read"),
    ("", "must hold parameters as NODE"), ("/**/env: {ros__parameters: {}}", "must hold parameters"),
    ("a: [", "can't be read"), ("/**/env: {ros__parameters: {names: [a, 1]}}", "can't be read")])
def test_what_no_node_takes_is_refused_with_the_nearest(file, text, said):
    with pytest.raises(ArgumentError, match=said) as error:
        params_file.check(file(text), TARGETS)
    assert "\n" not in str(error.value)


def test_a_file_for_several_arrangements_is_taken_with_a_word(file):
    path = file("/**/policy: {ros__parameters: {variant: int8}}\n/**/env: {ros__parameters: {seed: 7}}")
    [note] = params_file.check(path, TARGETS, ["env", "policy"])
    assert note.endswith("line 1: there is no node policy this time to take variant")
    with pytest.raises(ArgumentError, match="did you mean"):
        params_file.check(path, TARGETS, ["env"])


@pytest.mark.parametrize("words, said", [
    (["-p", "torque_timout:=0.2"], "-p torque_timout:=0.2: /a/env has no parameter torque_timout; the nearest one is "
                                   "torque_timeout"),
    (["--param", "env:period:=2.0"], "/a/env has no parameter period"), (["-p", "seed:='\"1\"'"], "seed must be"),
    (["--params-file", "FILE"], "line 2: /a/env has no parameter torque_timout")])
def test_a_node_alone_knows_its_own(file, words, said):
    path = file("/b/env: {ros__parameters: {unknown: 1}}\n/**/env: {ros__parameters: {torque_timout: 1.0}}")
    with pytest.raises(ArgumentError, match=said):
        params_file.check_node([path if word == "FILE" else word for word in ("--ros-args", *words)], "/a/env",
                               RobotSettings)


def test_what_is_for_others_is_none_of_its_business(file):
    path = file("/**/other: {ros__parameters: {unknown: 1}}\n/**: {ros__parameters: {policy_interval: 1.0}}")
    words = ["--ros-args", "-r", "__node:=env", "--params-file", path, "-p", "other:x:=1", "-p", "seed:=3"]
    params_file.check_node(words, "/a/env", RobotSettings)


SCALARS = ["1", "-1", "0x1F", "010", "1e3", "1.5", ".5", "1_000", "1:30", "yes", "On", "n", "true", "'1'", '"on"',
           ".inf", "-.inf", "abc", "2026-01-01", "a b"]


def test_it_is_read_as_ros_reads_it(file):
    """Every name of a node and every kind of value, through a node of rclpy."""
    patterns = ["/**", "/**/env", "/*/env", "/*", "/**/*", "/a/env", "a/env", "/b/env", "/**/a/env", "env", "/env",
                "a/b/env"]
    lines = [f"{pattern}:\n  ros__parameters:\n    p{index}: 1\n" for index, pattern in enumerate(patterns)]
    values = "".join(f"    v{index}: {value}\n" for index, value in enumerate(SCALARS))
    path = file("".join(lines) + f"/*/*:\n  ros__parameters:\n{values}")
    context = Context()
    rclpy.init(args=["--ros-args", "--params-file", path], context=context)
    try:
        node = Node("env", namespace="/a", context=context, automatically_declare_parameters_from_overrides=True)
        theirs = {name: node.get_parameter(name).value for name in [*(f"p{i}" for i in range(len(patterns))),
                                                 *(f"v{i}" for i in range(len(SCALARS)))]
                  if node.has_parameter(name)}
        node.destroy_node()
    finally:
        context.try_shutdown()
    ours = {given.name: given.value for given in params_file._read(path) if given.is_for("/a/env")}
    assert ours == theirs and len(theirs) > len(SCALARS)
    assert {name: type(value) for name, value in ours.items()} == {name: type(value) for name, value in theirs.items()}


def test_not_a_number_is_one(file):
    [given] = params_file._read(file("/a: {ros__parameters: {x: .nan}}"))
    assert math.isnan(given.value)
