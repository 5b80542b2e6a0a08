"""The words of a command line: help, and what is said about those that can't be understood."""

import os
import signal
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
    for verb in ("sim", "train", "desktop", "pi", "record", "repair BAG", "test", "exec CMD"):
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
    (["repaly"], "did you mean replay?"),
    (["repertoire"], "there is no command repertoire; there are sim, train, "),
    (["qqqq"], "there are sim, train"),
    (["sim", "num_env:=2"], "sim has no argument num_env; did you mean num_envs?"),
    (["sim", "policy=x"], "did you mean policy:=x?"),
    (["pi", "backend:=torch"], "backend must be litert or keras, found backend:=torch"),
    (["repair"], "repair needs the folder of a recording: ./run repair BAG, found none"),
])
def test_one_sentence_and_exit_code_2(capsys, words, sentence):
    code, out, err = said(capsys, *words)
    assert code == 2
    assert not out
    assert err.count("\n") == 1
    assert sentence in err


def test_start_is_light():
    """`sim` must not wait for libraries that only other verbs or the nodes need."""
    code = ("import sys; from ant_rl import cli, stack, supervisor, node_commands, console\n"
            "cli.overview()\n"  # loads every verb that is there
            "heavy = {'rclpy', 'tensorflow', 'mujoco', 'gymnasium', 'numpy', 'launch'} & set(sys.modules)\n"
            "sys.exit(str(heavy) if heavy else 0)")
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


def as_installed(folder, **verbs):
    """What makes the modules of a folder a package that brings verbs, each named by where it is."""
    package = folder / "some-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: some\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text("[ant_rl.verbs]\n" + "".join(
        f"{name} = {place}\n" for name, place in verbs.items()))


def test_verbs_are_those_of_the_packages_that_are_there(tmp_path):
    """A package brings a verb; without it there is none, and the overview and the refusals say what there is."""
    (tmp_path / "some_verbs.py").write_text(
        "from ant_rl_core.verbs import Verb\n"
        "told = []\n"
        "JUGGLE = Verb('juggle BALL …', 'throws and catches', 0, lambda words: print(*told, *words) or 3,\n"
        "              lambda words: f'juggle what? {words}', lambda: told.append('lines only'))\n"
        "WALTZ = Verb('waltz', 'steps', 99, lambda words: 0, lambda words: '')\n")
    as_installed(tmp_path, juggle="some_verbs:JUGGLE", waltz="some_verbs:WALTZ", fly="no_such_wing:FLY")
    def run(*words, path):
        done = subprocess.run([sys.executable, "-m", "ant_rl", *words], env={**os.environ, "PYTHONPATH": path},
                              capture_output=True, text=True, timeout=60)
        return done.returncode, done.stdout, done.stderr
    path = os.environ.get("PYTHONPATH", "")
    more = os.pathsep.join([str(tmp_path), path])
    code, out, _ = run("--help", path=more)
    one_process = out[out.index("In one process:"):out.index("Around them")]
    assert code == 0 and one_process.splitlines()[1] == "  juggle BALL …     throws and catches"
    assert one_process.rstrip().splitlines()[-2] == "  waltz             steps" and "repair BAG" in one_process
    broken = "fly can't be used here: No module named 'no_such_wing'"
    assert one_process.rstrip().splitlines()[-1] == f"  fly               {broken}"
    assert run("fly", "--help", path=more) == run("fly", path=more) == (2, "", f"ant_rl: {broken}\n")
    assert run("juggle", "a", "--quiet", path=more) == (3, "lines only a\n", "")
    assert run("juggle", "a", "--help", path=more) == (0, "juggle what? ['a', '--help']\n", "")
    code, out, err = run("jugle", path=more)
    assert (code, out) == (2, "") and "there is no command jugle; did you mean juggle?" in err
    code, out, err = run("juggle", path=path)
    assert (code, out) == (2, "") and "there is no command juggle; there are sim, train, " in err
    assert "juggle" not in run("--help", path=path)[1]


def test_arrangement_that_is_not_built(capsys, monkeypatch):
    pytest.importorskip("ament_index_python", reason="ROS is not installed")
    monkeypatch.setenv("AMENT_PREFIX_PATH", "/nowhere")
    code, _, err = said(capsys, "sim")
    assert code == 2
    assert "is not built, or not sourced" in err and err.count("\n") == 1


def test_the_end_of_what_is_printed_is_not_the_end_of_a_verb(tmp_path):
    """Nobody reads, a full disk, an ASCII terminal, a signal: what is to be kept is, and the exit code tells."""
    (tmp_path / "some_verbs.py").write_text(
        "import signal, sys\nfrom pathlib import Path\nfrom ant_rl_core.verbs import Verb\n"
        "def keep(words):\n    print('5 \\xb1 1' * 10_000)\n    print('\\xb1', file=sys.stderr)\n"
        "    Path(words[0]).write_text('kept')\n    return 0\n"
        "def wait(words):\n    try:\n        signal.raise_signal(getattr(signal, words[0]))\n"
        "    finally:\n        print('tidied')\n"
        "KEEP = Verb('keep', '', 0, keep, lambda words: '')\nWAIT = Verb('wait', '', 0, wait, lambda words: '')\n")
    as_installed(tmp_path, keep="some_verbs:KEEP", wait="some_verbs:WAIT")

    def run(*words, **more):
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]),
                       "LC_ALL": "C", "PYTHONUTF8": "0"}
        # They heed all signals, whatever the tests were started to ignore.
        return subprocess.run(["env", "--default-signal", sys.executable, "-m", "ant_rl", *words], env=environment,
                              timeout=60, **more)

    signals = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
    read, write = os.pipe()
    os.close(read)
    assert run("keep", str(tmp_path / "a"), stdout=write, stderr=write).returncode == 0
    assert run("--help", stdout=write, stderr=write).returncode == 0
    os.close(write)
    with open("/dev/full", "wb") as full:
        done = run("keep", str(tmp_path / "b"), stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 1 and done.stderr.splitlines()[1:] == [
        b"ant_rl: what it printed could not be written (No space left on device); all else was done"]
    assert (tmp_path / "a").read_text() == (tmp_path / "b").read_text() == "kept"
    for number in signals:
        done = run("wait", number.name, capture_output=True)
        assert (done.returncode, done.stdout, done.stderr) == (130, b"tidied\n", b"ant_rl: stopped\n")
