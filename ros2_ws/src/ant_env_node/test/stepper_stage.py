"""A stepper on a clock that the test moves, for several test files; without ROS."""

from collections import Counter

import numpy as np
import pytest

from ant_env_node.settings import EnvSettings
from ant_env_node.stepper import LockStep
from ant_rl_core.tick import Torques
from ant_rl_core.timing import StageTimer


def torque_of(step_id, num_envs=1, scale=0.3):
    """A torque that depends on the tick and the row only."""
    return (scale * np.sin(0.37 * step_id + np.arange(num_envs)[:, None] + np.arange(8))).astype(np.float32)


class Stage:
    """A stepper, its clock, what it tells those outside, and a policy that answers when the test says so."""

    def __init__(self, kind=LockStep, **settings):
        self.now, self.told = 100.0, []
        self.counters, self.stages = Counter(), StageTimer()
        self.settings = EnvSettings(**{"num_threads": 1, "seed": 5, **settings})
        self.stepper = kind(self.settings, self, self.counters, self.stages, lambda: self.now)
        assert self.take_told() == [("resumed",)]

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.stepper.close()

    # What it is told

    def resend(self):
        assert not self.stepper.fresh, "what was never sent can't be sent again"
        self.told.append(("resend", self.stepper.tick.step_id))

    def waiting(self, what, seconds):
        self.told.append(("waiting", what, pytest.approx(seconds)))

    def answered(self, seconds):
        self.told.append(("answered", pytest.approx(seconds)))

    def resumed(self):
        self.told.append(("resumed",))

    def rival(self, used, other):
        self.told.append(("rival", used, other))

    def contested(self, other):
        self.told.append(("contested", other))

    def take_told(self):
        told, self.told = self.told, []
        return told

    # What it is given

    @property
    def tick(self):
        return self.stepper.tick

    def send(self):
        """Publish the new observation, as the node does; the episodes that ended with it."""
        assert self.stepper.fresh
        self.stepper.sending()
        return self.stepper.settle()

    def answer(self, **changes):
        """Bring an answer to the newest tick, or another one; whether it made a tick."""
        tick = self.tick
        fields = {"session": tick.session, "step_id": tick.step_id, "action": torque_of(tick.step_id, tick.num_envs),
                  "extras": {}, "policy_version": 3, "policy_node": 11, "inference_time": 0.0, **changes}
        torques = Torques(**fields)
        return self.stepper.admits(torques.session, torques.policy_node) and self.stepper.take(torques)

    def after(self, seconds):
        """Let time pass, and let it look; whether that made a tick."""
        self.now += seconds
        return self.stepper.pass_time()

    def play(self, ticks):
        """Send and answer so many ticks, in real time each 10 ms after it was sent; all of them, in order."""
        seen = []
        for _ in range(ticks):
            self.send()
            seen.append(self.tick)
            self.now += 0.01
            if not self.answer():
                assert not self.stepper.fresh, "in real time torques act at the deadline"
                assert self.after(self.stepper.patience())
        return seen
