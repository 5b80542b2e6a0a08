"""Training runs: refusals in a sentence, Ctrl-C, and a kill at any moment followed by the very same curve.

All run without compilation, which would take most of the time; test_ppo repeats a compiled run bit for bit.
"""

import csv
import json
import multiprocessing
import os
import re
import resource
import shutil
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from ant_env_node.tasks.task import VECTOR_SIZE
from ant_rl_core import bundle as policy_bundle
from ant_rl_core.step import Previous
from policy_node.actor import load_actor
from trainer import checkpoint
from trainer.algorithms.off_policy.td3 import TD3
from trainer.algorithms.on_policy.ppo import PPO
from trainer.runs import evaluate, progress, train

UPDATES = 18
OFTEN_KILLED = 36  # updates of a run that is killed again and again
SETTINGS = {"num_envs": "2", "num_threads": "1", "rollout_length": "16", "minibatch_size": "32", "epochs": "2",
            "actor_hidden": "32", "critic_hidden": "32", "checkpoint_interval": "1", "seed": "3",
            "curve_interval": "1", "evaluation_episodes": "1", "evaluation_interval": str(15 * 32)}
FILES = ["checkpoint.npz", "config.json", "curve.csv", "curve.png", "evaluation.csv", "events.out.tfevents",
         "policy.zip"]
STEPS_PER_UPDATE = 32


def settings(folder, updates=2, **changes):
    return {**SETTINGS, "output": str(folder), "total_steps": str(updates * STEPS_PER_UPDATE), **changes}


def rows(folder, name="curve.csv"):
    """The curve as it is learned: without what the clock says."""
    with open(folder / name, newline="") as file:
        return [{name: value for name, value in row.items() if name not in ("wall_seconds", "steps_per_second")}
                for row in csv.DictReader(file)]


def files(folder):
    """What is in the folder; the name of the one events file holds the time."""
    return sorted(path.name.rpartition(".")[0] if path.name.startswith("events.") else path.name
                  for path in folder.iterdir())


def learned(folder):
    """Everything in the checkpoint but when it was made and from what code."""
    return {name: array for name, array in checkpoint.load(folder / "checkpoint.npz").items()
            if name not in ("wall_seconds", "code_version")}


def assert_same_run(folder, other):
    assert rows(folder) == rows(other)
    assert rows(folder, "evaluation.csv") == rows(other, "evaluation.csv")
    found, expected = learned(folder), learned(other)
    assert set(found) == set(expected)
    assert [name for name in expected if not np.array_equal(found[name], expected[name])] == []
    observation = np.random.default_rng(0).normal(0, 2, (20, 105)).astype(np.float32)
    actions = [load_actor(policy_bundle.read(path / "policy.zip")).act(observation, Previous.none(20, 8), (),
                                                                     np.zeros(20, bool))[0] for path in (folder, other)]
    assert np.array_equal(*actions)


def sentence(capsys):
    """What was printed to the user, which must be one line."""
    text = capsys.readouterr().err.strip()
    assert len(text.splitlines()) == 1 and "Traceback" not in text, text
    return text


@pytest.fixture(autouse=True)
def quick_and_quiet(eager, monkeypatch):
    """Every test of this file: without compilation, and without lines of progress where a machine is slow."""
    monkeypatch.setattr(progress, "_LINE_INTERVAL", 1e9)


@pytest.fixture(scope="module", autouse=True)
def as_on_a_terminal():
    """Ctrl-C is heard also where the tests were started with SIGINT ignored, as by nohup or "&" in a script."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """A run that nothing disturbed."""
    return undisturbed(tmp_path_factory.mktemp("unbroken"), UPDATES)


def undisturbed(folder, updates):
    tf.config.run_functions_eagerly(True)
    assert train.main("ppo", settings(folder, updates)) == 0
    return folder


# -- a run and its folder ----------------------------------------------------------------------------------------------

def test_a_run_leaves_checkpoint_curve_settings_and_policy(unbroken):
    assert files(unbroken) == FILES
    curve = rows(unbroken)
    assert [int(row["env_steps"]) for row in curve] == [32 * (k + 1) for k in range(UPDATES)]
    assert np.isfinite([float(curve[-1][name]) for name in ("policy_loss", "approximate_kl")]).all()
    manifest = policy_bundle.read(unbroken / "policy.zip").manifest
    assert manifest.provenance["env_steps"] == UPDATES * 32 and manifest.provenance["seed"] == 3
    assert manifest.provenance["command"].startswith("./run train ppo num_envs:=2 ")
    evaluation = manifest.provenance["evaluation"]
    assert len(evaluation["returns"]) == 1
    assert evaluation["mean_return"] == pytest.approx(evaluation["returns"][0], abs=1e-3)
    assert "output" not in manifest.provenance["command"] and manifest.version == UPDATES + 1
    assert re.fullmatch(r"unknown|[0-9a-f]{12}(\+changes)?", manifest.provenance["code_version"])


def test_the_command_in_the_policy_makes_it_again(unbroken, tmp_path):
    words = policy_bundle.read(unbroken / "policy.zip").manifest.provenance["command"].split()[3:]
    arguments = dict(word.split(":=") for word in words)
    assert train.main("ppo", {**arguments, "output": str(tmp_path)}) == 0
    assert_same_run(tmp_path, unbroken)


def interrupted_in(monkeypatch, name, learner, after, arguments, presses=2):
    """A run that Ctrl-C ends in its update number `after` + 1: pressed twice at once, pressed once after it."""
    updates, calls = learner.update, []

    def update(self):
        calls.append(1)
        if len(calls) == after + 1:
            for _ in range(presses):
                signal.raise_signal(signal.SIGINT)
        return updates(self)

    with monkeypatch.context() as patch:
        patch.setattr(learner, "update", update)
        assert train.main(name, arguments) == 130


def interrupted(folder, monkeypatch, after, **changes):
    """A run of PPO that Ctrl-C, twice, ends in its update number `after` + 1."""
    interrupted_in(monkeypatch, "ppo", PPO, after, settings(folder, UPDATES, **changes))


def test_resumed_after_an_interrupt_it_goes_on_as_if_there_was_none(unbroken, tmp_path, monkeypatch, capsys):
    interrupted(tmp_path, monkeypatch, after=13, checkpoint_interval=str(5 * STEPS_PER_UPDATE))
    assert "stopped at 448 steps; go on from the last checkpoint, " in (text := sentence(capsys))
    assert text.endswith("checkpoint.npz, with resume:=true")
    assert len(rows(tmp_path)) == 13 and int(learned(tmp_path)["learner.env_steps"]) == 10 * 32
    with open(tmp_path / "curve.csv", "a") as file:  # a row that a kill cut short
        file.write("448,1.")
    (tmp_path / ".checkpoint.npz.123.part").write_bytes(b"half")
    # Settings that are not given are those that the run was begun with.
    assert train.main("ppo", {"output": str(tmp_path), "resume": "true"}) == 0
    assert_same_run(tmp_path, unbroken)
    assert files(tmp_path) == FILES


OFF_POLICY = {"num_envs": "1", "num_threads": "1", "total_steps": "150", "learning_starts": "60",
              "updates_per_step": "0.5", "batch_size": "4", "actor_hidden": "8", "critic_hidden": "8",
              "embedding_size": "0",
              "checkpoint_interval": "50", "curve_interval": "20", "evaluation_interval": "60",
              "evaluation_episodes": "1", "seed": "3"}


def test_an_off_policy_run_goes_on_too_as_if_there_was_no_interrupt(tmp_path, monkeypatch):
    unbroken, broken = tmp_path / "unbroken", tmp_path / "broken"
    assert train.main("td3", {**OFF_POLICY, "output": str(unbroken)}) == 0
    curve = rows(unbroken)
    assert [int(row["env_steps"]) for row in curve] == [*range(20, 150, 20), 150]
    # Before it learns there are no metrics; afterwards a row has those of 10 updates, half of them of the actor.
    assert [row["critic_loss"] == "" for row in curve] == [True] * 3 + [False] * 5
    assert all(np.isfinite(float(row["actor_loss"])) for row in curve[3:])
    assert [int(row["env_steps"]) for row in rows(unbroken, "evaluation.csv")] == [60, 120, 150]
    # Before it learns, between two rows, whose metrics must not be lost, and after a row that will be made again.
    # Pressed once, Ctrl-C saves after the step; pressed twice, it leaves what was saved then or after each 50 steps.
    for updates, presses, saved in ((0, 2, 50), (0, 1, 63), (3, 2, 63), (10, 1, 85), (20, 2, 100)):
        arguments = {"resume": "true"} if broken.exists() else OFF_POLICY
        interrupted_in(monkeypatch, "td3", TD3, updates, {**arguments, "output": str(broken)}, presses)
        assert learned(broken)["learner.env_steps"] == saved
    assert int(rows(broken, "evaluation.csv")[-1]["env_steps"]) == 120
    assert train.main("td3", {"output": str(broken), "resume": "true"}) == 0
    assert_same_run(broken, unbroken)


def test_a_run_that_ends_before_it_learns_ends_all_the_same(tmp_path):
    assert train.main("td3", {**OFF_POLICY, "total_steps": "40", "evaluation_episodes": "0",
                              "evaluation_interval": "0", "output": str(tmp_path)}) == 0
    assert [int(row["env_steps"]) for row in rows(tmp_path)] == [20, 40]
    assert not (tmp_path / "evaluation.csv").exists()


def test_evaluations_change_nothing_of_the_training(unbroken, tmp_path):
    assert train.main("ppo", settings(tmp_path, UPDATES, evaluation_interval="0")) == 0
    assert rows(tmp_path) == rows(unbroken)
    found, expected = learned(tmp_path), learned(unbroken)
    assert all(np.array_equal(found[name], expected[name]) for name in expected)
    assert [int(row["env_steps"]) for row in rows(unbroken, "evaluation.csv")] == [480, 576]
    (last,) = rows(tmp_path, "evaluation.csv")
    assert last == rows(unbroken, "evaluation.csv")[-1]


def test_the_time_of_evaluations_is_not_counted(tmp_path, monkeypatch):
    evaluate = train.evaluate

    def slow(*arguments, **options):
        end = time.monotonic() + 1.0
        while time.monotonic() < end:
            result = evaluate(*arguments, **options)
        return result

    monkeypatch.setattr(train, "evaluate", slow)
    start = time.monotonic()
    assert train.main("ppo", settings(tmp_path, 3, evaluation_interval="32")) == 0
    assert float(checkpoint.load(tmp_path / "checkpoint.npz")["wall_seconds"]) < time.monotonic() - start - 3.0


def test_events_are_those_of_the_tables_also_after_a_resumption(tmp_path, monkeypatch):
    interrupted(tmp_path, monkeypatch, after=7, checkpoint_interval=str(5 * STEPS_PER_UPDATE),
                evaluation_interval=str(6 * STEPS_PER_UPDATE))
    assert train.main("ppo", {"output": str(tmp_path), "resume": "true",
                              "total_steps": str(9 * STEPS_PER_UPDATE)}) == 0
    (path,) = tmp_path.glob("events.out.tfevents.*")
    events = [tf.compat.v1.Event.FromString(record.numpy()) for record in tf.data.TFRecordDataset(str(path))][2:]
    found = {group: [event.step for event in events if any(v.tag.startswith(group) for v in event.summary.value)]
             for group in ("train/", "evaluation/")}
    assert found["train/"] == [int(row["env_steps"]) for row in rows(tmp_path)]
    assert found["evaluation/"] == [int(row["env_steps"]) for row in rows(tmp_path, "evaluation.csv")] == [192, 288]
    last = {value.tag: value.simple_value for event in events for value in event.summary.value}
    assert last["train/value_loss"] == np.float32(rows(tmp_path)[-1]["value_loss"])


def test_a_policy_is_told_its_task_goes_on_so_and_is_evaluated_so(tmp_path, capsys):
    told, summary = tmp_path / "told", tmp_path / "summary.json"
    changes = {"tasks": "wired", "task_input": "true", "hazard": "0.01", "max_episode_steps": "20"}
    assert train.main("ppo", settings(told, 2, **changes)) == 0
    assert train.main("ppo", settings(told, 3, resume="true")) == 0
    manifest = policy_bundle.read(told / "policy.zip").manifest
    assert manifest.task_input == VECTOR_SIZE == manifest.observation_size - 105
    assert "tasks:=wired hazard:=0.01" in manifest.provenance["command"]
    assert "task_input:=true" in manifest.provenance["command"] and manifest.provenance["evaluation"]["returns"]
    bundle = str(told / "policy.zip")
    assert evaluate.main([bundle], {"episodes": "1"}) == 2
    assert f"found one that is told its task in {VECTOR_SIZE} more" in sentence(capsys)
    assert evaluate.main([bundle], {"tasks": "wired", "episodes": "2", "steps": "15", "episodes_per_trial": "2",
                                    "task_part": "both", "summary": str(summary)}) == 0
    found = json.loads(summary.read_text())["results"]
    assert [(each["part"], each["task_input"], len(each["episodes"])) for each in found] == [
        ("train", True, 2), ("held_out", True, 2)]
    assert "reward per step: forward velocity [m/s]; + 1 " in capsys.readouterr().out


def test_a_shaped_reward_is_learned_from_and_the_default_one_is_shown(tmp_path):
    default, shaped = tmp_path / "default", tmp_path / "shaped"
    changes = {"learning_rate": "1e-30", "evaluation_episodes": "0", "evaluation_interval": "0"}
    assert train.main("ppo", settings(default, 4, **changes)) == 0
    assert train.main("ppo", settings(shaped, 2, **changes, shaping="true", stall_penalty="30")) == 0
    assert train.main("ppo", settings(shaped, 4, resume="true")) == 0, "with the shaping that it was begun with"
    # A policy that does not learn does the same in both; its critic has other targets.
    found, expected = learned(shaped), learned(default)
    assert np.array_equal(found["env.physics"], expected["env.physics"])
    assert np.array_equal(found["returns.return"], expected["returns.return"])
    assert float(rows(shaped)[-1]["value_loss"]) != float(rows(default)[-1]["value_loss"])
    command = policy_bundle.read(shaped / "policy.zip").manifest.provenance["command"]
    assert "shaping:=true" in command and "stall_penalty:=30.0" in command


@pytest.mark.parametrize("content", [None, b"", b"env_steps,wall_seconds\n32,"])
def test_a_curve_that_lacks_rows_is_no_obstacle(tmp_path, monkeypatch, content):
    interrupted(tmp_path, monkeypatch, after=3)
    curve = tmp_path / "curve.csv"
    header = curve.read_bytes().splitlines(keepends=True)[0]
    curve.unlink()
    if content is not None:
        curve.write_bytes(content.replace(b"env_steps,wall_seconds\n", header))
    assert train.main("ppo", {"output": str(tmp_path), "resume": "true",
                              "total_steps": str(5 * STEPS_PER_UPDATE)}) == 0
    assert curve.read_bytes().startswith(header)
    assert [int(row["env_steps"]) for row in rows(tmp_path)] == [128, 160]


def test_a_finished_run_can_be_finished_again_and_prolonged(tmp_path):
    assert train.main("ppo", settings(tmp_path, 2)) == 0
    (tmp_path / "policy.zip").unlink()
    again = {"output": str(tmp_path), "resume": "true"}
    assert train.main("ppo", again) == 0
    assert len(rows(tmp_path)) == 2 and (tmp_path / "policy.zip").exists()
    assert train.main("ppo", {**again, "total_steps": str(3 * STEPS_PER_UPDATE)}) == 0
    assert len(rows(tmp_path)) == 3
    assert train.main("ppo", again) == 0, "the longer run is now the one that was begun"


def test_episodes_to_learn_from_can_be_shorter_those_to_evaluate_not(tmp_path):
    changes = {"max_episode_steps": "5", "evaluation_interval": "0"}
    assert train.main("ppo", settings(tmp_path, 4, **changes)) == 0
    assert {float(row["mean_length"]) for row in rows(tmp_path)} == {5.0}  # nothing falls as fast
    (evaluation,) = rows(tmp_path, "evaluation.csv")
    assert float(evaluation["mean_return"]) > 100  # standing earns 1 a step


# -- the end -----------------------------------------------------------------------------------------------------------

def test_the_policy_comes_before_all_that_can_fail(tmp_path, monkeypatch, capsys):
    """An evaluation that is cut short, a picture that can't be drawn: the policy is there, nothing is to be redone."""
    path, evaluated = tmp_path / "policy.zip", []

    def interrupted(*_, **__):
        evaluated.append(policy_bundle.read(path).manifest.provenance)
        raise KeyboardInterrupt

    def undrawable(*_):
        assert path.exists() and (tmp_path / "checkpoint.npz").exists()
        raise RuntimeError("Failed to process string with tex because latex could not be found\nsecond line")

    monkeypatch.setattr(train.plot, "save_curve", undrawable)
    with monkeypatch.context() as patch:
        patch.setattr(train, "evaluate", interrupted)
        assert train.main("ppo", settings(tmp_path, 2, evaluation_interval="0")) == 130
    assert len(evaluated) == 1 and "evaluation" not in evaluated[0]
    capsys.readouterr()
    assert train.main("ppo", {"output": str(tmp_path), "resume": "true"}) == 0
    assert sentence(capsys) == ("curve.png can't be drawn (RuntimeError: Failed to process string with tex because "
                                "latex could not be found second line); all else is there")
    assert "evaluation" in policy_bundle.read(path).manifest.provenance and len(rows(tmp_path, "evaluation.csv")) == 1
    monkeypatch.undo()
    assert train.main("ppo", {"output": str(tmp_path), "resume": "true", "evaluation_episodes": "0"}) == 0
    assert (tmp_path / "curve.png").exists()
    # Its checkpoint is large: it may be removed, and the same command is no word to wipe the rest.
    (tmp_path / "checkpoint.npz").unlink()
    before = {each.name: each.read_bytes() for each in tmp_path.iterdir()}
    capsys.readouterr()
    assert train.main("ppo", settings(tmp_path, 2, evaluation_interval="0")) == 2
    assert "already holds results of a training (policy.zip, curve.csv, " in sentence(capsys)
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == before


# -- refusals ----------------------------------------------------------------------------------------------------------

def test_what_cannot_be_trained_is_refused_in_one_sentence(tmp_path, capsys):
    for algorithm, changes, expected in (
            ("pppo", {}, "unknown method 'pppo'; the nearest one is 'ppo', and there are ppo, "),
            ("ppo", {"learningrate": "1"}, "nearest one is 'learning_rate'"),
            ("ppo", {"num_envs": "-1"}, "num_envs must be at least 0, found -1"),
            ("ppo", {"evaluation_episodes": "0"}, "evaluation_episodes must be at least 1, found 0"),
            ("ppo", {"max_episode_steps": "-1"}, "max_episode_steps must be at least 0, found -1"),
            ("ppo", {"num_envs": "x"}, "num_envs must be a whole number, found 'x'"),
            ("ppo", {"seed": "-1"}, "seed must be at least 0"),
            ("ppo", {"minibatch_size": "7"}, "must be a multiple of minibatch_size = 7"),
            ("ppo", {"task_input": "true"}, "tasks must be named where the policy is told its task (task_input:=true), "
                                            "such as tasks:=wired, found 'none'"),
            ("ppo", {"hazard": "0.1"}, "tasks must be named where episodes_per_trial or hazard is given"),
            ("ppo", {"stall_speed": "1"}, "stall_speed is of the shaped reward: add shaping:=true"),
            ("ppo", {"resume": "true"}, "holds no run to go on with")):
        assert train.main(algorithm, settings(tmp_path / "run", **changes)) == 2
        assert expected in sentence(capsys)
    assert not (tmp_path / "run").exists()


def test_a_folder_that_holds_a_run_is_not_overwritten(unbroken, capsys):
    before = (unbroken / "checkpoint.npz").read_bytes()
    assert train.main("ppo", settings(unbroken)) == 2
    assert "already holds a training: add resume:=true to go on with it" in sentence(capsys)
    assert (unbroken / "checkpoint.npz").read_bytes() == before and len(rows(unbroken)) == UPDATES


def test_a_run_is_not_resumed_with_what_it_was_not_begun_with(unbroken, capsys):
    before = {path.name: path.read_bytes() for path in unbroken.iterdir()}
    for name, value, expected in (("num_envs", "4", "a run with num_envs:=2, found num_envs:=4"),
                                  ("seed", "4", "a run with seed:=3, found seed:=4"),
                                  ("actor_hidden", "8", "set the sizes of the hidden layers to what it was made"),
                                  ("critic_hidden", "32,32", "the checkpoint is of other networks than these")):
        assert train.main("ppo", {"output": str(unbroken), "resume": "true", name: value}) == 2
        assert expected in sentence(capsys)
    assert {path.name: path.read_bytes() for path in unbroken.iterdir()} == before


def test_a_damaged_checkpoint_is_refused(tmp_path, capsys):
    assert train.main("ppo", settings(tmp_path)) == 0
    capsys.readouterr()
    path = tmp_path / "checkpoint.npz"
    path.write_bytes(path.read_bytes()[:-10])
    assert train.main("ppo", {"output": str(tmp_path), "resume": "true"}) == 2
    assert "expected a checkpoint, found none that can be read" in sentence(capsys)


def half(data):
    return data[:len(data) // 2]


@pytest.mark.parametrize("name, spoil, expected", [
    ("checkpoint.npz", half, "expected a checkpoint, found none that can be read .*: put"),
    ("checkpoint.npz", lambda data: data[:3000] + bytes([data[3000] ^ 1]) + data[3001:], "can be read .*Bad CRC-32"),
    ("curve.csv", lambda data: data.replace(b"\r\n", b"\r\n\r\n", 2), "curve.csv, line 2: .* found none: mend"),
    ("evaluation.csv", lambda data: data.replace(b"\r\n", b"\r\n8\0\r\n", 1), "evaluation.csv, line 2: expected"),
    ("config.json", half, r"holds no run to go on with \(.*: choose another output:="),
    ("config.json", lambda data: data.replace(b'"num_envs"', b'"num_envt"'), r"no run to go on with \('num_envs'\)"),
    ("config.json", lambda data: data.replace(b'"seed": 3', b'"seed": -3'), "config.json must tell the settings"),
])
def test_a_run_with_a_damaged_file_is_refused_and_stays(unbroken, tmp_path, capsys, name, spoil, expected):
    folder = shutil.copytree(unbroken, tmp_path / "run")
    whole = (folder / name).read_bytes()
    (folder / name).write_bytes(spoil(whole))
    assert (folder / name).read_bytes() != whole
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert train.main("ppo", {"output": str(folder), "resume": "true"}) == 2
    assert re.search(expected, sentence(capsys))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_an_output_that_cannot_be_written_is_refused(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below", "/proc/none"):
        assert train.main("ppo", settings(folder)) == 2
        assert "choose another output:=" in sentence(capsys)


def test_without_room_training_ends_in_a_sentence_and_the_last_checkpoint_stays(tmp_path, monkeypatch, capsys):
    interrupted(tmp_path, monkeypatch, after=2)
    capsys.readouterr()
    before = learned(tmp_path)
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limit[1]))
    try:
        code = train.main("ppo", {"output": str(tmp_path), "resume": "true"})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert code == 1
    assert "can't write the checkpoint" in (text := sentence(capsys)) and "File too large" in text
    after = learned(tmp_path)
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_losses_that_are_no_numbers_end_the_training_and_are_not_saved(tmp_path, capsys):
    assert train.main("ppo", settings(tmp_path, 40, learning_rate="1e30", checkpoint_interval="1000000")) == 1
    assert re.search("became (nan|inf).* at [0-9]+ environment steps; the last checkpoint is the last good one: there "
                     "is none yet, so begin again", text := sentence(capsys)), text
    assert not (tmp_path / "checkpoint.npz").exists() and not (tmp_path / "policy.zip").exists()


@pytest.mark.parametrize(("step", "changes"), [(80, {}), (70, {"evaluation_interval": "70"})])
def test_lost_weights_are_neither_saved_nor_evaluated(tmp_path, monkeypatch, capsys, step, changes):
    updates = TD3.update

    def update(self):
        metrics = updates(self)
        if self.env_steps == step - 1:  # after losses that are still finite
            self.actor.trainable_variables[0].assign(np.nan * self.actor.trainable_variables[0])
        return metrics

    monkeypatch.setattr(TD3, "update", update)
    assert train.main("td3", {**OFF_POLICY, "checkpoint_interval": "40", "evaluation_interval": "0",
                              "updates_per_step": "1", **changes, "output": str(tmp_path)}) == 1
    assert re.search(fr"variable_0, an array of shape \(105, 8\), became nan at {step} environment steps; the last "
                     "checkpoint is the last good one: go on from it, .*/checkpoint.npz, with resume:=true and a "
                     "setting changed", text := sentence(capsys)), text
    saved = learned(tmp_path)
    assert saved["learner.env_steps"] == 40 and np.isfinite(saved["learner.variable_0"]).all()


def test_without_a_terminal_progress_is_a_line_now_and_then(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(progress, "_LINE_INTERVAL", 0.0)
    assert train.main("ppo", settings(tmp_path, 3)) == 0
    captured = capsys.readouterr()
    lines = captured.err.strip().splitlines()
    assert [line.split(" of ")[0] for line in lines] == ["32", "64", "96"]
    assert all(re.search(r"of 96 steps, \d+ steps/s, 00:0\d left, return", line) for line in lines)
    assert "96 steps, mean return" in captured.out


# -- real processes ----------------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def processes():
    """Fresh processes that have the trainer imported already, which takes seconds."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["trainer.runs.train"])
    # They find this module by its name from the root of the checkout, which colcon does not start the tests in.
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parents[4])
        yield context


def _train_process(arguments, log):
    sys.stdout = sys.stderr = open(log, "w", buffering=1)
    tf.config.run_functions_eagerly(True)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # the server may be older than `as_on_a_terminal`
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    sys.exit(train.main("ppo", arguments))


def start(processes, folder, arguments):
    process = processes.Process(target=_train_process, args=(arguments, str(folder / "log.txt")))
    process.start()
    return process


def wait_until(condition, process, seconds=60.0):
    """Poll without rest, so that what lasts a millisecond is seen; False if the process ends first."""
    end = time.monotonic() + seconds
    while not condition():
        if not process.is_alive():
            return False
        assert time.monotonic() < end, "the training did not get there"
    return True


def count(path):
    return path.read_bytes().count(b"\n") if path.exists() else 0


def test_killed_at_any_moment_it_resumes_to_the_same_end(processes, tmp_path):
    folder, rng = tmp_path / "run", np.random.default_rng(12)
    curve, saved = folder / "curve.csv", folder / "checkpoint.npz"
    within_a_write = 0
    for kill in range(11):
        resume = {"resume": "true"} if saved.exists() else {}
        if not resume and folder.exists():  # with rows, and nothing to go on from
            shutil.rmtree(folder)
        process = start(processes, tmp_path, {**settings(folder, OFTEN_KILLED), **resume})
        rows_now = count(curve) if resume else 1
        goal = rows_now + int(rng.integers(0, 4))
        # The first kill comes before the first update; every second of the others while a checkpoint is written.
        reached = wait_until(lambda least=goal if kill else -1: folder.exists() and count(curve) > least, process)
        if kill % 2:
            wait_until(lambda: list(folder.glob(".checkpoint.npz.*.part")), process)
        process.kill()
        process.join()
        assert reached and process.exitcode == -signal.SIGKILL, (tmp_path / "log.txt").read_text()
        within_a_write += bool(list(folder.glob(".checkpoint.npz.*.part")))
        if saved.exists():
            checkpoint.load(saved)
    assert within_a_write >= 2, "no kill hit the write of a checkpoint"
    assert count(curve) < OFTEN_KILLED + 1
    process = start(processes, tmp_path, {**settings(folder, OFTEN_KILLED), "resume": "true"})
    process.join(60)
    assert process.exitcode == 0, (tmp_path / "log.txt").read_text()
    assert_same_run(folder, undisturbed(tmp_path / "unbroken", OFTEN_KILLED))
    assert not list(folder.glob(".*.part"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_ctrl_c_ends_it_with_a_checkpoint_a_sentence_and_exit_code_130(processes, unbroken, tmp_path, number):
    folder = tmp_path / "run"
    process = start(processes, tmp_path, settings(folder, UPDATES, checkpoint_interval="1000000"))
    assert wait_until(lambda: count(folder / "curve.csv") > 2, process)
    os.kill(process.pid, number)
    process.join(30)
    text = (tmp_path / "log.txt").read_text()
    assert process.exitcode == 130, text
    steps = learned(folder)["learner.env_steps"]
    assert f"stopped at {steps} steps; go on from the last checkpoint, " in text and "Traceback" not in text
    assert train.main("ppo", {"output": str(folder), "resume": "true"}) == 0
    assert_same_run(folder, unbroken)
