"""One writer per folder, also when its holder is killed."""

import subprocess
import sys

import pytest

from ant_rl_core.files import FolderBusyError, FolderLock

_HOLDER = ("import sys; from ant_rl_core.files import FolderLock; lock = FolderLock(sys.argv[1], 'x');"
           "print('held', flush=True); sys.stdin.read()")


def test_a_folder_is_held_by_one_and_freed_by_its_end(tmp_path):
    with subprocess.Popen([sys.executable, "-c", _HOLDER, str(tmp_path)], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(FolderBusyError) as caught:
            FolderLock(tmp_path, "a training")
        assert str(caught.value) in (
            f"a training must have its folder to itself, found {tmp_path} in use{who}: wait for its end, or name "
            "another folder" for who in (f" by process {holder.pid}", ""))  # not every kernel tells who
        holder.kill()
        holder.wait()
    with FolderLock(tmp_path, "a training"):
        with pytest.raises(FolderBusyError):
            FolderLock(tmp_path, "a training")
    FolderLock(tmp_path, "a training").close()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        FolderLock(tmp_path / "none", "a training")
