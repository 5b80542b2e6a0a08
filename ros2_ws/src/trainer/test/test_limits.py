"""Limits hold for the children they are meant for, say what they are, and leave nothing behind."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from trainer.compress import limits
from trainer.compress.limits import Limits, enforced

BUSY = """
import time
wall, processor = time.monotonic(), time.process_time()
while time.monotonic() < wall + 1.0:
    pass
print((time.process_time() - processor) / (time.monotonic() - wall))
"""
FILL = "import sys; x = bytearray(int(float(sys.argv[1]) * 1e6)); print('filled')"


def run(confinement, code, *arguments):
    return subprocess.run(confinement.command([sys.executable, "-c", code, *map(str, arguments)]),
                          capture_output=True, text=True, timeout=60)


def skip_without_groups(confinement):
    if confinement.kills is None:
        assert not os.access("/sys/fs/cgroup/memory", os.W_OK), confinement.description
        pytest.skip(confinement.description)


@pytest.fixture
def grouped():
    """A quarter of a core and 512 MB by control groups, where those can be made."""
    with enforced(Limits(0.25)) as confinement:
        skip_without_groups(confinement)
        yield confinement


@pytest.fixture
def ungrouped(tmp_path, monkeypatch):
    """A machine without control groups."""
    monkeypatch.setattr(limits, "_MOUNT", tmp_path / "none")


def folders():
    """The control groups that this process has made, wherever they lie."""
    mine = f"compress_{os.getpid()}_"
    # Not by rglob, which fails where the group of some other process vanishes meanwhile.
    return {folder for folder, _, _ in os.walk("/sys/fs/cgroup") if Path(folder).name.startswith(mine)}


def test_the_share_of_the_core_holds(grouped):
    assert grouped.description.partition(":")[2].startswith(" 25 % of one core, 512 MB")
    assert float(run(grouped, BUSY).stdout) < 0.35


def test_the_child_has_one_core(grouped):
    assert run(grouped, "import os; print(len(os.sched_getaffinity(0)))").stdout == "1\n"


def test_memory_beyond_the_limit_is_not_given(grouped):
    assert run(grouped, FILL, 100).stdout == "filled\n"
    assert not grouped.ran_out_of_memory("")
    done = run(grouped, FILL, 600)
    assert done.returncode != 0 and done.stdout == ""
    assert grouped.ran_out_of_memory(done.stderr)


def test_a_child_that_fails_has_not_run_out_of_memory(grouped):
    done = run(grouped, "raise SystemExit('MemoryError')")
    assert done.returncode == 1 and not grouped.ran_out_of_memory(done.stderr)


def test_nothing_stays_behind_a_failure():
    before = folders()
    with pytest.raises(RuntimeError, match="as asked"), enforced(Limits()) as confinement:
        skip_without_groups(confinement)
        assert len(folders()) > len(before)
        child = subprocess.Popen(confinement.command(["sleep", "1000"]), stdout=subprocess.PIPE)
        while str(child.pid) not in (confinement.kills.parent / "cgroup.procs").read_text().split():
            assert child.poll() is None
        raise RuntimeError("as asked")
    assert child.wait() == -9
    child.stdout.close()
    assert folders() == before


def test_limits_that_can_be_set_by_half_are_not_set(grouped, monkeypatch):
    before = folders()
    within = limits._within
    monkeypatch.setattr(limits, "_within",
                        lambda mount, own: mount / "none" if mount.name == "memory" else within(mount, own))
    monkeypatch.setattr(limits, "_handing_on", lambda own: own / "none")
    with enforced(Limits()) as confinement:
        assert confinement.kills is None
        assert folders() == before


def test_without_control_groups_it_says_what_is_missing(ungrouped):
    with enforced(Limits(0.25, 300 * 10**6)) as confinement:
        assert confinement.description.startswith(
            "affinity to one core and RLIMIT_DATA of 300 MB; no share of the core could be set (")
        assert run(confinement, "import os; print(len(os.sched_getaffinity(0)))").stdout == "1\n"
        assert run(confinement, FILL, 100).stdout == "filled\n"
        done = run(confinement, FILL, 400)
        assert done.returncode == 1 and confinement.ran_out_of_memory(done.stderr)
        done = run(confinement, "raise SystemExit('something else')")
        assert done.returncode == 1 and not confinement.ran_out_of_memory(done.stderr)


@pytest.fixture
def version_2(tmp_path, monkeypatch):
    """The files of control groups of version 2, in which user.slice hands on both and its session nothing."""
    session = tmp_path / "user.slice" / "session"
    session.mkdir(parents=True)
    (tmp_path / "cgroup.controllers").write_text("cpu io memory\n")
    (tmp_path / "cgroup.subtree_control").write_text("cpu io memory\n")
    (session.parent / "cgroup.subtree_control").write_text("memory cpu\n")
    (session / "cgroup.subtree_control").write_text("")
    (tmp_path / "membership").write_text("0::/user.slice/session\n")
    monkeypatch.setattr(limits, "_MOUNT", tmp_path)
    monkeypatch.setattr(limits, "_MEMBERSHIP", tmp_path / "membership")
    return tmp_path


def test_version_2_sets_both_in_the_nearest_group_that_hands_them_on(version_2):
    means = limits._means(Limits(0.25, 512 * 10**6))
    assert means.name == "cgroup v2"
    (group,) = means.groups
    assert group.parent == version_2 / "user.slice"
    assert group.settings == {"cpu.max": "2500 10000", "memory.max": "512000000"}


def test_version_2_that_hands_nothing_on_is_as_good_as_none(version_2):
    for file in version_2.rglob("cgroup.subtree_control"):
        file.write_text("memory\n")
    with enforced(Limits()) as confinement:
        assert "no control group hands on cpu and memory" in confinement.description


@pytest.mark.parametrize(("wrong", "message"), [
    ({"core_share": 0.05}, "core_share must be from 0.1 to 1, found 0.05"),
    ({"core_share": 1.5}, "core_share must be from 0.1 to 1, found 1.5"),
    ({"memory_bytes": 512}, r"memory_bytes must be at least 1048576, found 512")])
def test_limits_are_checked(wrong, message):
    with pytest.raises(ValueError, match=message):
        Limits(**wrong)


def test_children_of_other_limits_are_apart(grouped):
    with enforced(Limits()) as other:
        assert other.kills != grouped.kills
    assert os.path.exists(grouped.kills)
