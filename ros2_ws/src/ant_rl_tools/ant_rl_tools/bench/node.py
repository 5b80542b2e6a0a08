"""The benchmark's own place in the ROS graph: it stands in for an environment, or pauses one and reads its rate."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from ant_rl_interfaces.msg import NodeTiming, Observation
from std_srvs.srv import SetBool

from ant_rl_core.spec import ANT
from ant_rl_core.step import TimeStep
from ant_rl_core.tick import Tick, new_run_number
from ant_rl_ros import qos
from ant_rl_ros.messages import decode_torques, encode_observation
from ant_rl_ros.stamps import system_stamp
from ant_rl_ros.telemetry import decode_timing
from ant_rl_ros.wire import FlatCodec
from ant_rl_tools.asker import RESEND_PERIOD, Asker
from ant_rl_tools.node_process import NodeProcess
from ant_rl_tools.own_node import OwnNode
from ant_rl_tools.unavailable import Unavailable

# Apart from any stack that runs on this machine already.
NAMESPACE = f"/bench_{os.getpid()}"
_PATIENCE = 20.0  # [s] for a node to start and be found


class BenchNode(OwnNode):
    """A node in the namespace of the benchmark."""

    def __init__(self) -> None:
        super().__init__("bench", NAMESPACE)

    def play_environment(self) -> PlayedEnvironment:
        """Stand in for the environment."""
        return PlayedEnvironment(self)

    def watch_environment(self, process: NodeProcess) -> WatchedEnvironment:
        """Drive and measure a real one."""
        return WatchedEnvironment(self, process)


class PlayedEnvironment:
    """Sends observations of one robot as the environment node does and takes the answers; without physics."""

    def __init__(self, own: OwnNode) -> None:
        self._loop, self._asker = own.loop, Asker(own.node, own.loop)
        self._wire, self._message = FlatCodec(Observation), Observation()
        self._session = new_run_number()
        self._ids = itertools.count()
        random = np.random.default_rng(0)
        no = np.zeros(1, bool)
        self._action = np.zeros((1, ANT.action_size), np.float32)
        self._steps = [TimeStep(row, np.ones(1, np.float32), no, no, row, np.zeros(1, np.int64), np.ones(1, np.uint32))
                       for row in random.normal(size=(64, 1, ANT.observation_size)).astype(np.float32)]

    def find(self, policy: NodeProcess) -> None:
        """Wait until the policy node answers; Unavailable if it ends or stays silent."""
        end = time.monotonic() + _PATIENCE
        while self._ask(next(self._ids), patience=RESEND_PERIOD) is None:
            policy.check()
            if time.monotonic() > end:
                raise Unavailable(f"{policy.name} gave no torques for {_PATIENCE:.0f} s")

    def round_trips(self, count: int) -> np.ndarray:
        """Durations [s] from a time step to the action that answers it, encoding and decoding included."""
        durations = np.empty(count)
        for i in range(count):
            start = time.perf_counter()
            if self._ask(next(self._ids), _PATIENCE) is None:
                raise Unavailable(f"the policy node fell silent for {_PATIENCE:.0f} s")
            durations[i] = time.perf_counter() - start
        return durations

    def keep_pace(self, seconds: float) -> float:
        """Ask at the control rate for so long; returns the seconds it took."""
        start = time.monotonic()
        for tick in range(1, round(seconds / ANT.control_period) + 1):
            self._ask(next(self._ids), _PATIENCE)
            while (left := start + tick * ANT.control_period - time.monotonic()) > 0.0:
                self._loop.wait(left)
        return time.monotonic() - start

    def _ask(self, step_id: int, patience: float) -> np.ndarray | None:
        tick = Tick(self._session, step_id, self._steps[step_id % len(self._steps)], self._action)
        message = self._wire.write(encode_observation(tick, system_stamp(), self._message))
        torques = self._asker.ask(message, self._session, step_id, patience)
        return None if torques is None else decode_torques(torques, 1, ANT).action


class WatchedEnvironment:
    """Pauses a real environment node, lets it go on, and reads its rate from its `timing` once per second.

    `timing` costs the node nothing more than it spends anyway; listening to its observations would.
    """

    def __init__(self, own: OwnNode, process: NodeProcess) -> None:
        self._own, self._process = own, process
        self._inbox = own.loop.subscribe(NodeTiming, "timing", qos.profile("timing"))
        self._pause: Any = own.node.create_client(SetBool, "env/pause")
        own.loop.refresh()

    def pause(self, wanted: bool, others: Iterable[NodeProcess] = ()) -> None:
        """Pause the environment or let it go on; Unavailable if it or one of the others has ended or is silent."""
        processes = [self._process, *others]
        self._wait_until(self._pause.service_is_ready, processes, "offers no pause")
        answer = self._pause.call_async(SetBool.Request(data=wanted))
        self._wait_until(answer.done, processes, "doesn't answer to pause")

    def rate(self, seconds: float, others: Iterable[NodeProcess] = ()) -> float:
        """Ticks per second of the running environment, over at least so long."""
        processes = [self._process, *others]
        self._inbox.clear()
        first_time, first_ticks = self._next_mark(processes)
        while True:
            now, ticks = self._next_mark(processes)
            if now - first_time >= seconds:
                if ticks == first_ticks:
                    raise Unavailable(f"{self._process.name} made no tick in {now - first_time:.1f} s")
                return (ticks - first_ticks) / (now - first_time)

    def _next_mark(self, processes: list[NodeProcess]) -> tuple[float, float]:
        """Time since its start [s] and number of ticks at the next report of the environment."""
        mark: list[tuple[float, float]] = []

        def is_there() -> bool:
            while self._inbox and not mark:
                timing = decode_timing(self._inbox.popleft())
                if timing.node == self._process.name and {"ticks", "uptime"} <= set(timing.values):
                    mark.append((timing.values["uptime"], timing.values["ticks"]))
            return bool(mark)

        self._wait_until(is_there, processes, "doesn't report its timing")
        return mark[0]

    def _wait_until(self, condition: Callable[[], bool], processes: list[NodeProcess], complaint: str) -> None:
        def holds() -> bool:
            if condition():
                return True
            self._inbox.clear()  # what the condition has left: a wait would return at once because of it
            return False

        self._own.wait_until(holds, processes, f"{self._process.name} {complaint}", _PATIENCE)
