"""Nodes that die in the middle of an episode: the others wait, say for whom, and go on when it is back."""

import numpy as np
from ant_rl_interfaces.msg import Observation
from system import System

from ant_rl_core.spec import ANT
from ant_rl_ros.messages import decode_observation


class Ticks:
    """Decoded ticks of a topic, repeats left out."""

    def __init__(self, inbox):
        self.inbox = inbox
        self.all = []

    def take(self):
        while self.inbox:
            tick = decode_observation(self.inbox.popleft(), ANT)
            if not self.all or (tick.session, tick.step_id) != (self.all[-1].session, self.all[-1].step_id):
                self.all.append(tick)
        return self.all

    def __len__(self):
        return len(self.take())


def test_a_policy_that_dies_is_waited_for_and_no_tick_is_lost(tmp_path):
    with System(tmp_path) as system:
        ticks = Ticks(system.listen(Observation, "observation"))
        env = system.env()
        policy = system.policy()
        system.until(lambda: len(ticks) > 50, "ticks")
        policy.kill()
        system.until(lambda: "waiting for a policy node on /joint_torques" in env.said(), "the env to say it waits")
        stopped = len(ticks)
        system.policy()
        system.until(lambda: len(ticks) > stopped + 50, "ticks to go on")
        assert len({tick.session for tick in ticks.all}) == 1
        assert [tick.step_id for tick in ticks.all] == list(range(ticks.all[0].step_id, ticks.all[-1].step_id + 1))
        assert "a policy node answers on /joint_torques" in env.said()


def test_an_env_that_dies_is_waited_for(tmp_path):
    with System(tmp_path) as system:
        ticks = Ticks(system.listen(Observation, "observation"))
        env = system.env()
        policy = system.policy()
        system.until(lambda: len(ticks) > 50, "ticks")
        env.kill()
        waiting = "waiting for"
        system.until(lambda: system.timings.get("policy") and waiting in system.timings["policy"].detail,
                     "the policy to say it waits")
        before = len(ticks)
        system.env()
        system.until(lambda: len(ticks) > before + 50, "ticks of the new env")
        assert len({tick.session for tick in ticks.all}) == 2
        assert policy.process.poll() is None


def test_in_real_time_silence_means_zero_torque_until_fresh_torques_come(tmp_path):
    with System(tmp_path) as system:
        ticks = Ticks(system.listen(Observation, "observation", mode="realtime"))
        system.env(mode="realtime")
        policy = system.policy(mode="realtime")

        def torques():
            return [tick.action for tick in ticks.take() if tick.action is not None]

        def last(count):
            return np.abs(np.array(torques()[-count:])).max(axis=(1, 2))

        system.until(lambda: len(torques()) > 10 and last(5).all(), "torques")
        policy.kill()
        system.until(lambda: not last(5).any(), "zero torque")
        # At most torque_timeout (2 ticks of 0.05 s) goes by on old torques, and none moves the robot after that.
        moving = [bool(np.any(torque)) for torque in torques()]
        assert moving[-5:] == [False] * 5
        system.until(lambda: system.counter("env", "deadline_misses") >= 5, "the misses to be counted")
        system.policy(mode="realtime")
        system.until(lambda: last(5).all(), "fresh torques")
