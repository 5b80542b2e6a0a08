"""Streams to which a print never fails, and the signals that ask for the end: real processes and real pipes."""

import os
import signal
import subprocess
import sys

import pytest

from ant_rl_core import ending

ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def run(code, variables=None, **more):
    return subprocess.run([sys.executable, "-c", "import sys\nfrom ant_rl_core import ending\nending.speak()\n" + code],
                          env={**os.environ, **(variables or {})}, timeout=60, **more)


@pytest.mark.parametrize("variables", [ASCII, {"PYTHONIOENCODING": "ascii"}, {"PYTHONIOENCODING": "ascii:strict"}])
def test_what_an_encoding_lacks_is_written_as_its_code(variables):
    done = run(r"print('5 \xb1 1', '\udcff'); print('\u2026', file=sys.stderr)", variables, capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"5 \\xb1 1 \\udcff\n", b"\\u2026\n")


def test_text_stays_as_it_is_otherwise():
    done = run("print('5 ± 1', end=''); print(sys.stdout.line_buffering)", {"PYTHONIOENCODING": "utf-8"},
               capture_output=True)
    assert (done.returncode, done.stdout) == (0, "5 ± 1False\n".encode())


def test_who_reads_no_more_is_no_hindrance():
    """Both streams, as with 2>&1 | head -1; what other libraries write there, too."""
    read, write = os.pipe()
    os.close(read)
    said, tell = os.pipe()
    code = ("import os\nassert ending.is_read()\nprint('a', flush=True)\nassert not ending.is_read()\n"
            "print('b' * 100_000)\nprint('c', file=sys.stderr)\nos.write(1, b'd')\n"
            f"assert ending.not_written() is None\nos.write({tell}, b'done')")
    done = run(code, stdout=write, stderr=write, pass_fds=[tell])
    os.close(write)
    os.close(tell)
    with os.fdopen(said, "rb") as file:
        assert (done.returncode, file.read()) == (0, b"done")


def test_what_could_not_be_written_is_told():
    with open("/dev/full", "wb") as full:
        done = run("print('x' * 100_000)\nprint(ending.is_read(), ending.not_written(), file=sys.stderr)", stdout=full,
                   stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (0, b"True [Errno 28] No space left on device\n")


def test_streams_that_are_closed():
    done = subprocess.run(["sh", "-c", 'exec "$@" >&- 2>&-', "sh", sys.executable, "-c",
                           "import sys\nfrom ant_rl_core import ending\nending.speak()\nprint('a')\n"
                           "print('b', file=sys.stderr)\nassert ending.not_written() is None"], timeout=60)
    assert done.returncode == 0


def test_every_signal_that_asks_for_the_end_does_what_ctrl_c_does():
    code = ("import signal\nending.interrupt_on_signals()\nfor number in ending.heard():\n    try:\n"
            "        signal.raise_signal(number)\n    except KeyboardInterrupt:\n        print(number.name)")
    as_on_a_terminal = ("import signal\nfor number in ending.ENDING: signal.signal(number, signal.SIG_DFL)\n"
                        "signal.signal(signal.SIGINT, signal.default_int_handler)\n")
    assert run(as_on_a_terminal + code, capture_output=True, text=True).stdout.split() == [
        number.name for number in ending.ENDING]
    nohup = subprocess.run(["sh", "-c", 'trap "" HUP; exec "$@"', "sh", sys.executable, "-c",
                            "from ant_rl_core import ending\nprint(*(number.name for number in ending.heard()))"],
                           capture_output=True, text=True, timeout=60)
    assert "SIGTERM" in nohup.stdout and "SIGHUP" not in nohup.stdout


def test_what_insists():
    assert ending.insists(signal.SIGTERM, 2.0) and ending.insists(signal.SIGINT, 2.0)
    assert not ending.insists(signal.SIGTERM, 0.1), "a terminal and a launch system may pass on the same wish"
    assert not ending.insists(signal.SIGHUP, 100.0) and not ending.insists(signal.SIGXCPU, 2.0), "nobody sends those"
