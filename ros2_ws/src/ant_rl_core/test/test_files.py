"""What is written to the path that a user named: whole, through links, to devices and pipes as they are."""

import os
import stat
import subprocess
import sys
import threading
import time

import pytest

from ant_rl_core.files import check_new_folder, check_not_an_input, check_writable, replacing, write_atomically
from ant_rl_core.settings import ArgumentError

WRITER = "import sys; from ant_rl_core.files import write_atomically as w; print('before'); w(sys.argv[1], b'data\\n')"


def node(path, kind, major, minor):
    """A device of this test's own, as the machine's are not to be risked."""
    try:
        os.mknod(path, kind | 0o666, os.makedev(major, minor))
        with open(path, "rb"):
            return path
    except OSError as error:
        pytest.skip(f"no devices can be made or opened here: {error}")


# -- links and names ---------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("is_there", [True, False])
def test_through_a_chain_of_links_which_stays(tmp_path, is_there):
    (tmp_path / "elsewhere").mkdir()
    target = tmp_path / "elsewhere" / "result.json"
    if is_there:
        target.write_text("old")
    (tmp_path / "second").symlink_to("elsewhere/result.json")
    (tmp_path / "first").symlink_to(tmp_path / "second")
    check_writable("summary", str(tmp_path / "first"))
    write_atomically(tmp_path / "first", b"new")
    assert target.read_bytes() == b"new" and (tmp_path / "first").is_symlink() and (tmp_path / "second").is_symlink()
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["elsewhere", "first", "result.json", "second"]


def test_all_names_of_a_file_get_it(tmp_path):
    (tmp_path / "a").write_text("old and longer")
    os.link(tmp_path / "a", tmp_path / "b")
    write_atomically(tmp_path / "b", b"new")
    assert (tmp_path / "a").read_bytes() == b"new" and os.path.samefile(tmp_path / "a", tmp_path / "b")
    assert len(list(tmp_path.iterdir())) == 2


def test_mode_and_owner_stay(tmp_path):
    path = tmp_path / "a"
    path.write_text("old")
    path.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(path, 1234, 5678)
    before = path.stat()
    write_atomically(path, b"new")
    found = path.stat()
    assert (found.st_mode, found.st_uid, found.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
    write_atomically(tmp_path / "b", b"")
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE((tmp_path / "b").stat().st_mode) == 0o666 & ~mask


def test_a_failure_leaves_the_old_file_and_nothing_beside(tmp_path):
    (tmp_path / "a").write_text("old")
    (tmp_path / "link").symlink_to("a")
    with pytest.raises(KeyboardInterrupt), replacing(tmp_path / "link") as file:
        file.write(b"half")
        raise KeyboardInterrupt
    assert (tmp_path / "a").read_text() == "old" and len(list(tmp_path.iterdir())) == 2


def test_the_longest_name_has_room_for_what_is_aside(tmp_path):
    path = tmp_path / ("ö" * 127)
    check_writable("summary", str(path))
    write_atomically(path, b"new")
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_a_file_that_is_mounted_by_itself(tmp_path):
    """As containers get them: it can't be renamed away."""
    (tmp_path / "host").write_text("old and longer")
    (tmp_path / "inside").write_text("")
    script = "mount --bind host inside && exec \"$@\""
    done = subprocess.run(["unshare", "--mount", "sh", "-c", script, "sh", sys.executable, "-c", WRITER, "inside"],
                          cwd=tmp_path, capture_output=True, text=True, timeout=60)
    if "unshare" in done.stderr or "mount:" in done.stderr:
        pytest.skip(f"no mounts can be made here: {done.stderr}")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "host").read_text() == "data\n" and len(list(tmp_path.iterdir())) == 2


# -- what is no file ---------------------------------------------------------------------------------------------------

def test_a_device_stays_one(tmp_path):
    null = node(tmp_path / "null", stat.S_IFCHR, 1, 3)
    (tmp_path / "link").symlink_to("null")
    for path in (null, tmp_path / "link"):
        check_writable("summary", str(path))
        write_atomically(path, b"data")
        assert stat.S_ISCHR(null.stat().st_mode) and (tmp_path / "link").is_symlink()
    assert len(list(tmp_path.iterdir())) == 2
    with pytest.raises(OSError, match="No space left"):
        write_atomically(node(tmp_path / "full", stat.S_IFCHR, 1, 7), b"data")


def test_a_disk_and_a_socket_are_refused(tmp_path):
    import socket
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(tmp_path / "socket"))
        with pytest.raises(ArgumentError, match=r"summary must be a file, found the socket .*/socket"):
            check_writable("summary", str(tmp_path / "socket"))
    try:
        os.mknod(tmp_path / "disk", stat.S_IFBLK | 0o666, os.makedev(7, 250))
    except OSError as error:
        pytest.skip(f"no devices can be made here: {error}")
    with pytest.raises(ArgumentError, match=r"summary must be a file, found the disk .*/disk"):
        check_writable("summary", str(tmp_path / "disk"))


def test_a_pipe_gives_its_reader_all(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    data, found = os.urandom(300_000), []
    reader = threading.Thread(target=lambda: found.append(path.read_bytes()))
    check_writable("summary", str(path))  # before there is a reader, whom it would wake
    reader.start()
    write_atomically(path, data)
    reader.join(10)
    assert found == [data] and stat.S_ISFIFO(path.stat().st_mode) and len(list(tmp_path.iterdir())) == 1


def test_a_pipe_without_a_reader_or_with_one_who_stops_is_not_waited_for_long(tmp_path, monkeypatch):
    from ant_rl_core import files
    monkeypatch.setattr(files, "_READER_PATIENCE", 0.2)
    path = tmp_path / "pipe"
    os.mkfifo(path)
    begin = time.monotonic()
    with pytest.raises(OSError, match="nobody reads this pipe"):
        write_atomically(path, b"data")
    idle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with pytest.raises(OSError, match="does not read on"):
        write_atomically(path, bytes(300_000))
    os.close(idle)
    assert time.monotonic() - begin < 30


def test_standard_output_comes_in_order_wherever_it_goes(tmp_path):
    def run(path, **to):
        return subprocess.run([sys.executable, "-c", WRITER + "; print('after')", path], timeout=60, check=True, **to)

    assert run("/dev/stdout", stdout=subprocess.PIPE).stdout == b"before\ndata\nafter\n"
    with open(tmp_path / "log", "wb") as log:  # not over what was printed before, and without a new file in its place
        run("/proc/self/fd/1", stdout=log)
    assert (tmp_path / "log").read_bytes() == b"before\ndata\nafter\n"
    assert run("/dev/stderr", stdout=subprocess.DEVNULL, stderr=subprocess.PIPE).stderr == b"data\n"


# -- what is refused before --------------------------------------------------------------------------------------------

def refusal(check, *arguments):
    with pytest.raises(ArgumentError) as caught:
        check(*arguments)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_where_no_file_can_come_to_be(tmp_path):
    (tmp_path / "lost").symlink_to("nowhere/s.json")
    assert refusal(check_writable, "summary", str(tmp_path / "lost")) == (
        f"summary must be in a folder that exists, found {tmp_path}/lost, a link to {tmp_path}/nowhere/s.json; make "
        f"{tmp_path}/nowhere first")
    (tmp_path / "round").symlink_to("round")
    assert "Too many levels of symbolic links" in refusal(check_writable, "summary", str(tmp_path / "round"))
    with pytest.raises(OSError, match="Too many levels"):
        write_atomically(tmp_path / "round", b"")
    assert (tmp_path / "round").is_symlink()
    assert "File name too long" in refusal(check_writable, "summary", str(tmp_path / ("x" * 300)))
    assert "summary must be a file that can be written, found /proc/s.json" in refusal(
        check_writable, "summary", "/proc/s.json")
    assert list(path.name for path in tmp_path.iterdir() if not path.is_symlink()) == []


def test_where_no_folder_can_come_to_be(tmp_path):
    check_new_folder("record", str(tmp_path / "a" / "b"))
    (tmp_path / "lost").symlink_to("nowhere")
    assert "must be a folder that does not exist yet, found" in (text := refusal(
        check_new_folder, "record", str(tmp_path / "lost"))) and ", a link; name another" in text
    assert "File name too long" in refusal(check_new_folder, "record", str(tmp_path / ("x" * 300)))
    (tmp_path / "file").write_text("")
    assert f"{tmp_path}/file is none" in refusal(check_new_folder, "record", str(tmp_path / "file" / "bag"))
    assert not (tmp_path / "a").exists()


def test_what_is_read_is_not_written_over(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bag").mkdir()
    for name in ("bag/metadata.yaml", "policy.zip", "other"):
        (tmp_path / name).write_text("")
    (tmp_path / "link").symlink_to("policy.zip")
    os.link("policy.zip", "name")
    inputs = ["policy.zip", tmp_path / "bag", "not there"]
    for path in ("link", "name", "./policy.zip", str(tmp_path / "policy.zip"), "bag/metadata.yaml"):
        assert refusal(check_not_an_input, "output", path, inputs) == (
            f"output must not be what is read, found {path}; name another file")
    for path in ("", "other", "bag/report.html", "new", "not there"):
        check_not_an_input("output", path, inputs)
