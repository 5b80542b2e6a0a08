"""The main function of every node, and what a node that waits says of its peers."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Sequence

import rclpy
from rclpy.logging import get_logger
from rclpy.signals import SignalHandlerOptions

from ant_rl_core import ending
from ant_rl_core.identity.names import NameTakenError
from ant_rl_ros.lifecycle import EXIT_CONFIGURATION, EXIT_CONTESTED
from ant_rl_ros.node import StackNode
from ant_rl_ros.parameters import ParameterError


def run(make_node: Callable[[], StackNode], args: Sequence[str] | None = None) -> int:
    """Main function of a node: build it, run it until it ends or a signal asks for that; returns the exit code.

    0 after a clean end, a signal's included; 2, with one sentence, where parameters or what they name can't be
    used, or where another process has its name; 3 where another one took part in what it did (`StackNode.contest`);
    130 where a second signal, a second or more after the first, had to interrupt. Anything else is raised.
    """
    node: StackNode | None = None
    asked = 0.0

    def stop(signum: int, frame: object) -> None:
        nonlocal asked
        now = time.monotonic()
        # A terminal and a launch system may both pass on one Ctrl-C.
        if node is None or (asked and ending.insists(signum, now - asked)):
            raise KeyboardInterrupt
        asked = asked or now
        node.interrupted_by_signal = True
        node.finish(0)

    ending.speak()
    # A launch system in the background may have been started to ignore the first two, and yet stops its nodes by them.
    for signum in ending.heard(always=(signal.SIGINT, signal.SIGTERM)):
        signal.signal(signum, stop)
    try:
        try:
            rclpy.init(args=None if args is None else list(args), signal_handler_options=SignalHandlerOptions.NO)
        except RuntimeError as error:  # the base of what rclpy raises for arguments that it can't read
            print(f"ROS refused the arguments: {' '.join(str(error).split())}", file=sys.stderr)
            return EXIT_CONFIGURATION
        try:
            node = make_node()
            node.serve()
            node.end()
            return node.exit_code or (EXIT_CONTESTED if node.contests else 0)
        except (ParameterError, NameTakenError) as error:
            get_logger("ant_rl").fatal(str(error))
            return EXIT_CONFIGURATION
        finally:
            rclpy.try_shutdown()
    except KeyboardInterrupt:
        return ending.INTERRUPTED if asked else 0


def peer_hint(node: StackNode, topic: str, msg_type: str) -> str:
    """Where else in the graph somebody publishes or subscribes this topic: the end of a sentence, or nothing.

    Args:
        node: the node that waits.
        topic: relative name, e.g. joint_torques.
        msg_type: e.g. ant_rl_interfaces/msg/JointTorques.

    Returns:
        E.g. "; one publishes on /b/joint_torques: give both the same namespace:=", or "".
    """
    own = node.resolve_topic_name(topic)
    for name, types in node.get_topic_names_and_types():
        if name == own or name.rsplit("/", 1)[-1] != topic or msg_type not in types:
            continue
        for verb, found in (("publishes", node.count_publishers(name)), ("listens", node.count_subscribers(name))):
            if found:
                return f"; one {verb} on {name}: give both the same namespace:="
    return ""
