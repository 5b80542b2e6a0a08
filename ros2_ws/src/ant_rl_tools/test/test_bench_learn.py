"""The benchmark of the learners: structure, arithmetic and processes; nothing here depends on how fast anything is."""

import json
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from ant_rl import cli
from ant_rl_tools import bench
from ant_rl_tools.bench import command, report
from ant_rl_tools.bench.learn import comparisons, installation, matmul_rate, suite, targets
from ant_rl_tools.bench.learn.bench_config import LearnBenchConfig
from ant_rl_tools.bench.learn.worker_process import Worker
from ant_rl_tools.unavailable import Unavailable

ROOT = Path(__file__).resolve().parents[4]
CONFIG = LearnBenchConfig(seconds=0.01, rounds=1, threads=1)


def test_every_goal_has_one_group_and_the_stack_s_rows_are_others():
    names = [goal.name for goal in suite.GOALS]
    assert names == ["td3_update", "sac_update", "td3_matmul_share", "sac_matmul_share", "ppo_steps", "overlap",
                     "replay_memory", "ppo_memory", "wall_clock_2000", "wall_clock_4000"]
    grouped = [name for members, _ in suite.groups(CONFIG) for name in members]
    assert sorted(grouped) == sorted(names)
    assert not set(names) & {goal.name for goal in command.GOALS}


# -- arithmetic ------------------------------------------------------------------------------------------------------

def test_the_products_of_a_network_are_those_of_back_propagation():
    batch, sizes = 5, (3, 4, 2)
    assert matmul_rate.forward(batch, sizes) == [(5, 3, 4), (5, 4, 2)]
    # d loss / d W = x^T g: [3, 5] [5, 4] and [4, 5] [5, 2]; d loss / d x = g W^T: [5, 2] [2, 4], then [5, 4] [4, 3]
    assert matmul_rate.weight_gradients(batch, sizes) == [(3, 5, 4), (4, 5, 2)]
    assert sorted(matmul_rate.input_gradients(batch, sizes, 0)) == [(5, 2, 4)]
    assert sorted(matmul_rate.input_gradients(batch, sizes, 1)) == [(5, 2, 4), (5, 4, 1)]
    assert matmul_rate.operations([(5, 3, 4), (1, 2, 3)]) == 2 * (60 + 6)


def test_the_arithmetic_of_updates_counted_by_hand():
    b, o, a, h = 7, 5, 2, 3
    actor, critic = o * h + h * h + h * a, (o + a) * h + h * h + h
    every, delayed = matmul_rate.td3(b, o, a, (h, h))
    inside_critic, inside_actor = h * h + h, h * h + h * a  # what a gradient passes that stops at the first layer
    assert matmul_rate.operations(every) == 2 * b * (actor + 2 * critic + 2 * (critic + critic + inside_critic))
    assert matmul_rate.operations(delayed) == 2 * b * (actor + critic + (a * h + inside_critic) + actor + inside_actor)
    actor = o * h + h * h + h * 2 * a
    assert matmul_rate.operations(matmul_rate.sac(b, o, a, (h, h))) == 2 * b * (
        actor + 2 * critic + 2 * (critic + critic + inside_critic)
        + actor + 2 * (critic + a * h + inside_critic) + actor + (h * h + h * 2 * a))


def test_a_share_is_of_the_fastest_library():
    rates = {"ours": [100.0, 110.0], **{f"{name}_{library}": [rate, rate] for name, row in
             {"products": (1e9, 4e9, 2e9), "square": (8e9, 5e9, 6e9)}.items()
             for library, rate in zip(("numpy", "tensorflow", "xla"), row, strict=True)}}
    found = comparisons.judge_share(rates, operations=2e7)
    assert found.figures == {"update_gflop_per_s": pytest.approx(2.1), "bare_products_gflop_per_s": 4.0,
                             "square_gflop_per_s": 8.0, "share_of_square": pytest.approx(2.1 / 8.0)}
    assert found.ratio == pytest.approx(2.1 / 4.0)
    assert report.figure("square_gflop_per_s", 8.0) == "square 8 GFLOP/s"


# -- processes -------------------------------------------------------------------------------------------------------

SEGMENTS = """
import os, sys
sys.path.insert(0, {folder!r})
from worker_protocol import peak_mb, rate, serve
def fail(seconds):
    raise ValueError("no such thing")
def make(word):
    print("a library talks")
    return {{"rate": lambda seconds: rate(seconds, lambda: 3), "word": lambda seconds: word, "fail": fail,
             "peak": lambda seconds: peak_mb(),
             "peak_of_50_mb_more": lambda seconds: peak_mb() if b"1" * 50_000_000 else 0,
             "threads": lambda seconds: os.environ["OMP_NUM_THREADS"]}}
serve(make)
"""


@pytest.fixture
def program(tmp_path):
    path = tmp_path / "program.py"
    path.write_text(SEGMENTS.format(folder=str(Path(comparisons.__file__).parent)))
    return [sys.executable, str(path)]


def test_a_worker_answers_segment_by_segment(program):
    with Worker(program, 3, {"word": "so"}) as worker:
        start = time.perf_counter()
        assert worker.run("rate", 0.05) > 3 / 0.05
        assert time.perf_counter() - start >= 0.05
        assert [worker.run("word"), worker.run("threads")] == ["so", "3"]
        process = worker._process
    assert process.returncode == 0


def test_a_worker_that_fails_says_its_last_words(program):
    with Worker(program, 1, {"word": ""}) as worker:
        for _ in range(2):  # the second time it is gone already
            with pytest.raises(Unavailable, match="exit code 1; its last words: ValueError: no such thing"):
                worker.run("fail")
    with pytest.raises(Unavailable, match="unexpected keyword argument"):
        Worker(program, 1, {"words": ""})


def test_rows_are_measured_without_the_reference_and_say_why_it_is_missing(monkeypatch, program):
    def unavailable():
        raise Unavailable("there is no network")

    class Ours:
        def __init__(self, kind, threads, **arguments):
            self.kind = kind

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def run(self, segment, seconds):
            return 4.0

    monkeypatch.setattr(comparisons, "reference_python", unavailable)
    monkeypatch.setattr(comparisons, "our_worker", Ours)
    found = comparisons.measure_updates("td3", ["td3_update", "td3_matmul_share"], CONFIG)
    assert found["td3_update"].reason == "there is no network"
    assert found["td3_matmul_share"].ratio > 0.0
    table = command.measure(["ppo_steps"], suite.groups(CONFIG))
    assert table["ppo_steps"].reason == "there is no network"


def test_peak_memory_is_of_the_program_alone(program):
    ballast = np.ones(200 * 2**20 // 8)  # 200 MiB, in this process
    with Worker(program, 1, {"word": ""}) as worker:
        before, after = worker.run("peak"), worker.run("peak_of_50_mb_more")
    assert ballast[0] == 1.0
    assert 1.0 < before < 100.0 and after - before == pytest.approx(50.0, abs=5.0)


@pytest.fixture
def ours(monkeypatch):
    """Our side in this process, without compiling and with little to do."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    import tensorflow as tf

    from ant_rl_tools.bench.learn import stack_worker
    for name, value in {"_FILLED": 20, "_WARM_UP": 2, "_SQUARE": 16, "_EPISODES": 1, "_BEYOND_FULL": 3}.items():
        monkeypatch.setattr(stack_worker, name, value)
    tf.config.run_functions_eagerly(True)
    yield stack_worker
    tf.config.run_functions_eagerly(False)


SMALL = {"batch_size": 8, "actor_hidden": [8], "critic_hidden": [8]}


@pytest.mark.parametrize(("kind", "arguments", "names"), [
    ("updates", {"method": "td3", "settings": SMALL}, ["update"]),
    ("overlap", {"method": "td3", "settings": {**SMALL, "learning_starts": 10}}, ["beside", "in_turn"]),
    ("steps", {"method": "ppo", "num_envs": 2, "settings": {"rollout_length": 4, "epochs": 1, "minibatch_size": 8}},
     ["learn"]),
    ("products", {"products": [[4, 3, 2], [4, 2, 5]]},
     [f"{name}_{library}" for name in ("products", "square") for library in comparisons._LIBRARIES]),
    ("memory", {"method": "td3", "settings": {**SMALL, "replay_capacity": 50}}, ["train"]),
])
def test_our_side_runs_every_segment(ours, kind, arguments, names):
    segments = ours.make(kind, **arguments)
    assert sorted(segments) == sorted(names)
    assert all(segments[name](0.01) > 0.0 for name in names)


def test_only_beside_runs_the_environment_in_another_thread(ours, monkeypatch):
    threads = {}

    class Recorded(ours.VectorAnt):
        def step(self, action):
            threads.setdefault(id(self), []).append(threading.current_thread() is threading.main_thread())
            return super().step(action)

    monkeypatch.setattr(ours, "VectorAnt", Recorded)
    segments = ours.make("overlap", method="td3", settings={**SMALL, "learning_starts": 10})
    for name, is_main in (("beside", False), ("in_turn", True)):
        threads.clear()
        segments[name](0.05)
        (found,) = threads.values()
        assert set(found) == {is_main}


# -- wall clock ------------------------------------------------------------------------------------------------------

def write_evaluations(folder, text):
    (folder / "evaluation.csv").write_text("env_steps,wall_seconds,mean_return\n" + text)
    return str(folder)


def test_the_wall_clock_is_that_of_the_first_evaluation_that_reaches_the_return(tmp_path):
    folder = write_evaluations(tmp_path, "1000,60,500\n2000,480,2100\n3000,600,1900\n4000,7200,4000\n")
    first, second = (targets.read_wall_clock(folder, score) for score in (2000, 4000))
    assert first.figures == {"wall_clock_min": 8.0, "mean_return": 2100.0, "env_steps": 2000.0}
    assert first.ratio == pytest.approx(12.0 / 8.0)
    assert second.ratio == pytest.approx(60.0 / 120.0)
    assert report.figure("wall_clock_min", 8.0) == "wall clock 8 min"


def test_a_run_that_never_gets_there_does_not_meet_the_goal(tmp_path):
    found = targets.read_wall_clock(write_evaluations(tmp_path, "1000,60,500\n2000,90,1999\n"), 2000)
    assert found.ratio == 0.0 and found.figures["mean_return"] == 1999.0


@pytest.mark.parametrize("text", ["", "1000,60", "1000,60,high\n"])
def test_evaluations_that_are_none_are_no_measurement(tmp_path, text):
    with pytest.raises(Unavailable):
        targets.read_wall_clock(write_evaluations(tmp_path, text), 2000)
    with pytest.raises(Unavailable, match="training:=runs/NAME"):
        targets.read_wall_clock("", 2000)
    with pytest.raises(Unavailable, match="evaluation_interval"):
        targets.read_wall_clock(str(tmp_path / "nowhere"), 2000)


# -- the command -----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("arguments", "sentence"), [
    ({"rows": "round_trip"}, "found 'round_trip'"),
    ({"threads": "-1"}, "threads must be at least 0, found -1"),
    ({"training": "/nowhere/at/all"}, "there is no folder /nowhere/at/all"),
    ({"policy": "default"}, "unknown argument 'policy'"),
])
def test_arguments_that_cannot_be_used_are_named_in_one_sentence(arguments, sentence, capsys):
    assert bench.main(arguments, "learn") == 2
    said = capsys.readouterr().err.strip()
    assert sentence in said and "\n" not in said


def test_the_word_learn_chooses_the_rows(tmp_path, capsys):
    folder, summary = write_evaluations(tmp_path, "2000,480,2100\n"), tmp_path / "summary.json"
    assert cli.main(["bench", "learn", "rows:=wall_clock_2000", f"training:={folder}", f"summary:={summary}"]) == 0
    (row,) = json.loads(summary.read_text())["rows"]
    assert row["met"] is True and "a training from nothing to return 2,000" in capsys.readouterr().out
    assert cli.main(["bench", "learn", "--help"]) == 0
    text = capsys.readouterr().out
    assert all(goal.name in text for goal in suite.GOALS) and "threads:=0" in text
    assert cli.main(["bench", "--help"]) == 0
    assert "./run bench learn" in capsys.readouterr().out


# -- the reference's environment -------------------------------------------------------------------------------------

def pins(*names):
    lines = [line.partition("#")[0].strip() for name in names
             for line in (ROOT / "requirements" / f"{name}.txt").read_text().splitlines()]
    return {line for line in lines if line and not line.startswith("-")}


def test_both_sides_have_the_same_physics_and_every_version_is_pinned():
    ours, theirs = pins("desktop", "pi", "constraints"), pins("bench")
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+(; .*)?", pin) for pin in theirs)
    shared = {pin for pin in theirs if re.match(r"(gymnasium|mujoco|numpy|imageio|packaging)==", pin)}
    assert len(shared) == 8 and shared <= ours


def test_the_reference_runs_apart_from_our_environment(monkeypatch):
    for name in ("PYTHONPATH", "LD_LIBRARY_PATH", "VIRTUAL_ENV", "HOME"):
        monkeypatch.setenv(name, "/ours")
    assert installation.reference_environment()["HOME"] == "/ours"
    assert not {"PYTHONPATH", "LD_LIBRARY_PATH", "VIRTUAL_ENV"} & set(installation.reference_environment())


def test_a_failed_installation_is_a_reason(monkeypatch):
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 1, ""))
    with pytest.raises(Unavailable, match="could not be installed into .venv-sb3"):
        installation.reference_python()
