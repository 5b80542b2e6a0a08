"""The asking side of a measurement: a process of its own for each contender, which rests while the others run."""

from __future__ import annotations

import json
import os
import select
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

from ant_rl.supervisor import die_with
from ant_rl_tools.unavailable import Unavailable

_PATIENCE = 900.0  # [s] for an answer; a training with a full replay takes a minute, more on a busy machine
_GRACE = 10.0  # [s] from the end of its input to SIGKILL
# Where the libraries of numbers read how many threads to use.
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "TF_NUM_INTRAOP_THREADS")


class Worker:
    """A process that runs `serve`; a context manager that ends it.

    Args:
        command: program and arguments; the arguments of its segments follow as JSON.
        threads: for the libraries that compute.
        arguments: of its segments.
        environment: all its variables, but for those of the threads; None: those of this process.

    Raises:
        Unavailable: it ended or fell silent before it was ready.
    """

    def __init__(self, command: Sequence[str], threads: int, arguments: Mapping[str, Any],
                 environment: Mapping[str, str] | None = None) -> None:
        self._name = os.path.basename(command[-1])
        self._words = tempfile.TemporaryFile()
        variables = {**(os.environ if environment is None else environment),
                     **dict.fromkeys(_THREADS, str(threads)), "TF_CPP_MIN_LOG_LEVEL": "3"}
        self._process = subprocess.Popen([*command, json.dumps(arguments)], stdin=subprocess.PIPE,
                                         stdout=subprocess.PIPE, stderr=self._words, env=variables,
                                         preexec_fn=die_with(os.getpid()))
        assert self._process.stdin is not None and self._process.stdout is not None  # as asked for above
        self._requests, self._answers = self._process.stdin, self._process.stdout
        try:
            self._answer()
        except BaseException:
            self.__exit__()
            raise

    def run(self, segment: str, seconds: float = 0.0) -> Any:
        """Run one segment of about so many seconds; its result. Unavailable if the process ends or stays silent."""
        request = json.dumps({"segment": segment, "seconds": seconds})
        try:
            self._requests.write(f"{request}\n".encode())
            self._requests.flush()
        except BrokenPipeError:
            pass  # it has ended: reading its answer says how
        return self._answer()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._requests.close()
        except BrokenPipeError:
            pass  # it ended with a request unread
        try:
            self._process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._answers.close()
        self._words.close()

    def _answer(self) -> Any:
        readable, _, _ = select.select([self._answers], [], [], _PATIENCE)
        if not readable:
            self._process.kill()
            raise Unavailable(f"{self._name} did not answer within {_PATIENCE:.0f} s")
        line = self._answers.readline()
        if not line:
            code = self._process.wait()
            self._words.seek(0)
            last = self._words.read().decode(errors="replace").strip().splitlines()[-1:] or ["nothing"]
            raise Unavailable(f"{self._name} ended with exit code {code}; its last words: {last[0]}")
        return json.loads(line)
