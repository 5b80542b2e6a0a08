"""/proc texts, against texts with known numbers and against psutil on living processes."""

import math
import os
import subprocess
import sys
import time

import psutil
import pytest

from monitor_node import procstat

STAT = ("1234 (a) (b c) S 1 1234 1234 0 -1 4194304 100 0 0 0 150 50 0 0 20 0 7 0 98765 123456789 2560 "
        "18446744073709551615 1 1 0 0 0 0 0 0 0 0 0 0 17 1 0 0 0 0 0\n")
ROLLUP = """55d0-7ffc ---p 00000000 00:00 0 [rollup]
Rss:               90000 kB
Pss:               50000 kB
Private_Clean:      1024 kB
Private_Dirty:      2048 kB
Private_Hugetlb:       0 kB
"""


def test_parse_stat_with_brackets_and_blanks_in_the_name():
    stat = procstat.parse_stat(STAT)
    assert stat.cpu_time == pytest.approx(200 / procstat.CLOCK_TICKS)
    assert stat.threads == 7
    assert stat.start_time == pytest.approx(98765 / procstat.CLOCK_TICKS)
    assert stat.rss_mib == pytest.approx(2560 * procstat.PAGE_MIB)
    assert not stat.zombie


def test_a_zombie_is_seen():
    assert procstat.parse_stat(STAT.replace(") S", ") Z")).zombie


@pytest.mark.parametrize("text", ["", "12 (x) S 1 2", "no brackets at all"])
def test_what_is_no_stat_is_refused(text):
    with pytest.raises(ValueError, match="expected the text of /proc/PID/stat"):
        procstat.parse_stat(text)


def test_parse_uss():
    assert procstat.parse_uss(ROLLUP) == 3.0
    assert math.isnan(procstat.parse_uss(""))


def test_first_cpu_sample_is_nan_then_percent_of_a_core():
    meter = procstat.CpuMeter()
    assert math.isnan(meter.sample(5.0, 100.0))
    assert meter.sample(5.5, 101.0) == pytest.approx(50.0)
    assert meter.sample(9.5, 103.0) == pytest.approx(200.0)
    assert math.isnan(meter.sample(9.5, 103.0))


def test_a_living_process_against_psutil():
    code = "import threading, signal; x = b'1' * 50_000_000; print('up', flush=True); signal.pause()"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "up\n"
            expected = psutil.Process(process.pid)
            stat = procstat.read_stat(process.pid)
            assert stat.rss_mib == pytest.approx(expected.memory_info().rss / 2**20, rel=0.02)
            assert stat.rss_mib > 47
            assert procstat.read_uss(process.pid) == pytest.approx(expected.memory_full_info().uss / 2**20, rel=0.02)
            assert stat.threads == expected.num_threads()
            assert stat.start_time + psutil.boot_time() == pytest.approx(expected.create_time(), abs=1.5)
            times = expected.cpu_times()
            assert stat.cpu_time == pytest.approx(times.user + times.system, abs=0.05)
        finally:
            process.kill()


def test_cpu_of_this_process_grows_with_its_work():
    before, used = procstat.read_stat(os.getpid()), time.process_time()
    while time.process_time() - used < 0.2:
        pass
    after, used = procstat.read_stat(os.getpid()), time.process_time() - used
    assert after.cpu_time - before.cpu_time == pytest.approx(used, abs=0.05)


def test_a_process_that_is_gone():
    process = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert procstat.read_stat(process.pid) is None  # a zombie
    process.wait()
    assert procstat.read_stat(process.pid) is None
    assert math.isnan(procstat.read_uss(process.pid))
