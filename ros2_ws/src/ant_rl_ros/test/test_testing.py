"""What tests stand on: a domain is in one test's hands at a time, and processes end."""

import os
import signal
import subprocess
import sys
import tempfile
from contextlib import ExitStack

import pytest

from ant_rl_ros.testing.domain import DOMAINS, own_domain
from ant_rl_ros.testing.process import Process, Timeout

# Takes as many domains as there are, says which, and holds them.
GREEDY = """
import signal
from contextlib import ExitStack
from ant_rl_ros.testing.domain import DOMAINS, own_domain
with ExitStack() as held:
    taken = []
    try:
        for _ in DOMAINS:
            taken.append(held.enter_context(own_domain()))
    except RuntimeError:
        pass
    print(*taken, flush=True)
    signal.pause()
"""


@pytest.fixture
def own_folder(tmp_path, monkeypatch):
    """A folder of its own for the locks: other tests need domains meanwhile."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def test_no_two_processes_have_the_same_domain_and_a_killed_one_has_none(own_folder):
    with ExitStack() as held:
        ours = {held.enter_context(own_domain()) for _ in range(5)}
        assert len(ours) == 5 and ours < set(DOMAINS)
        other = subprocess.Popen([sys.executable, "-c", GREEDY], stdout=subprocess.PIPE, text=True)
        held.callback(other.kill)
        theirs = {int(word) for word in other.stdout.readline().split()}
        assert theirs == set(DOMAINS) - ours
        with pytest.raises(RuntimeError, match="each of the ROS domains 1 to 101 is in use by another test"):
            with own_domain():
                pass
        other.kill()
        other.wait()
        other.stdout.close()
        with own_domain() as free:
            assert free in theirs


def test_the_fixture_gives_each_test_a_domain(ros_domain):
    with own_domain() as another:
        assert os.environ["ROS_DOMAIN_ID"] == str(ros_domain) != str(another)


def test_a_process_that_does_not_end_is_told_with_its_words_and_killed():
    deaf = ("import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nprint('deaf', flush=True)\n"
            "while True: signal.pause()")
    with Process([sys.executable, "-c", deaf], {}) as stubborn:
        with pytest.raises(Timeout, match="still runs after 0.5 s; it said:\n"):
            stubborn.wait(0.5)
        assert not stubborn.ended
    assert stubborn.ended and stubborn.process.returncode == -signal.SIGKILL
    assert stubborn.said() in ("", "deaf\n")


def test_what_it_printed_is_whole_and_stays(tmp_path):
    code = "import sys; print('one'); print('two', file=sys.stderr); sys.exit(3)"
    for log in (None, tmp_path / "log.txt"):
        with Process([sys.executable, "-u", "-c", code], {}, log) as program:
            assert program.wait() == 3
        assert program.said() == "one\ntwo\n"
    assert (tmp_path / "log.txt").read_text() == "one\ntwo\n"
