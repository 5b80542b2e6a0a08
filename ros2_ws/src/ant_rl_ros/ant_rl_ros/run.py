"""The main function of every node, and what a node that waits says of its peers."""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence

import rclpy
from rclpy.exceptions import NameValidationException
from rclpy.impl.implementation_singleton import rclpy_implementation as _rclpy
from rclpy.logging import get_logger
from rclpy.signals import SignalHandlerOptions
from rclpy.utilities import remove_ros_args

from ant_rl_core import ending
from ant_rl_core.identity.names import NameTakenError
from ant_rl_core.settings import ArgumentError
from ant_rl_core.surroundings import ros
from ant_rl_core.surroundings.libraries import use_own_settings
from ant_rl_ros import params_file
from ant_rl_ros.lifecycle import EXIT_CONFIGURATION, EXIT_CONTESTED
from ant_rl_ros.node import StackNode
from ant_rl_ros.parameters import ParameterError

_LONG = 10.0  # [s] for nodes that were started together to find each other


def run(make_node: Callable[[], StackNode], args: Sequence[str] | None = None) -> int:
    """Main function of a node: build it, run it until it ends or a signal asks for that; returns the exit code.

    0 after a clean end, a signal's included (SIGALRM ends the process where all is done but the middleware, which may
    lock itself up, does not let go); 2, with one sentence, where parameters or what they name can't be
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
    words = sys.argv[1:] if args is None else list(args)
    use_own_settings()
    try:
        try:
            os.environ.update(ros.node_variables(os.environ))
            _refuse_other_words(words)
            rclpy.init(args=words, signal_handler_options=SignalHandlerOptions.NO)
        except ArgumentError as error:
            print(error, file=sys.stderr)
            return EXIT_CONFIGURATION
        except RuntimeError as error:  # the base of what rclpy raises for arguments that it can't read
            return _refused(error)
        try:
            try:
                node = make_node()
            except _rclpy.RCLError as error:
                return _refused(error)
            params_file.check_node(words, node.get_fully_qualified_name(), type(node.settings))
            node.serve()
            node.end()
            code = node.exit_code or (EXIT_CONTESTED if node.contests else 0)
            _bound_the_end(code, node.letting_go)
            node.leave()
            return code
        except (ParameterError, ArgumentError, NameTakenError, NameValidationException) as error:
            get_logger("ant_rl").fatal(" ".join(str(error).split()))
            return EXIT_CONFIGURATION
        finally:
            context = rclpy.get_default_context()
            rclpy.try_shutdown()
            context.destroy()  # and with it, as nobody holds it any more, the participant of the middleware
            signal.alarm(0)
            faulthandler.cancel_dump_traceback_later()
    except KeyboardInterrupt:
        return ending.INTERRUPTED if asked else 0


def _bound_the_end(code: int, seconds: int) -> None:
    """Let this process end within so long whatever the middleware does: by SIGALRM where `code` is 0, else with 1.

    A call into the middleware that never returns keeps Python's own signal handlers and threads from running.
    """
    if code == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(seconds)
    else:
        faulthandler.dump_traceback_later(seconds, exit=True)


def _refused(error: RuntimeError) -> int:
    """Say what ROS said; the exit code."""
    print(f"ROS refused the arguments: {' '.join(str(error).split())}", file=sys.stderr)
    return EXIT_CONFIGURATION


def _refuse_other_words(words: Sequence[str]) -> None:
    """ArgumentError where some are not for ROS: nobody else would read them."""
    others = remove_ros_args(list(words))
    if others:
        name, _, value = others[0].partition(":=")
        hint = f": parameters are given as --ros-args -p {name}:={value}" if value else ""
        raise ArgumentError(f"a node takes arguments of ROS only, found {others[0]}{hint}")


def peer_hint(node: StackNode, topic: str, msg_type: str) -> str:
    """What may keep a node from the one that it waits for: the end of a sentence, or nothing.

    That is somebody elsewhere in the graph who publishes or subscribes this topic, or, where the node has waited long
    since its start, variables that part it from others.

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
    return parted(node)


def parted(node: StackNode) -> str:
    """Variables that may part a node from others, where it has waited long since its start: the end of a sentence."""
    return ros.apart(os.environ) if not node.ticks and time.monotonic() - node.begun > _LONG else ""
