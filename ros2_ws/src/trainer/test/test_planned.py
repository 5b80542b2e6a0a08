"""A run as the trainer node's parameters ask for it: what is refused before anything is heard, and how it ends."""

import errno

import pytest

from ant_rl_core.settings import ArgumentError
from ant_rl_core.timing import StageTimer
from trainer import checkpoint
from trainer.ros.outbox import CannotBegin
from trainer.ros.planned import PlannedRun
from trainer.ros.settings import TrainerSettings

SMALL = ("rollout_length:=16", "minibatch_size:=32", "total_steps:=64")


def planned(folder, **settings):
    return PlannedRun(TrainerSettings(**{"config": SMALL, "output": str(folder), "seed": 3, **settings}))


def test_namespaces_become_prefixes(tmp_path):
    assert planned(tmp_path).prefixes == {"": ""}
    assert planned(tmp_path, namespaces=("/a", "b/c/")).prefixes == {"a": "/a/", "b/c": "/b/c/"}


def test_the_folder_is_there_and_a_taken_one_is_refused(tmp_path):
    run = planned(tmp_path / "run")
    assert run.folder.path.is_dir() and run.folder.chosen.train.seed == 3 and run.on_policy
    run.folder.close()
    checkpoint.path_in(run.folder.path).write_bytes(b"")
    with pytest.raises(ArgumentError, match="already holds a training: add resume:=true"):
        planned(tmp_path / "run")


def test_a_setting_that_is_not_the_methods_is_refused(tmp_path):
    with pytest.raises(ArgumentError, match="rollout"):
        planned(tmp_path / "run", algorithm="td3")
    assert not (tmp_path / "run").exists()


def test_a_session_has_made_nothing_yet(tmp_path):
    run = planned(tmp_path, namespaces=("/a",))
    session = run.session(None, StageTimer())
    assert (session.done, session.values(), session.rows) == (False, {}, {})
    session.close()


def test_what_ended_it_is_one_sentence(tmp_path):
    run = planned(tmp_path)
    full = OSError(errno.ENOSPC, "No space left on device")
    assert run.why_it_ended(full) == (f"can't write to {tmp_path} (No space left on device): make room; "
                                      "there is no checkpoint yet to go on from")
    checkpoint.path_in(tmp_path).write_bytes(b"")
    assert "with resume:=true" in run.why_it_ended(full)
    for error in (CannotBegin("another number of robots"), FloatingPointError("numbers were lost")):
        assert run.why_it_ended(error) == str(error)
