"""The folder of a training: one training has it, and nothing that an earlier one left is written over."""

import json
import subprocess
import sys
from types import SimpleNamespace

import pytest
import tensorflow as tf

from ant_rl_core.files import FolderLock
from ant_rl_core.settings import ArgumentError
from trainer import checkpoint
from trainer.checkpoint import CheckpointError
from trainer.ros.planned import PlannedRun
from trainer.ros.settings import TrainerSettings
from trainer.runs import events, plot
from trainer.runs.folder import RunFolder
from trainer.runs.record import Record
from trainer.runs.train_config import choose

LEARNER = SimpleNamespace(num_envs=2, env_steps=0)
ROW = {"env_steps": 64, "wall_seconds": 1.0, "mean_return": 5.0}
HOLDER = ("import sys; from ant_rl_core.files import FolderLock; lock = FolderLock(sys.argv[1], 'a training');"
          "print('held', flush=True); sys.stdin.read()")


def folder_of(path, **more):
    return RunFolder("ppo", choose("ppo", {"output": str(path), "num_envs": "2"}), **more)


def begin(path, **more):
    folder = folder_of(path, **more)
    folder.begin(LEARNER, Record(2))
    return folder


def contents(path):
    return {each.name: each.read_bytes() for each in path.iterdir()}


@pytest.mark.parametrize("left", [["policy.zip"], ["curve.csv"], ["evaluation.csv", "policy.zip"], ["curve.png"]])
def test_results_without_a_checkpoint_are_not_written_over(tmp_path, left):
    """A finished run whose checkpoint was removed for room, or one whose checkpoint went with the disk's end."""
    begin(tmp_path).close()
    for name in left:
        (tmp_path / name).write_text("env_steps\n64\n")
    before = contents(tmp_path)
    with pytest.raises(ArgumentError) as caught:
        begin(tmp_path)
    found = ", ".join(name for name in ("policy.zip", "curve.csv", "evaluation.csv", "curve.png") if name in left)
    assert str(caught.value) == (f"{tmp_path} already holds results of a training ({found}), without a checkpoint to "
                                 "go on from: move them away, or choose another output:=")
    with pytest.raises(ArgumentError, match="already holds results"):
        PlannedRun(TrainerSettings(output=str(tmp_path)))
    if "policy.zip" in left:
        with pytest.raises(ArgumentError, match="already holds results"):
            PlannedRun(TrainerSettings(output=str(tmp_path), resume=True))
    assert contents(tmp_path) == before


def test_a_trainer_that_died_before_its_first_checkpoint_begins_again_where_it_may(tmp_path):
    folder = begin(tmp_path)
    folder.curve.add(ROW)
    folder.close()
    again = PlannedRun(TrainerSettings(output=str(tmp_path), resume=True)).folder
    again.begin(LEARNER, Record(2))
    assert not (tmp_path / "curve.csv").exists()
    again.close()


def test_what_is_of_something_else_stays(tmp_path):
    foreign = {".notes.1.part": "a", ".config.json.x.part": "b", "events.out.tfevents.1.host.7.0.v2": "c", "n": "d"}
    for name, text in foreign.items():
        (tmp_path / name).write_text(text)
    own = [".checkpoint.npz.12.part", ".config.json.3.part", "events.out.tfevents.17"]
    for name in own:
        (tmp_path / name).write_text("x")
    begin(tmp_path).close()
    found = contents(tmp_path)
    assert {name: text.encode() for name, text in foreign.items()}.items() <= found.items()
    assert not set(own) & set(found)
    (tmp_path / "config.json").write_text('{"compilerOptions": {}}')
    with pytest.raises(ArgumentError, match="holds a config.json that is of no training: choose another output:="):
        begin(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text()) == {"compilerOptions": {}}


def test_a_folder_is_for_one_training_whoever_drives_it(tmp_path):
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"held\n"
        checkpoint.path_in(tmp_path).write_bytes(b"")
        before = contents(tmp_path)
        refusals = [lambda: begin(tmp_path), lambda: folder_of(tmp_path).resume(LEARNER, Record(2)),
                    lambda: PlannedRun(TrainerSettings(output=str(tmp_path)))]
        for refused in refusals:
            with pytest.raises(ArgumentError, match=rf"a training must have its folder to itself, found {tmp_path} in "
                                                    "use.*: wait for its end, or name another folder"):
                refused()
        assert contents(tmp_path) == before
        holder.kill()
    checkpoint.path_in(tmp_path).unlink()
    first = begin(tmp_path)
    with pytest.raises(ArgumentError, match="in use"):
        begin(tmp_path)
    first.close()
    begin(tmp_path).close()


def test_what_is_refused_lets_the_folder_go(tmp_path):
    checkpoint.path_in(tmp_path).write_bytes(b"no checkpoint")
    kept = [folder_of(tmp_path) for _ in range(2)]
    with pytest.raises(ArgumentError, match="already holds a training"):
        kept[0].begin(LEARNER, Record(2))
    with pytest.raises(CheckpointError):
        kept[1].resume(LEARNER, Record(2))
    FolderLock(tmp_path, "a training").close()


def test_events_that_cannot_be_written_end_nothing(tmp_path, monkeypatch, capsys):
    folder = begin(tmp_path)

    def full(*_):
        raise tf.errors.ResourceExhaustedError(None, None, "No space left on device")

    monkeypatch.setattr(events.Events, "_write", full)
    for steps in (64, 128):
        folder._add("train", folder.curve, {**ROW, "env_steps": steps})
    folder.close()
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "can't be written to" in said and "No space left on device" in said
    assert len(folder.curve.read()[1]) == 2


def test_a_picture_that_cannot_be_drawn_is_a_sentence(tmp_path, monkeypatch, capsys):
    (tmp_path / "curve.csv").write_text("env_steps,wall_seconds,mean_return\n64,1.0,5.0\n")
    # Not a user's settings, which pictures don't follow, but Matplotlib's own.
    monkeypatch.setitem(__import__("matplotlib").rcParamsDefault, "text.usetex", True)
    monkeypatch.setenv("PATH", "/nowhere")  # as where there is no LaTeX
    plot.attempt("curve.png", lambda: plot.save_curve(tmp_path, "ppo"))
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and said.startswith("curve.png can't be drawn (") and "all else is there" in said
    assert [path.name for path in tmp_path.iterdir()] == ["curve.csv"]
    monkeypatch.undo()
    plot.attempt("curve.png", lambda: plot.save_curve(tmp_path, "ppo"))
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG") and not capsys.readouterr().err
