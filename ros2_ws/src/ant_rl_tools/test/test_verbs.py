"""The verbs that come with the packages: their help, and what is said about words that can't be understood."""

import re

import pytest

from ant_rl import cli
from trainer.runs import progress


def said(capsys, *words):
    code = cli.main(words)
    output = capsys.readouterr()
    return code, output.out, output.err


def test_the_overview_has_the_verbs_in_their_order(capsys):
    code, out, _ = said(capsys, "--help")
    assert code == 0
    one_process = out[out.index("In one process:"):out.index("Around them")]
    usages = ("train ALGORITHM", "eval BUNDLE", "compress BUNDLE", "model DATA …", "report BAG …", "replay BAG [env]",
              "video BUNDLE …", "demo NAME", "repair BAG", "bench [learn]")
    places = [one_process.index(f"\n  {usage} ") for usage in usages]
    assert places == sorted(places)
    assert max(map(len, out.splitlines())) <= 100


@pytest.mark.parametrize("words, sentence", [
    (["eval"], "eval needs a policy bundle"),
    (["eval", "seed:=3"], "eval needs a policy bundle"),
    (["compress"], "compress needs a policy bundle"),
    (["model", "seed:=3"], "model needs recordings or runs to learn from"),
    (["video", "steps:=3"], "video needs policy bundles"),
    (["demo", "seed:=3"], "demo needs what to show"),
    (["replay"], "replay needs the folder of a recording"),
    (["replay", "bag", "polici"], "replay plays to policy or env or trainer, found polici; did you mean policy?"),
    (["report"], "report needs the folder of a recording"),
    (["repair", "a", "b"], "repair needs the folder of a recording: ./run repair BAG, found a b"),
    (["bench", "lern"], "arguments must look like name:=value, found lern"),
    (["evl"], "there is no command evl; did you mean eval?"),
    (["qqqq"], "there are sim, train, desktop, pi, record, tasks, eval, compress, model, report, replay, video, "
               "demo, repair, bench, help"),
])
def test_one_sentence_and_exit_code_2(capsys, words, sentence):
    code, out, err = said(capsys, *words)
    assert code == 2
    assert not out
    assert err.count("\n") == 1
    assert sentence in err


@pytest.mark.parametrize("words, beginning", [
    (["eval"], "usage: ./run eval BUNDLE"), (["compress"], "usage: ./run compress BUNDLE"),
    (["report"], "usage: ./run report BAG"), (["replay"], "usage: ./run replay BAG"),
    (["video"], "usage: ./run video BUNDLE"), (["repair"], "repair needs the folder"),
    (["demo"], "usage: ./run demo NAME"), (["bench"], "usage: ./run bench "),
    (["bench", "learn"], "usage: ./run bench learn "),
    (["train", "ppo"], "usage: ./run train ppo "),
    (["train"], "usage: ./run train [key:=value …]"), (["train", "--list"], "methods, and the number of robots"),
])
def test_each_has_help(capsys, words, beginning):
    code, out, err = said(capsys, *words, "--help")
    assert (code, err) == (0, "") and out.startswith(beginning)


@pytest.mark.parametrize("verb", ["train", "eval", "report", "replay", "video", "demo"])
def test_quiet_lets_what_draws_progress_show_lines(capsys, monkeypatch, verb):
    calls = []
    monkeypatch.setattr(progress, "show_lines_only", lambda: calls.append(verb))
    for words, expected in ((["/nowhere/x"], []), (["/nowhere/x", "--quiet"], [verb])):
        assert cli.main([verb, *words]) == 2
        assert calls == expected
    capsys.readouterr()


def test_methods_are_listed_and_described(capsys):
    code, out, _ = said(capsys, "train", "--list")
    assert code == 0 and re.search("\n  ppo +16  ", out) and re.search("\n  td3 +1  ", out)
    assert max(map(len, out.splitlines())) <= 100
    for flag in ("--help", "-h"):
        code, out, _ = said(capsys, "train", "td3", flag)
        assert code == 0 and all(f"\n  {name}:=" in out for name in ("num_threads", "exploration_std", "stall_speed"))
        assert max(map(len, out.splitlines())) <= 100
    code, out, err = said(capsys, "train", "tdd3", "--help")
    assert (code, out) == (2, "") and "unknown method 'tdd3'; the nearest one is 'td3'" in err
