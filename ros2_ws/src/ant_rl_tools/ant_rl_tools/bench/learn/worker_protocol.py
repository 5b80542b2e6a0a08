"""The working side of a measurement: answers requests for segments until its input ends.

The standard library only: programs of other environments than the stack's use it too.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

Segment = Callable[[float], Any]


def serve(make: Callable[..., Mapping[str, Segment]]) -> None:
    """Make the segments and run those that are asked for.

    The program's first argument is a JSON object with the arguments of `make`. On stdin comes one JSON object per
    line, `{"segment": NAME, "seconds": LENGTH}`; its answer on stdout is one line of JSON, and so is one word when all
    is made and warm.

    Args:
        make: returns by name what runs one segment of about so many seconds and returns the result.
    """
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print must not get between the answers
    segments = make(**json.loads(sys.argv[1]))
    print(json.dumps("ready"), file=answers)
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps(segments[request["segment"]](request["seconds"])), file=answers)


def rate(seconds: float, run: Callable[[], float]) -> float:
    """How much per second `run` does, which returns how much it did; called until the time is over."""
    done, start = 0.0, time.perf_counter()
    while (spent := time.perf_counter() - start) < seconds or not done:
        done += run()
    return done / spent


def peak_mb() -> float:
    """Peak resident memory [10^6 bytes] of this program alone: rusage also counts the one that started it."""
    with open("/proc/self/status") as file:
        (peak,) = (line.split()[1] for line in file if line.startswith("VmHWM"))
    return int(peak) * 1024 / 1e6
