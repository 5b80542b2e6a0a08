"""The same env, actor and seed give bit-identical transitions in one process and over DDS."""

from itertools import pairwise

import numpy as np
import pytest
from ant_rl_interfaces.msg import Observation
from system import System

from ant_env_node.vec_env import VectorAnt
from ant_rl_core import bundle
from ant_rl_core.shipped import resolve_policy
from ant_rl_core.spec import ANT
from ant_rl_core.step import TimeStepEnv
from ant_rl_ros.messages import decode_observation
from policy_node.actor import load_actor
from trainer import loop

TICKS = 200
ARRAYS = ("observation", "action", "reward", "terminated", "truncated", "next_observation")


class Recorder:
    """A learner that keeps what it is shown."""

    on_policy = True

    def __init__(self):
        self.transitions = []

    def observe(self, batch):
        self.transitions.append(batch)

    def ready(self):
        return False


def in_one_process(policy, num_envs, explore):
    actor = load_actor(bundle.read(resolve_policy(policy)), explore=explore, seed=np.random.default_rng(5))
    env = TimeStepEnv(VectorAnt(num_envs, 11))
    recorder = Recorder()
    loop.run(env, actor, recorder, env.reset(), lambda _: len(recorder.transitions) == TICKS, lambda _: False)
    env.close()
    return recorder.transitions


def over_dds(folder, policy, num_envs, explore):
    with System(folder) as system:
        ticks = Ticks(system)
        # The first tick is sent again until it is answered, so a listener that has it misses none.
        system.env(num_envs=num_envs, seed=11, steps=TICKS)
        ticks.until(0)
        system.policy(policy=policy, explore=explore, seed=5)
        ticks.until(TICKS)
        return [after.transition_from(before) for before, after in pairwise(ticks.seen)]


class Ticks:
    """The ticks of an environment, each once."""

    def __init__(self, system):
        self.system, self.seen, self.inbox = system, [], system.listen(Observation, "observation")

    def until(self, step_id):
        """All of them up to this one."""
        self.system.until(lambda: self.collect() > step_id, f"tick {step_id}")
        assert [tick.step_id for tick in self.seen] == list(range(step_id + 1))

    def collect(self):
        while self.inbox:
            tick = decode_observation(self.inbox.popleft(), ANT)
            if not self.seen or tick.step_id != self.seen[-1].step_id:
                self.seen.append(tick)
        return len(self.seen)


@pytest.mark.parametrize("policy, num_envs, explore, extras", [
    ("default", 1, False, set()), ("default", 2, True, set()),  # explores by noise on its actions
    ("ppo", 3, True, {"log_prob"})])
def test_transitions_are_bit_identical(tmp_path, policy, num_envs, explore, extras):
    expected = in_one_process(policy, num_envs, explore)
    found = over_dds(tmp_path, policy, num_envs, explore)
    for tick, (one, other) in enumerate(zip(expected, found, strict=True)):
        for name in ARRAYS:
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name), f"{name} of tick {tick}")
        assert set(one.extras) == set(other.extras) == extras
        for name in one.extras:
            np.testing.assert_array_equal(one.extras[name], other.extras[name], f"{name} of tick {tick}")
        assert one.policy_version == other.policy_version
