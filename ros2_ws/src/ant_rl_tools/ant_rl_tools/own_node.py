"""A node in this process, for as long as a command needs it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from typing import Any

import rclpy

from ant_rl_core.surroundings import ros
from ant_rl_ros.wait_loop import WaitLoop
from ant_rl_tools.node_process import NodeProcess, ros_variables
from ant_rl_tools.unavailable import Unavailable


class OwnNode:
    """A node and its loop; a context manager that begins and ends ROS in this process.

    Args:
        name, namespace: of the node.
    """

    def __init__(self, name: str, namespace: str) -> None:
        before = dict(os.environ)
        try:  # what ROS reads when it begins; processes that are started later begin anew
            os.environ.update(ros_variables())
            os.environ.update(ros.node_variables(os.environ))
            rclpy.init(args=[])
            self.node = rclpy.create_node(name, namespace=namespace)
        finally:
            os.environ.clear()
            os.environ.update(before)
        self.loop = WaitLoop(self.node)

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        self.loop.close()
        self.node.destroy_node()
        rclpy.try_shutdown()

    def wait_until(self, condition: Callable[[], Any], processes: Iterable[NodeProcess], complaint: str,
                   patience: float) -> None:
        """Unavailable where one of the processes ends, or the condition does not hold after so long [s]."""
        end = time.monotonic() + patience
        while not condition():
            for process in processes:
                process.check()
            if time.monotonic() > end:
                raise Unavailable(f"{complaint} within {patience:.0f} s")
            self.loop.wait(0.05)
