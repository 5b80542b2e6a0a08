"""The viewer gives way to all else."""

import subprocess
import sys

CODE = """
import os, threading
from viewer_node.priority import give_way
go = threading.Event()
before = threading.Thread(target=go.wait)
before.start()
give_way()
after = threading.Thread(target=go.wait)
after.start()
print(*(os.sched_getscheduler(thread.native_id) == os.SCHED_IDLE
        for thread in (threading.main_thread(), before, after)))
go.set()
"""


def test_all_threads_give_way_those_that_come_later_too():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, timeout=120)
    assert done.stdout == "True True True\n", done.stderr
