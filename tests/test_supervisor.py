"""The supervisor with small stand-in programs: exit codes, respawn, stopping, and that nothing is left behind."""

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import programs
import psutil
import pytest
from programs import assert_gone, descendants, finish, read_until

from ant_rl.node_commands import NotBuiltError, node_command
from ant_rl.stack import NodeEntry

# Runs the supervisor on commands given as JSON, as a process of its own, the way a user has it.
RUNNER = """
import json, sys
from ant_rl.console import Console
from ant_rl.supervisor import Command, Patience, Supervisor
from ant_rl_core import ending
ending.speak()
given = json.loads(sys.argv[1])
commands = [Command(**command) for command in given["commands"]]
sys.exit(Supervisor(commands, Console(sys.stdout), Patience(**given["patience"]), given["unread"]).run())
"""
QUICK = {"interrupt": 5.0, "terminate": 5.0, "first_delay": 0.01, "early": 10.0, "attempts": 3, "starting": 60.0}
# Ends cleanly on SIGINT, like a node.
GROWN = {"starting": 0.0}  # processes that are up take SIGINT, as nodes do, however young they are
NODE = ("import signal, sys\nsignal.signal(signal.SIGINT, lambda *_: (print('down', flush=True), sys.exit(0)))\n"
        "print('up', flush=True)\nwhile True: signal.pause()")
DEAF = ("import signal\nfor s in (signal.SIGINT, signal.SIGTERM): signal.signal(s, signal.SIG_IGN)\n"
        "print('up', flush=True)\nwhile True: signal.pause()")


def python(name: str, code: str, *arguments: str, **options) -> dict:
    return {"name": name, "argv": [sys.executable, "-c", code, *arguments], **options}


def start(*commands: dict, unread: bool = False, before: tuple[str, ...] = (), **patience) -> subprocess.Popen:
    given = json.dumps({"commands": commands, "patience": {**QUICK, **patience}, "unread": unread})
    return programs.start([*before, sys.executable, "-c", RUNNER, given])


@pytest.mark.parametrize("code, expected", [("", 0), ("raise SystemExit(7)", 7), ("import os; os.abort()", 134)])
def test_the_exit_code_is_the_main_process_s(code, expected):
    process = start(python("env", code, main=True), python("policy", NODE, respawn=True))
    found, output = finish(process)
    assert found == expected
    assert "[supervisor] env ended" in output


def test_a_main_process_in_whose_run_another_took_part_ends_it_and_is_not_started_again():
    code, output = finish(start(python("env", "raise SystemExit(3)", main=True, respawn=True)))
    assert code == 3 and "env ended with exit code 3, as another one took part in its run: stopping" in output
    process = start(python("env", NODE, main=True), python("policy", NODE.replace("sys.exit(0)", "sys.exit(3)"),
                                                           respawn=True), **GROWN)
    read_until(process, "[env] up", "[policy] up")
    process.send_signal(signal.SIGINT)
    code, output = finish(process)
    assert code == 3 and "policy ended with exit code 3, as another one took part in its run when asked" in output


def test_output_has_a_prefix_and_loses_nothing():
    code = ("import sys\nfor i in range(3000): print('line', i)\nprint('x' * 200_000)\n"
            "sys.stdout.write('no newline at the end')")
    found, output = finish(start(python("env", code, main=True)))
    lines = output.splitlines()
    assert found == 0
    assert [line for line in lines if line.startswith("[env] line")] == [f"[env] line {i}" for i in range(3000)]
    assert "[env] " + "x" * 200_000 in lines
    assert "[env] no newline at the end" in lines


def test_ctrl_c_stops_everything_the_observer_last():
    process = start(python("status", NODE, observer=True, prefix=False), python("env", NODE, main=True),
                    python("policy", NODE, respawn=True), **GROWN)
    read_until(process, "[env] up\n", "[policy] up\n", "up\n")
    children = descendants(process)
    assert len(children) == 3
    process.send_signal(signal.SIGINT)
    code, output = finish(process)
    assert code == 0
    assert output.splitlines()[-1] == "down"  # the observer has no prefix
    assert "[env] down" in output and "[policy] down" in output
    assert_gone(children)


def test_the_others_go_on_where_an_observer_fails():
    process = start(python("recorder", "raise SystemExit(1)", observer=True), python("env", NODE, main=True), **GROWN)
    read_until(process, "[env] up\n", "[supervisor] recorder ended with exit code 1: the others go on without it")
    process.send_signal(signal.SIGINT)
    code, output = finish(process)
    assert code == 1 and "[env] down" in output


def test_a_failure_while_stopping_counts():
    failing = NODE.replace("sys.exit(0)", "sys.exit(5)")
    process = start(python("env", failing, main=True), **GROWN)
    read_until(process, "[env] up")
    process.send_signal(signal.SIGINT)
    code, output = finish(process)
    assert code == 5
    assert "env ended with exit code 5 when asked to stop" in output


def test_what_a_young_process_says_at_its_end_counts():
    """One that is up, and whose summary can't be written, say."""
    failing = NODE.replace("SIGINT", "SIGTERM").replace("sys.exit(0)", "sys.exit(1)")
    process = start(python("env", NODE, main=True), python("status", failing, observer=True))
    read_until(process, "[env] up", "[status] up")
    process.send_signal(signal.SIGINT)
    code, output = finish(process)
    assert code == 1 and "status ended with exit code 1 when asked to stop" in output


def test_text_of_all_kinds_passes_in_an_ascii_terminal():
    code = "import sys\nprint(chr(0xb1), sys.stdout.encoding, sys.getfilesystemencoding())"
    found, output = finish(start(python("env", code, main=True), before=("env", "LC_ALL=C", "PYTHONUTF8=0",
                                                                       "PYTHONIOENCODING=ascii")))
    assert found == 0 and "[env] \\xb1 utf-8 utf-8" in output


def test_a_process_that_is_still_starting_leaves_no_traceback():
    importing = "import time; print('up', flush=True); time.sleep(60)"
    process = start(python("env", importing, main=True))
    read_until(process, "[env] up")
    process.send_signal(signal.SIGINT)
    code, output = finish(process)
    assert code == 0
    assert "Traceback" not in output


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_other_signals_stop_it_cleanly_too(number):
    process = start(python("env", NODE, main=True), **GROWN)
    read_until(process, "[env] up")
    children = descendants(process)
    process.send_signal(number)
    code, output = finish(process)
    assert (code, "[env] down" in output) == (0, True)
    assert_gone(children)


def test_a_terminal_that_is_closed_hurries_nobody_and_nohup_is_heeded():
    """Closing one sends SIGHUP several times, and what saves at its end needs the time that it needs."""
    slow = NODE.replace("print('down', flush=True)", "print('saving', flush=True), __import__('time').sleep(1), "
                        "print('down', flush=True)")
    process = start(python("trainer", slow, main=True, saving=60.0), interrupt=0.01, **GROWN)
    read_until(process, "[trainer] up")
    process.send_signal(signal.SIGHUP)
    read_until(process, "[trainer] saving")
    process.send_signal(signal.SIGHUP)
    code, output = finish(process)
    assert code == 0 and "[trainer] down" in output and "did not stop" not in output
    process = start(python("env", NODE, main=True), before=("nohup",), **GROWN)
    read_until(process, "[env] up")
    ignored = re.search(r"SigIgn:\s*([0-9a-f]+)", Path(f"/proc/{process.pid}/status").read_text())
    assert int(ignored[1], 16) & 1 << signal.SIGHUP - 1
    assert finish(process, signal.SIGTERM)[0] == 0


def test_the_deaf_are_killed_in_bounded_time_and_tell_where_they_were():
    process = start(python("env", DEAF, main=True), interrupt=0.2, terminate=2.0)
    read_until(process, "[env] up")
    children = descendants(process)
    process.send_signal(signal.SIGINT)
    code, output = finish(process)
    assert code != 0
    assert "env did not stop when asked to: killed" in output
    assert '[env]   File "<string>", line 4 in <module>' in output
    assert_gone(children)


def test_nothing_is_lost_with_what_is_expendable():
    """Unless it fails by itself."""
    for code, expected in ((DEAF, 0), (NODE.replace("sys.exit(0)", "sys.exit(7)"), 7)):
        process = start(python("env", NODE, main=True), python("monitor", code, expendable=True), interrupt=0.5,
                        terminate=0.2, **GROWN)
        read_until(process, "[env] up", "[monitor] up")
        found, output = finish(process, signal.SIGINT)
        assert found == expected and ("monitor did not stop when asked to: killed" in output) == (expected == 0)


def test_who_was_done_but_for_the_middleware_ended_well():
    alarmed = "import os, signal\nprint('done', flush=True)\nos.kill(os.getpid(), signal.SIGALRM)"
    code, output = finish(start(python("env", alarmed, main=True)))
    assert code == 0 and "env had done its work, but the middleware did not let it go: ended" in output


def test_it_has_no_thread_that_a_child_could_be_forked_beside():
    process = start(python("env", NODE, main=True), python("policy", NODE), **GROWN)
    read_until(process, "[env] up", "[policy] up")
    assert len(list(Path(f"/proc/{process.pid}/task").iterdir())) == 1
    finish(process, signal.SIGINT)


def test_a_second_ctrl_c_does_not_wait():
    process = start(python("env", DEAF, main=True), interrupt=600.0, terminate=600.0)
    read_until(process, "[env] up")
    process.send_signal(signal.SIGINT)
    read_until(process, "stopping")
    process.send_signal(signal.SIGINT)
    code, output = finish(process)
    assert code != 0
    assert "killed" in output


def test_no_orphan_when_the_supervisor_is_killed():
    process = start(python("env", DEAF, main=True), python("policy", DEAF, respawn=True))
    read_until(process, "[env] up", "[policy] up")
    children = descendants(process)
    assert len(children) == 2
    process.kill()
    finish(process)
    assert_gone(children)


def test_grandchildren_are_stopped_too():
    parent = ("import subprocess, sys\n"
              f"child = subprocess.Popen([sys.executable, '-c', {DEAF!r}])\nprint('pid', child.pid, flush=True)\n"
              "sys.stdin.read()")
    process = start(python("env", parent + "\nraise SystemExit(3)", main=True))
    output = read_until(process, "pid")
    grandchild = int(output.split("pid")[1].split()[0])
    code, _ = finish(process)
    assert code == 3
    assert not psutil.pid_exists(grandchild)


def test_respawn_with_back_off(tmp_path):
    """Dies twice at once, then stays: three starts with growing waits, and the stack goes on."""
    code = ("import os, sys\npath = sys.argv[1]\nopen(path, 'a').write('x')\n"
            f"if os.path.getsize(path) < 3: sys.exit(1)\n{NODE}")
    process = start(python("env", NODE, main=True),
                    python("policy", code, str(tmp_path / "starts"), respawn=True), attempts=5)
    seen = read_until(process, "[policy] up", "[env] up")
    process.send_signal(signal.SIGINT)
    assert finish(process)[0] == 0
    assert "starting it again in 0.01 s" in seen
    assert "starting it again in 0.02 s" in seen


def test_a_killed_process_is_started_again():
    process = start(python("env", NODE, main=True), python("policy", NODE, respawn=True))
    read_until(process, "[env] up", "[policy] up")
    before = descendants(process)
    before[1].kill()
    read_until(process, "policy ended with signal SIGKILL", "[policy] up")
    process.send_signal(signal.SIGINT)
    assert finish(process)[0] == 0


def test_a_process_that_always_dies_early_is_given_up():
    process = start(python("env", NODE, main=True), python("policy", "raise SystemExit(1)", respawn=True))
    code, output = finish(process)
    assert code == 1
    assert output.count("starting it again") == 2
    assert "policy died 3 times" in output


def test_a_refused_configuration_is_not_tried_again():
    process = start(python("env", NODE, main=True),
                    python("policy", "import sys; print('no such bundle'); sys.exit(2)", respawn=True))
    code, output = finish(process)
    assert code == 2
    assert "[policy] no such bundle" in output
    assert output.count("no such bundle") == 1
    assert "can't run with what it was given" in output


def test_a_program_that_is_missing():
    code, output = finish(start({"name": "env", "argv": ["/nowhere/env_node"], "main": True}))
    assert code == 2
    assert "env can't be started: /nowhere/env_node: No such file or directory" in output


def test_nobody_reads_the_output():
    talker = "import itertools\nfor i in itertools.count(): print(i)"
    process = start(python("env", talker, main=True))
    read_until(process, "[env]")
    children = descendants(process)
    process.stdout.close()
    assert process.wait(timeout=30) == 0
    assert_gone(children)


def test_nobody_reads_the_output_of_what_keeps_something(tmp_path):
    talker = ("import sys\nprint('up', flush=True)\nfor i in range(20_000): print(i)\n"
              "open(sys.argv[1], 'w').write('kept')")
    process = start(python("env", talker, str(tmp_path / "kept"), main=True), unread=True)
    read_until(process, "[env] up")
    process.stdout.close()
    assert process.wait(timeout=30) == 0 and (tmp_path / "kept").read_text() == "kept"


def test_node_that_is_not_built():
    pytest.importorskip("ament_index_python", reason="ROS is not installed")
    with pytest.raises(NotBuiltError, match="no_such_package is not built.*run build"):
        node_command(NodeEntry("no_such_package", "x", "x"), [], {})
