"""The base of every node of the stack: managed (`lifecycle.py`), with parameters, telling how it is once per second.

A node of the stack is a `StackNode` with a class of settings, which become its parameters, and a few hooks
(`configure`, `activate`, `work`, ...); `run.run` is its main function. Nodes own resources and no logic.
"""

from __future__ import annotations

import gc
import os
import socket
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from ant_rl_interfaces.msg import NodeTiming
from builtin_interfaces.msg import Time
from rcl_interfaces.msg import SetParametersResult
from rclpy.duration import Duration
from rclpy.parameter import Parameter as ParameterMessage
from rclpy.publisher import Publisher

from ant_rl_core.identity.names import NODE, NameClaim, taken
from ant_rl_core.settings import Settings, settings_of
from ant_rl_core.telemetry import NAN, Timing
from ant_rl_core.tick import new_run_number
from ant_rl_core.timing import StageTimer
from ant_rl_ros import parameters, qos
from ant_rl_ros.lifecycle import EXIT_CONFIGURATION, ManagedNode
from ant_rl_ros.parameters import ParameterError
from ant_rl_ros.stamps import system_stamp
from ant_rl_ros.telemetry import encode_timing
from ant_rl_ros.twins import Standing, Twins

T = TypeVar("T")

_REPORT_PERIOD = 1.0
# At most so long, at the end, for reliable messages to be acknowledged [s]. They mostly have arrived long since, but
# Fast DDS asks for acknowledgements every 3 s only; one who pressed Ctrl-C should not wait for that.
_LAST_WORDS = 2.0
_LAST_WORDS_INTERRUPTED = 0.5


class StackNode(ManagedNode):
    """A managed node whose own loop, `run`, does its work and serves its callbacks in one thread.

    Override `configure`, `activate`, `deactivate`, `cleanup` (ValueError or OSError with one sentence refuses),
    `work` and, where wanted, `values`, `parameters_changed` and `finished`.

    Args:
        name: default name of the node.
        settings: class of its settings; each of them becomes a parameter.

    Attributes:
        settings: the parameters' values, an instance of that class; a new one after each change.
        stages: durations of the loop's stages; published and cleared once per second.
        counters: events since start, by name.
        ticks: control ticks since start; the published loop rate is made from it.
        begun: when it was made, by time.monotonic() [s].
        interrupted_by_signal: whether it ends because a signal asked for it.
        run_number: random number of this process, by which others tell it from another one of its name.
        contests: sentences about others that took part in what is this node's own, by key; see `contest`.
        loop, state, detail, configured, active, exit_code: see `ManagedNode`; state and detail go out with the timing.

    Raises:
        ParameterError: a parameter was given a value that it can't have.
        NameTakenError: a node of its name runs on this machine already.
    """

    # Whether each machine may have one, such as a monitor; of others there is one in the whole graph.
    per_host = False
    letting_go = 4  # [s] for `leave`, after which the process is ended

    def __init__(self, name: str, settings: type[Settings] = Settings, **kwargs: Any) -> None:
        super().__init__(name, **kwargs)
        self._domain = str(self.context.get_domain_id())
        self._claim = NameClaim(NODE, self._domain, self.get_fully_qualified_name())
        self._setting_names = {each.name for each in settings_of(settings)}
        self.settings: Any = parameters.declare(self, settings)
        self.add_on_set_parameters_callback(self._check_parameters)
        self.add_post_set_parameters_callback(self._parameters_set)

        self.begun = time.monotonic()
        self.interrupted_by_signal = False
        self.stages = StageTimer()
        self.counters: Counter[str] = Counter()
        self.ticks = 0
        self.run_number, self.contests = new_run_number(), dict[str, str]()
        self._host, self._pid = socket.gethostname(), os.getpid()
        self._system_time = not self.get_parameter("use_sim_time").value
        self._said: dict[str, float] = {}
        self._reported, self._ticks_reported = time.monotonic(), 0
        self._timing = self.create_publisher(NodeTiming, "timing", qos.profile("timing"),
                                             qos_overriding_options=qos.overriding())
        self._last_words: list[Publisher[Any]] = [self._timing]
        self._twins = Twins(self, self.run_number)

    # Hooks, beside those of `ManagedNode`

    def work(self) -> None:
        """Do one piece of the work, called over and over while active; return within about 0.1 s."""
        self.loop.wait(0.1)

    def values(self) -> Mapping[str, float]:
        """Further numbers that `timing` reports, by name."""
        return {}

    def parameters_changed(self) -> None:
        """Take over new values from `settings`."""

    def finished(self) -> None:
        """The loop of a configured node has ended, ROS is still up: say the last words."""

    # For use by the node

    def publisher(self, msg_type: type, topic: str, mode: str = "lockstep", last_words: bool = False) -> Publisher[Any]:
        """A publisher with the QoS of the stack's table, which parameters may override.

        With `last_words`, the end of the process waits (bounded) until its messages are acknowledged.
        """
        made: Publisher[Any] = self.create_publisher(msg_type, topic, qos.profile(topic, mode),
                                     qos_overriding_options=qos.overriding())
        if last_words:
            self._last_words.append(made)
        return made

    def discard_publisher(self, publisher: Publisher[Any]) -> None:
        """Destroy a publisher made by `publisher`."""
        if publisher in self._last_words:
            self._last_words.remove(publisher)
        self.destroy_publisher(publisher)

    def send(self, publisher: Publisher[Any], message: Any) -> bool:
        """Publish; False, counted as `unsent`, where the middleware could not take the message.

        On a machine that is too busy a reliable writer may give up after 0.1 s; whoever misses the message asks again.
        """
        try:
            publisher.publish(message)
        except RuntimeError as error:  # RCLError
            if not self.context.ok():
                raise
            self.counters["unsent"] += 1
            self.say("unsent", f"could not publish on {publisher.topic_name}: {' '.join(str(error).split())}")
            return False
        return True

    def stamp(self) -> Time:
        """The node's time now, for a header; ten times cheaper than asking the clock where that is the system's."""
        if self._system_time:
            return system_stamp()
        return self.get_clock().now().to_msg()

    def say(self, key: str, sentence: str | Callable[[], str], every_s: float = 5.0) -> str:
        """Log a warning, at most once per `every_s` seconds for the same key.

        A sentence that costs something to make may be given as a function. Returns what was said, "" for nothing.
        """
        now = time.monotonic()
        if now - self._said.get(key, -every_s) < every_s:
            return ""
        self._said[key] = now
        text = sentence if isinstance(sentence, str) else sentence()
        self.get_logger().warning(text)
        return text

    def unsay(self, key: str) -> bool:
        """Forget that `key` was said, so that the next time is said at once; whether it had been said."""
        return self._said.pop(key, None) is not None

    def report(self, force: bool = False) -> None:
        """Publish `timing` if it is due; `run` calls it after each piece of work. Call it within long work too."""
        now = time.monotonic()
        window = now - self._reported
        if window < _REPORT_PERIOD and not force:
            return
        ticks = self.ticks - self._ticks_reported
        self._reported, self._ticks_reported = now, self.ticks
        summary = self.stages.summary()
        self.stages.clear()
        values = {**self.values(), **self._twins.values()}
        timing = Timing(self.get_fully_qualified_name(), self._host, self._pid, self.state, self.detail,
                        ticks / window if ticks else NAN,
                        {name: (stage.p50, stage.p99, stage.max) for name, stage in summary.items()},
                        self.counters, values)
        self.send(self._timing, encode_timing(timing, self.stamp()))
        self._mind_twins()

    def contest(self, key: str, sentence: str) -> None:
        """Say once that another one took part in what is this node's own; the exit code will tell of it too."""
        if key not in self.contests:
            self.contests[key] = sentence
            self.counters["contested"] += 1
            self.get_logger().error(sentence)

    def _mind_twins(self) -> None:
        """End, or say so, where a node of this name runs on another machine."""
        found, other = self._twins.look()
        if self.per_host or other is None or self.exit_code is not None:
            return
        sentence = taken(self._domain, other.node, other.pid, other.host)
        if found is Standing.REFUSED:
            self.get_logger().fatal(sentence)
            self.finish(EXIT_CONFIGURATION)
        else:
            self.contest("twin", f"two runs have met that can't share their names: {sentence}")

    def take(self, inbox: deque[Any], decode: Callable[[Any], T], what: str) -> Iterator[T]:
        """Empty an inbox, decoded; what `decode` refuses by ValueError is left out, counted as `invalid_<what>`."""
        while inbox:
            message = inbox.popleft()
            try:
                decoded = decode(message)
            except ValueError as error:
                self.counters[f"invalid_{what}"] += 1
                self.say(f"invalid_{what}", f"one of the {what} can't be used: {error}")
            else:
                yield decoded

    # Parameters

    def _check_parameters(self, changes: list[ParameterMessage[Any]]) -> SetParametersResult:
        try:
            self._with(changes)
        except ParameterError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    def _parameters_set(self, changes: list[ParameterMessage[Any]]) -> None:
        for change in changes:
            if change.name == "use_sim_time":
                self._system_time = not change.value
        before, self.settings = self.settings, self._with(changes)
        if self.settings is not before:
            self.parameters_changed()

    def _with(self, changes: list[ParameterMessage[Any]]) -> Settings:
        """The settings with these changes; themselves where none of them is meant."""
        own = {change.name: change.value for change in changes if change.name in self._setting_names}
        return parameters.changed(self.settings, own) if own else self.settings

    # The loop

    def meet(self) -> None:
        """Find out whether a node of this name is there already."""
        if not self.per_host:
            self._twins.await_first(self._while_meeting)

    def _while_meeting(self) -> None:
        self._mind_twins()
        self.report()

    def serve(self) -> None:
        """The loop of the node, until `finish` is called or ROS shuts down."""
        self.start_if_asked()
        # What lives until the end needs no looking at by the garbage collector, whose pauses would show in the loop.
        gc.collect()
        gc.freeze()
        while self.loop.running:
            if self.active:
                self.work()
            else:
                self.loop.wait(0.1)
                if not self.active:
                    self.loop.discard()
            self.report()

    def end(self) -> None:
        """Last words, and time for them to arrive; whatever is to be kept is written after it."""
        if self.context.ok():
            if self.configured:
                self.finished()
            self.report(force=True)
            end = time.monotonic() + (_LAST_WORDS_INTERRUPTED if self.interrupted_by_signal else _LAST_WORDS)
            for publisher in self._last_words:
                publisher.wait_for_all_acked(Duration(seconds=max(0.0, end - time.monotonic())))

    def leave(self) -> None:
        """Leave the graph, which the middleware may never come to the end of."""
        if self.active:
            self.deactivate()
        if self.configured:
            self.cleanup()
        self.loop.close()
        self.destroy_node()
        self._claim.close()
