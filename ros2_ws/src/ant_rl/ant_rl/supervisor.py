"""Runs the processes of a stack where the `launch` package is absent.

Output with a prefix, Ctrl-C to all, respawn with back-off, the exit code of the process that matters, no orphan.
The process libraries on PyPI were no fit: honcho has no respawn, circus brings zmq and tornado, supervisord is a
daemon; asyncio's own subprocesses need the few lines below on top.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import psutil

from ant_rl.console import Console
from ant_rl.stack import CONFIGURATION_ERROR, CONTESTED
from ant_rl_core import ending

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_CLEAN = (0, -signal.SIGINT, 128 + signal.SIGINT)  # return codes of a process that ended as SIGINT asked
_CLEAN_WHEN_YOUNG = (*_CLEAN, -signal.SIGTERM, 128 + signal.SIGTERM)  # and of one that SIGTERM found still starting
_KILLED = (-signal.SIGABRT, -signal.SIGKILL)
# Whatever the terminal's encoding is, which the console sees to; and what crashes or is aborted says where it was.
_SPEECH = {"PYTHONUNBUFFERED": "1", "PYTHONUTF8": "1", "PYTHONIOENCODING": "utf-8", "PYTHONFAULTHANDLER": "1"}
_LIBC = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Command:
    """A process to keep running.

    Attributes:
        name: shown before each line of its output; `prefix=False` leaves that out.
        argv: program and arguments.
        environment: variables on top of the supervisor's own.
        respawn, main, observer, saving, expendable: as in `stack.NodeEntry`.
    """

    name: str
    argv: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    respawn: bool = False
    main: bool = False
    observer: bool = False
    prefix: bool = True
    saving: float = 0.0
    expendable: bool = False


@dataclass(frozen=True)
class Patience:
    """Bounds of the supervisor's waits, in seconds, and how often it tries."""

    interrupt: float = 6.0  # from SIGINT to SIGTERM, where none of those that are waited for needs longer to save
    terminate: float = 2.0  # from SIGTERM to SIGABRT, by which Python tells where it hangs, and from there to SIGKILL
    starting: float = 3.0  # younger processes get SIGTERM at once: an import that SIGINT interrupts prints a traceback
    first_delay: float = 0.5  # before the first respawn; doubles with each early death
    longest_delay: float = 30.0
    early: float = 10.0  # a process that dies sooner than this after its start died early
    attempts: int = 5  # early deaths in a row before the stack is given up


class Supervisor:
    """Starts `commands` in their order and keeps them until one of them ends the stack.

    Args:
        commands: processes to run.
        console: where their output goes.
        patience: bounds of all waits.
        unread: whether it goes on where nobody reads the output any more.
    """

    def __init__(self, commands: Sequence[Command], console: Console, patience: Patience = Patience(),
                 unread: bool = False) -> None:
        self._commands = commands
        self._console = console
        self._patience, self._unread = patience, unread
        self._running: dict[str, asyncio.subprocess.Process] = {}
        self._started: dict[str, float] = {}
        self._end: asyncio.Event
        self._hurry: asyncio.Event
        self._code: int | None = None
        self._asked = 0.0

    def run(self) -> int:
        """Run until the end; return the exit code.

        0: the main process ended well, or a signal (`ending.ENDING`) asked for the end and everything stopped in time;
        2: a process refused its configuration; 3: another run took part in this one; else the code of the process whose
        failure ended the stack.
        """
        if sys.version_info < (3, 12) and hasattr(os, "pidfd_open"):
            # As later versions do by themselves. Before, each child had a thread that waited for it, and where there
            # are threads a child that runs Python before its program, as `die_with` does, may hang there for ever.
            asyncio.set_child_watcher(asyncio.PidfdChildWatcher())
        return asyncio.run(self._run())

    async def _run(self) -> int:
        self._end, self._hurry = asyncio.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in ending.heard(always=(signal.SIGINT, signal.SIGTERM)):
            loop.add_signal_handler(number, self._asked_to_stop, number)
        # Grandchildren whose parent died come to this process, where the sweep at the end finds them.
        _LIBC.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        keepers: asyncio.Future[Any] = asyncio.gather(*(self._keep(command) for command in self._commands))
        ended: asyncio.Future[Any] = asyncio.create_task(self._end.wait())
        try:
            # The keepers end by themselves where nothing is to be respawned, or all at once by a fault in this module.
            await asyncio.wait([ended, keepers], return_when=asyncio.FIRST_COMPLETED)
            self._end.set()
            await self._stop([command for command in self._commands if not command.observer])
            await self._stop([command for command in self._commands if command.observer])
        finally:
            self._sweep()
        await keepers
        return self._code or 0

    def _asked_to_stop(self, number: int) -> None:
        now = time.monotonic()
        if not self._end.is_set():
            self._asked = now
            self._say("stopping; once more to wait no longer")
        elif number == signal.SIGINT or ending.insists(number, now - self._asked):
            self._hurry.set()
        self._finish(0)

    def _finish(self, code: int) -> None:
        """Ask for the end of the stack; the first failure gives the exit code."""
        self._code = self._code or code
        self._end.set()

    async def _keep(self, command: Command) -> None:
        """Run one command, again and again where it is to be respawned, until the stack ends."""
        deaths = 0
        while not self._end.is_set():
            code = await self._run_once(command)
            lived = time.monotonic() - self._started[command.name]
            if self._end.is_set():
                if code not in (_CLEAN if lived > self._patience.starting else _CLEAN_WHEN_YOUNG):
                    self._say(f"{command.name} ended with {_cause(code)} when asked to stop")
                    if not (command.expendable and code in _KILLED):
                        self._finish(_exit_code(code))
                return
            deaths = deaths + 1 if lived < self._patience.early else 1
            if command.main and (code in (0, CONTESTED) or not command.respawn):
                self._say(f"{command.name} ended{'' if code == 0 else ' with ' + _cause(code)}: stopping the others")
                return self._finish(_exit_code(code))
            if code == CONFIGURATION_ERROR:
                self._say(f"{command.name} can't run with what it was given (exit code {code}), its own words are "
                          "above: stopping the others")
                return self._finish(code)
            if not command.respawn and command.observer:
                if code:
                    self._say(f"{command.name} ended with {_cause(code)}: the others go on without it")
                    self._code = self._code or _exit_code(code)
                return
            if not command.respawn:
                if code:
                    self._say(f"{command.name} ended with {_cause(code)}: stopping the others")
                    self._finish(_exit_code(code))
                return
            if deaths >= self._patience.attempts:
                self._say(f"{command.name} died {deaths} times within {self._patience.early:g} s of its start, the "
                          f"last time with {_cause(code)}: stopping the others")
                return self._finish(_exit_code(code) or 1)
            delay = min(self._patience.first_delay * 2 ** (deaths - 1), self._patience.longest_delay)
            self._say(f"{command.name} ended with {_cause(code)} after {lived:.1f} s: "
                      f"starting it again in {delay:g} s")
            await _wait(self._end, delay)

    async def _run_once(self, command: Command) -> int:
        """Start a command, pass its output on, return its return code (minus the signal that killed it)."""
        # A pipe of our own: with asyncio's, wait() lasts until every grandchild that inherited it has closed it.
        read_end, write_end = os.pipe()
        self._started[command.name] = time.monotonic()
        try:
            process = await asyncio.create_subprocess_exec(
                *command.argv, stdin=asyncio.subprocess.DEVNULL, stdout=write_end, stderr=write_end,
                env={**os.environ, **_SPEECH, **command.environment},
                # Ctrl-C in the terminal reaches the supervisor alone, which then stops the others in order.
                start_new_session=True, preexec_fn=die_with(os.getpid()))
        except OSError as error:
            os.close(read_end)
            self._say(f"{command.name} can't be started: {command.argv[0]}: {error.strerror}")
            return CONFIGURATION_ERROR
        finally:
            os.close(write_end)
        self._running[command.name] = process
        if self._end.is_set():  # the end came while it was being started
            process.send_signal(signal.SIGTERM)
        reader = asyncio.create_task(self._pass_on(command, read_end))
        code = await process.wait()
        # The rest of the output is waited for, but not for ever: a grandchild may hold the pipe open.
        await asyncio.wait([reader], timeout=1.0)
        reader.cancel()
        del self._running[command.name]
        if code == -signal.SIGALRM:  # see `ant_rl_ros.run`
            self._say(f"{command.name} had done its work, but the middleware did not let it go: ended")
            return 0
        return code

    async def _pass_on(self, command: Command, read_end: int) -> None:
        """Write what comes out of a pipe, line by line, until it is closed."""
        stream = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(stream), os.fdopen(read_end, "rb", buffering=0))
        prefix = command.name if command.prefix else ""
        rest = b""
        try:
            while data := await stream.read(65536):
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    self._write(prefix, line.decode(errors="replace"))
            if rest:
                self._write(prefix, rest.decode(errors="replace"))
        finally:
            transport.close()

    async def _stop(self, commands: Sequence[Command]) -> None:
        await asyncio.gather(*(self._stop_one(command) for command in commands))

    async def _stop_one(self, command: Command) -> None:
        """SIGINT, SIGTERM, SIGABRT, SIGKILL, each after a bounded wait, which a second Ctrl-C cuts short."""
        for number, patience in ((signal.SIGINT, max(self._patience.interrupt, command.saving)),
                                 (signal.SIGTERM, self._patience.terminate),
                                 (signal.SIGABRT, self._patience.terminate),
                                 (signal.SIGKILL, self._patience.terminate)):
            process = self._running.get(command.name)
            if process is None or process.returncode is not None:
                return
            if number == signal.SIGABRT:
                self._say(f"{command.name} did not stop when asked to: killed")
                self._code = self._code or int(not command.expendable)
            young = time.monotonic() - self._started[command.name] < self._patience.starting
            process.send_signal(signal.SIGTERM if young and number == signal.SIGINT else number)
            waits: list[asyncio.Task[Any]] = [asyncio.create_task(process.wait()),
                                              asyncio.create_task(self._hurry.wait())]
            await asyncio.wait(waits, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
            for wait in waits:
                wait.cancel()

    def _sweep(self) -> None:
        """Kill what is left below this process: children that were just started, and grandchildren."""
        left = psutil.Process().children(recursive=True)
        for process in left:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                pass  # ended by itself meanwhile, as wanted
        psutil.wait_procs(left, timeout=self._patience.terminate)

    def _say(self, sentence: str) -> None:
        self._write("supervisor", sentence)

    def _write(self, prefix: str, line: str) -> None:
        self._console.write(prefix, line)
        if not (ending.is_read() or self._unread):  # `| head`, a closed terminal: no reason to go on
            self._finish(0)


def die_with(parent: int) -> Callable[[], None]:
    """What a child does before it runs its program: be killed when the supervisor is, even by SIGKILL."""
    def prepare() -> None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it died before the line above
            os._exit(1)
    return prepare


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except asyncio.TimeoutError:
        pass  # the wait is over, as asked


def _cause(code: int) -> str:
    if code == CONTESTED:
        return f"exit code {code}, as another one took part in its run"
    return f"exit code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"


def _exit_code(code: int) -> int:
    """As a shell gives it: 128 + n for signal n."""
    return code if code >= 0 else 128 - code
