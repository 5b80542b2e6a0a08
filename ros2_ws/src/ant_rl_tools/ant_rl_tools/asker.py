"""Puts observations to a policy node as an environment node does, each until it is answered."""

from __future__ import annotations

import time
from typing import Any

from ant_rl_interfaces.msg import JointTorques, Observation
from rclpy.node import Node

from ant_rl_ros import qos
from ant_rl_ros.wait_loop import WaitLoop
from ant_rl_ros.wire import FlatCodec

RESEND_PERIOD = 0.2  # [s] as the environment node's


class Asker:
    """Publishes `observation` and takes `joint_torques`, in lock-step.

    Args:
        node: whose topics these are, in its namespace.
        loop: of that node.
    """

    def __init__(self, node: Node, loop: WaitLoop) -> None:
        self._loop = loop
        self._publisher = node.create_publisher(Observation, "observation", qos.profile("observation"))
        self._inbox = loop.subscribe(JointTorques, "joint_torques", qos.asking("joint_torques"), raw=True)
        self._wire = FlatCodec(JointTorques)

    def ask(self, observation: bytes, session: int, step_id: int, patience: float) -> Any | None:
        """The fields of the JointTorques that answer an observation in its wire form (see `FlatCodec.read`).

        None where no answer comes within `patience` [s].
        """
        end = time.monotonic() + patience
        while time.monotonic() < end:
            self._publisher.publish(observation)
            resend = time.monotonic() + RESEND_PERIOD
            while (left := resend - time.monotonic()) > 0.0:
                if not self._loop.wait(left):
                    break
                while self._inbox:
                    torques = self._wire.read(self._inbox.popleft())
                    if (torques.session, torques.step_id) == (session, step_id):
                        return torques
        return None
