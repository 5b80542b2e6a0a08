"""A small node for tests: echoes strings, and does as its parameters say."""

import ctypes
from dataclasses import dataclass

from std_msgs.msg import String
from std_srvs.srv import Trigger

from ant_rl_core.modes import MODES
from ant_rl_core.settings import Settings, setting
from ant_rl_ros import qos
from ant_rl_ros.node import StackNode
from ant_rl_ros.run import run


@dataclass(frozen=True)
class EchoSettings(Settings):
    """Parameters of the node."""

    mode: str = setting("lockstep", "Quality of service", choices=MODES)
    gain: float = setting(1.0, "some number that may change", minimum=0, read_only=False)
    refuse: str = setting("", "sentence with which it refuses to configure")
    hang: bool = setting(False, "never come back from leaving the graph")
    crash: bool = setting(False, "raise an unforeseen error at the first message")


class EchoNode(StackNode):
    letting_go = 1

    def __init__(self):
        super().__init__("echo", EchoSettings)
        self.changes = 0

    def configure(self):
        if self.settings.refuse:
            raise ValueError(self.settings.refuse)
        mode = self.settings.mode
        self.inbox = self.loop.subscribe(String, "question", qos.profile("observation", mode))
        self.answers = self.create_publisher(String, "answer", qos.profile("joint_torques", mode))
        self.plain = self.create_subscription(String, "aside", self.take_aside, qos.profile("episode"))
        self.service = self.create_service(Trigger, "~/ask", self.serve_ask)

    def cleanup(self):
        if self.settings.hang:
            ctypes.PyDLL(None).sleep(600)  # as a call that never returns, and holds Python's lock

    def take_aside(self, message):
        self.counters["aside"] += 1

    def serve_ask(self, request, response):
        response.success, response.message = True, f"gain {self.settings.gain}"
        return response

    def parameters_changed(self):
        self.counters["changes"] += 1

    def values(self):
        return {"gain": self.settings.gain}

    def work(self):
        self.loop.wait(0.1)
        while self.inbox:
            message = self.inbox.popleft()
            if self.settings.crash:
                raise RuntimeError("unforeseen")
            with self.stages.stage("echo"):
                self.answers.publish(message)
            self.ticks += 1

    def finished(self):
        self.answers.publish(String(data="last words"))


def main(args=None):
    return run(EchoNode, args)
