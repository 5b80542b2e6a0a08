"""A policy with a memory over real DDS: it lasts for a trial, is recorded, and replayed to the last bit."""

import json
from contextlib import ExitStack

import numpy as np
import pytest
from ant_rl_interfaces.msg import Observation, Session
from programs import command
from rclpy.node import Node
from system import System
from test_recording import recorder, value

from ant_rl_core import bundle
from ant_rl_core.spec import ANT
from ant_rl_core.step import Previous
from ant_rl_core.testing import FakeVectorEnv
from ant_rl_core.tick import Tick
from ant_rl_ros import qos
from ant_rl_ros.messages import decode_torques, encode_observation
from ant_rl_ros.wait_loop import WaitLoop
from ant_rl_ros.wire import FlatCodec
from ant_rl_tools.asker import Asker
from ant_rl_tools.recorded import Recording
from policy_node.actor import load_actor
from trainer.testing import GRUActor

TICKS = 120
ROWS = 2


@pytest.fixture(scope="module")
def packed():
    return GRUActor(seed=3).bundle(memory="trial", memory_id="kin")


class Scripted(FakeVectorEnv):
    """Trials of three episodes, with observations in the range of real ones; each tells where it comes from."""

    def _observe(self, action):
        return np.sin(super()._observe(action) + np.arange(105, dtype=np.float32))


def replayed(path, *words, folder):
    done = command("replay", str(path), "policy", *words, f"summary:={folder / 'summary.json'}")
    return done.returncode, done.stdout, json.loads((folder / "summary.json").read_text())


@pytest.mark.parametrize("missed", [(), (4, 12, 13, 30, 77)], ids=["every tick", "ticks missed"])
def test_memory_of_a_trial_over_dds_in_a_bag_and_replayed(tmp_path, packed, missed):
    """What it answers is what one actor here does that is given each answered tick once."""
    path, policy = tmp_path / "bag", tmp_path / "policy.zip"
    policy.write_bytes(packed)
    actor, wire = load_actor(bundle.unpack(packed)), FlatCodec(Observation)
    robots = Scripted(ROWS, lengths=(5, 8), episodes_per_trial=3)
    with System(tmp_path) as system, ExitStack() as exits:
        # In a loop of its own: the system's returns at once while what nodes tell once per second waits in it.
        own = Node("asker", context=system.context)
        loop = WaitLoop(own)
        exits.callback(own.destroy_node)
        exits.callback(loop.close)
        asker = Asker(own, loop)
        # The recorder waits for a first message of the stack, which a session is.
        sessions = system.node.create_publisher(Session, "session", qos.profile("session"))
        system.policy(policy=str(policy))
        system.loop.refresh()
        sessions.publish(Session(session=5))
        node = recorder(system, path)
        system.until(lambda: system.node.count_subscribers("observation") >= 2, "policy and recorder")
        tick, state, last = Tick(5, 0, robots.reset()), actor.initial_state(ROWS), None
        for _ in range(TICKS):
            action = np.zeros((ROWS, ANT.action_size), np.float32)
            if tick.step_id not in missed:
                message = wire.write(encode_observation(tick, system.node.get_clock().now().to_msg()))
                answers = [decode_torques(asker.ask(message, 5, tick.step_id, 30.0), ROWS, ANT)
                           for _ in range(1 + (tick.step_id % 7 == 3))]  # some are asked twice
                step, previous = tick.time_step, tick.previous(ANT.action_size)
                new = np.ones(ROWS, bool) if last is None else step.trial_id != last.trial_id
                done = previous.done if last is None else step.episode_id != last.episode_id
                action, _, state = actor.act(step.observation, Previous(previous.action, previous.reward, done), state,
                                             new)
                for answer in answers:
                    assert np.array_equal(answer.action, action), tick.step_id
                last = step
            tick = Tick(5, tick.step_id + 1, robots.step(action), action, policy_version=1)
        system.until(lambda: value(system, "messages") >= 2 * (TICKS - len(missed)), "all of it in the bag")
        assert node.stop() == 0
    code, said, found = replayed(path, f"policy:={policy}", folder=tmp_path)
    assert code == 0 and found["bit_equal"] and found["ticks"] == TICKS - len(missed), said
    with Recording(path) as recording:
        ticks = list(recording.ticks())
    # Row 0 has trials of 15 ticks, row 1 of 24; a tick that was missed hides a beginning, not the trial.
    begins = [tick.step_id for tick in ticks if tick.reset_mask[0]]
    assert begins == [tick for tick in range(0, TICKS, 15) if tick not in missed]
    # A policy that forgets at each episode's end answers otherwise, so it was memory that was compared.
    (tmp_path / "other.zip").write_bytes(GRUActor(seed=3).bundle(memory="episode"))
    code, said, found = replayed(path, f"policy:={tmp_path / 'other.zip'}", folder=tmp_path)
    assert code == 1 and found["first_difference"]["step_id"] == 5 and found["first_difference"]["robot"] == 0, said


def test_a_run_of_the_ant_is_recorded_and_replayed(tmp_path, packed):
    path, policy = tmp_path / "bag", tmp_path / "policy.zip"
    policy.write_bytes(packed)
    done = command("sim", f"policy:={policy}", "steps:=1100", "num_envs:=3", "seed:=11", f"record:={path}",
                   "monitor:=false", "status:=false")
    assert done.returncode == 0, done.stdout
    with Recording(path) as recording:
        ends = sum(tick.time_step.done.sum() for tick in recording.ticks())
        torques = [message for _, _, message in recording.messages("joint_torques")]
    assert ends >= 3 and len({message.step_id for message in torques}) >= 1100
    for target in ("policy", "env"):
        words = [f"policy:={policy}"] if target == "policy" else []
        done = command("replay", str(path), target, *words)
        assert done.returncode == 0 and "passed: bit-equal" in done.stdout, done.stdout
