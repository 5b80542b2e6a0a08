"""The words of a command line: help, and what is said about those that can't be understood."""

import subprocess
import sys

import pytest

from ant_rl import cli, stack


def said(capsys, *words):
    code = cli.main(words)
    output = capsys.readouterr()
    return code, output.out, output.err


@pytest.mark.parametrize("words", [[], ["help"], ["--help"], ["-h"]])
def test_overview(capsys, words):
    code, out, _ = said(capsys, *words)
    assert code == 0
    for verb in ("sim", "train", "desktop", "pi", "eval BUNDLE", "record", "video BUNDLE …", "repair BAG", "bench", "test",
                 "exec CMD"):
        assert f"\n  {verb} " in out
    assert max(map(len, out.splitlines())) <= 100


@pytest.mark.parametrize("verb", stack.ARRANGEMENTS)
@pytest.mark.parametrize("order", [1, -1])
def test_help_of_an_arrangement(capsys, verb, order):
    code, out, _ = said(capsys, *[verb, "--help"][::order])
    assert code == 0
    for argument in stack.arguments_of(verb):
        assert f"  {argument.name}:={argument.default_in(verb)}\n" in out
        assert " ".join(argument.description.split()) in " ".join(out.split())


@pytest.mark.parametrize("words, sentence", [
    (["simm"], "there is no command simm; did you mean sim?"),
    (["setpu"], "did you mean setup?"),
    (["qqqq"], "there are sim, train"),
    (["sim", "num_env:=2"], "sim has no argument num_env; did you mean num_envs?"),
    (["sim", "policy=x"], "did you mean policy:=x?"),
    (["pi", "backend:=torch"], "backend must be litert or keras, found backend:=torch"),
    (["eval"], "eval needs a policy bundle"),
    (["repair"], "repair needs the folder of a recording: ./run repair BAG, found none"),
    (["eval", "seed:=3"], "eval needs a policy bundle"),
    (["video", "steps:=3"], "video needs policy bundles"),
])
def test_one_sentence_and_exit_code_2(capsys, words, sentence):
    code, out, err = said(capsys, *words)
    assert code == 2
    assert not out
    assert err.count("\n") == 1
    assert sentence in err


def test_methods_are_listed_and_described(capsys):
    code, out, _ = said(capsys, "train", "--list")
    assert code == 0 and "\n  ppo     16  " in out and "\n  td3      1  " in out
    assert max(map(len, out.splitlines())) <= 100
    for flag in ("--help", "-h"):
        code, out, _ = said(capsys, "train", "td3", flag)
        assert code == 0 and all(f"\n  {name}:=" in out for name in ("num_threads", "exploration_std", "stall_speed"))
        assert max(map(len, out.splitlines())) <= 100
    code, out, err = said(capsys, "train", "tdd3", "--help")
    assert (code, out) == (2, "") and "unknown method 'tdd3'; the nearest one is 'td3'" in err


def test_start_is_light():
    """`sim` must not wait for libraries that only other verbs or the nodes need."""
    code = ("import sys; from ant_rl import cli, stack, supervisor, console\n"
            "heavy = {'rclpy', 'tensorflow', 'mujoco', 'gymnasium', 'numpy', 'launch'} & set(sys.modules)\n"
            "sys.exit(str(heavy) if heavy else 0)")
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


def test_arrangement_that_is_not_built(capsys, monkeypatch):
    pytest.importorskip("ament_index_python", reason="ROS is not installed")
    monkeypatch.setenv("AMENT_PREFIX_PATH", "/nowhere")
    code, _, err = said(capsys, "sim")
    assert code == 2
    assert "is not built, or not sourced" in err and err.count("\n") == 1
