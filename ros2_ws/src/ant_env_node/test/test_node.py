"""The environment node as a process, over real DDS, against a policy that the test plays by hand."""

import os
import signal
import time
from itertools import pairwise

import numpy as np
import pytest
from ant_rl_interfaces.msg import EpisodeSummary, JointTorques, Observation, RobotTasks
from ant_rl_interfaces.srv import Reset, SetTask, Step
from builtin_interfaces.msg import Time
from nav_msgs.msg import Odometry
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Imu, JointState
from std_srvs.srv import SetBool

from ant_env_node.episodes import EpisodeLedger
from ant_env_node.make import make
from ant_env_node.robot_state import StateReader
from ant_env_node.shaping import ShapingConfig
from ant_env_node.tasks.ant import TaskAnt
from ant_env_node.tasks.lookup import find_task
from ant_env_node.vec_env import VectorAnt
from ant_rl_core.spec import ANT, JOINT_NAMES
from ant_rl_core.step import TimeStepEnv
from ant_rl_core.tick import Torques
from ant_rl_ros import qos
from ant_rl_ros.messages import decode_observation, decode_tasks, encode_torques
from ant_rl_ros.testing.peer import Peer, fresh_namespace
from ant_rl_ros.testing.process import NodeProcess

MODULE = "ant_env_node.node"


def torque_of(tick, scale=0.3):
    """A torque that depends on the tick and the row only."""
    rows = np.arange(tick.num_envs)[:, None]
    return (scale * np.sin(0.37 * tick.step_id + rows + np.arange(8))).astype(np.float32)


class Stage:
    """An env node in a process, and a hand-played policy."""

    def __init__(self, mode="lockstep", namespace=None, **parameters):
        self.namespace = namespace or fresh_namespace()
        self.peer = Peer(self.namespace)
        self.profile = qos.profile("observation", mode)
        # Nothing may be lost in between, so the hand-played policy keeps more than the stack's own would.
        self.profile.depth = 1000
        self.messages = self.peer.collect(Observation, "observation", self.profile)
        self.torques = self.peer.publisher(JointTorques, "joint_torques", qos.profile("joint_torques", mode))
        self.timings = self.peer.timings("env")
        self.episodes = self.peer.collect(EpisodeSummary, "episode")
        self.process = NodeProcess(MODULE, self.namespace, {"mode": mode, "num_threads": 1, **parameters})
        self.seen = 0
        self.peer.until(lambda: self.torques.get_subscription_count() or self.process.ended, "the env node to listen")

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.process.__exit__()
        self.peer.__exit__()

    def next(self, step_id=None, session=None, timeout_s=30.0):
        """The next observation that has not been looked at, of this tick or session if given."""
        def find():
            while self.seen < len(self.messages):
                tick = decode_observation(self.messages[self.seen], ANT)
                self.seen += 1
                if (step_id is None or tick.step_id == step_id) and (session is None or tick.session == session):
                    return tick
            return None

        return self.peer.until(find, f"observation {step_id}", timeout_s)

    def answer(self, tick, action=None, **changes):
        fields = dict(session=tick.session, step_id=tick.step_id, action=torque_of(tick) if action is None else action,
                      extras={}, policy_version=3, policy_node=11, inference_time=0.0)
        self.torques.publish(encode_torques(Torques(**{**fields, **changes}), Time()))

    def play(self, ticks, first=None):
        """Answer so many ticks rightly; returns all ticks, the first unanswered one included."""
        seen = [first or self.next()]
        while len(seen) <= ticks:
            self.answer(seen[-1])
            seen.append(self.next(seen[-1].step_id + 1, seen[-1].session))
        return seen

    def answer_until(self, condition):
        """Answer whatever comes until the condition holds."""
        while not condition():
            self.answer(self.next())

    def call(self, kind, name, **fields):
        return self.peer.call(kind, f"env/{name}", kind.Request(**fields))

    def said(self, sentence):
        self.peer.until(lambda: sentence in self.process.said(), f"the sentence {sentence!r}")


def in_process(num_envs, seed, torques):
    """The ticks that the same robots make without ROS."""
    with VectorAnt(num_envs, seed, 1) as ant:
        env = TimeStepEnv(ant)
        steps = [env.reset(seed)]
        for action in torques:
            steps.append(env.step(np.clip(action, -1, 1)))
    return steps


def assert_same_steps(ticks, steps):
    assert len(ticks) == len(steps)
    for tick, step in zip(ticks, steps, strict=True):
        for name in ("observation", "reward", "terminated", "truncated", "final_observation", "step"):
            assert getattr(tick.time_step, name).tobytes() == getattr(step, name).tobytes(), (tick.step_id, name)


@pytest.mark.parametrize("wait", ["wait_set", "executor"])
def test_lockstep_ticks_are_those_of_the_plain_environment_bit_for_bit(wait):
    with Stage(wait=wait, num_envs=2, seed=5) as stage:
        ticks = stage.play(60)
        assert [tick.step_id for tick in ticks] == list(range(61))
        assert ticks[0].action is None and ticks[0].reset_mask.all()
        assert_same_steps(ticks, in_process(2, 5, [torque_of(tick) for tick in ticks[:-1]]))
        assert all(np.array_equal(after.action, torque_of(before)) for before, after in pairwise(ticks))
        assert all(tick.policy_version == 3 for tick in ticks[1:])


def test_what_the_policy_reports_comes_back_with_the_transition():
    with Stage(num_envs=2) as stage:
        first = stage.next()
        extras = {"log_prob": np.array([-1, -2], np.float32), "value": np.array([5, 6], np.float32)}
        stage.answer(first, extras=extras, policy_version=9)
        second = stage.next(1)
        assert {name: values.tolist() for name, values in second.extras.items()} == {
            "log_prob": [-1, -2], "value": [5, 6]}
        assert second.policy_version == 9


@pytest.mark.parametrize("action, sentence", [
    (np.full((1, 8), np.nan), "torque must be finite, found nan in row 0, joint 0"),
    (np.full((1, 8), np.inf), "torque must be finite, found inf in row 0, joint 0"),
    (np.zeros((1, 5)), "torque must have 8 values (1 x 8), found 5"),
    (np.zeros((2, 8)), "torque must have 8 values (1 x 8), found 16"),
])
def test_invalid_torques_are_dropped_with_a_sentence_and_counted(action, sentence):
    with Stage() as stage:
        ticks = stage.play(3)
        stage.answer(ticks[-1], action.astype(np.float32))
        stage.said(sentence)
        assert stage.next(3).step_id == 3, "the observation is sent again"
        stage.play(3, ticks[-1])
        assert stage.timings.until_counter("invalid") == 1


def test_stale_torques_are_dropped_and_counted():
    with Stage() as stage:
        ticks = stage.play(3)
        wrong = np.ones((1, 8), np.float32)
        stage.answer(ticks[-1], wrong, step_id=2)
        stage.answer(ticks[-1], wrong, step_id=4)
        stage.answer(ticks[-1], wrong, session=ticks[-1].session + 1)
        after = stage.play(2, ticks[-1])
        assert np.array_equal(after[1].action, torque_of(ticks[-1]))
        assert stage.timings.until_counter("stale", 3) == 3


def test_torques_out_of_range_are_clipped_and_counted():
    with Stage() as stage:
        tick = stage.next()
        stage.answer(tick, np.array([[0, 1, -1, 1.5, -2, 0.5, 0, 9]], np.float32))
        assert stage.next(1).action.tolist() == [[0, 1, -1, 1, -1, 0.5, 0, 1]]
        assert stage.timings.until_counter("clipped", 3) == 3


def test_a_silent_policy_is_named_gets_the_observation_again_and_recovers():
    with Stage(response_timeout=0.4) as stage:
        ticks = stage.play(5)
        stage.said(f"waiting for a policy node on {stage.namespace}/joint_torques (tick 5 unanswered for ")
        assert stage.timings.until_state("waiting").detail.startswith("waiting for a policy node on ")
        again = stage.next(5)
        assert again.time_step.observation.tobytes() == ticks[-1].time_step.observation.tobytes()
        stage.timings.until_counter("resent", 2)
        stage.play(3, ticks[-1])
        stage.said(f"a policy node answers on {stage.namespace}/joint_torques after ")
        stage.answer_until(lambda: stage.timings.messages[-1].state == "running")


def test_a_policy_in_another_namespace_is_pointed_out():
    other = fresh_namespace()
    with Peer(other) as elsewhere, Stage(response_timeout=0.2) as stage:
        elsewhere.publisher(JointTorques, "joint_torques")
        stage.next()
        stage.said("waiting for a policy node")
        stage.said(f"one publishes on {other}/joint_torques: give both the same namespace:=")


def test_two_policies_one_is_used_and_both_are_named():
    with Stage(response_timeout=0.5) as stage:
        tick = stage.next()
        stage.answer(tick, policy_node=11)
        tick = stage.next(1)
        stage.answer(tick, np.ones((1, 8), np.float32), policy_node=12)
        stage.answer(tick, policy_node=11)
        assert np.array_equal(stage.next(2).action, torque_of(tick))
        stage.said("using the run 11, not 12")
        stage.timings.until_counter("rival")
        stage.timings.until_counter("contested")
        stage.said("two policy nodes answered at once on")
        tick = stage.next(2)  # sent again: the first one is silent now
        end = time.monotonic() + 20
        while time.monotonic() < end:
            stage.answer(tick, policy_node=12)
            later = stage.next(session=tick.session)
            if later.step_id == 3:
                break
        assert later.step_id == 3


def test_reset_starts_a_new_session():
    with Stage(num_envs=2, seed=5) as stage:
        ticks = stage.play(4)
        response = stage.call(Reset, "reset", use_seed=True, seed=5)
        assert response.success and response.session != ticks[0].session
        assert int(float(response.session)) == response.session
        first = stage.next(0, response.session)
        assert first.action is None
        assert first.time_step.observation.tobytes() == ticks[0].time_step.observation.tobytes()
        stage.answer(ticks[-1])  # an answer to the session before
        again = stage.play(4, first)
        for old, new in zip(ticks, again, strict=True):
            assert old.time_step.observation.tobytes() == new.time_step.observation.tobytes()
        assert not set(again[-1].time_step.episode_id) & set(ticks[0].time_step.episode_id)
        assert stage.call(Reset, "reset", use_seed=False).success
        stage.play(1, stage.next(0))


def test_pause_step_and_go_on():
    with Stage() as stage:
        ticks = stage.play(3)
        refused = stage.call(Step, "step", steps=2)
        assert not refused.success and refused.message == "pause the environment first"
        assert stage.call(SetBool, "pause", data=True).success
        stage.timings.until_state("paused")
        assert not stage.call(Step, "step", steps=0).success
        stage.answer(ticks[-1])  # answers while paused lead nowhere
        response = stage.call(Step, "step", steps=2)
        assert response.success and response.step_id == 5
        ticks = stage.play(2, stage.next(3))
        assert ticks[-1].step_id == 5, "the result of the last step is published"
        stage.answer(ticks[-1])
        stage.timings.until_state("paused")
        assert max(message.step_id for message in stage.messages) == 5
        assert stage.call(SetBool, "pause", data=False).success
        assert stage.play(2, stage.next(5))[-1].step_id == 7
        stage.answer_until(lambda: stage.timings.messages[-1].state == "running")


def values(timing):
    """The values of a timing message by their names."""
    return dict(zip(timing.value_names, timing.value_values, strict=True))


def test_it_stops_after_steps_and_the_last_words_arrive():
    with Stage(steps=25, num_envs=2) as stage:
        assert stage.play(25)[-1].step_id == 25
        assert stage.process.wait() == 0
        stage.peer.until(lambda: stage.timings.messages and values(stage.timings.messages[-1])["ticks"] == 25, "timing")
        last = values(stage.timings.messages[-1])
        assert last["env_steps"] == 50 and last["step_id"] == 25 and last["episode_step"] == 25


def test_it_stops_after_episodes_and_tells_of_each():
    with Stage(episodes=1, seed=5, listeners=1) as stage:
        tick, ticks = stage.next(), []
        while not stage.process.ended:
            ticks.append(tick)
            stage.answer(tick, np.full((1, 8), -1 if tick.step_id % 40 < 20 else 1, np.float32))
            try:
                tick = stage.next(tick.step_id + 1, timeout_s=3.0)
            except AssertionError:
                break
        assert stage.process.wait() == 0
        stage.peer.until(lambda: stage.episodes, "the summary")
        (episode,) = stage.episodes
        rewards = [t.time_step.reward[0] for t in [*ticks[1:], *([tick] if tick is not ticks[-1] else [])]]
        assert (episode.seed, episode.row, episode.length) == (5, 0, len(rewards))
        assert episode.duration == pytest.approx(0.05 * len(rewards))
        assert episode.episode_return == pytest.approx(sum(map(float, rewards)))
        parts = (episode.reward_forward, episode.reward_survive, episode.reward_ctrl, episode.reward_contact)
        assert episode.episode_return == pytest.approx(sum(parts), abs=1e-3)
        assert episode.terminated != episode.truncated and episode.policy_version == 3


def test_listeners_are_waited_for():
    with Stage(listeners=2) as stage:
        assert "waits for 2 listener(s)" in stage.timings.until_state("waiting").detail
        assert not stage.messages
        stage.peer.collect(EpisodeSummary, "episode")
        stage.play(2)
        stage.answer_until(lambda: stage.timings.messages[-1].state == "running")


@pytest.mark.parametrize("mode", ["lockstep", "realtime"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it(mode, number):
    with Stage(mode) as stage:
        stage.answer(stage.next())
        stage.next()
        start = time.monotonic()
        stage.process.signal(number)
        assert stage.process.wait() == 0
        assert time.monotonic() - start < 8.0
        assert "Traceback" not in stage.process.said()


@pytest.mark.parametrize("name, value, sentence", [
    ("mode", "foo", "parameter mode must be lockstep or realtime, found 'foo'"),
    ("num_envs", 0, "parameter num_envs must be from 1 to 4096, found 0"),
    ("seed", "x", "parameter seed must be a whole number, found 'x'"),
    ("stall_speed", -0.5, "parameter stall_speed must be at least 0, found -0.5"),
])
def test_a_wrong_parameter_is_one_sentence(name, value, sentence):
    with NodeProcess(MODULE, fresh_namespace(), {name: value}) as process:
        assert process.wait() == 2
        assert sentence in process.said() and len(process.said().splitlines()) == 1


def test_realtime_keeps_its_pace_and_zeroes_old_torque():
    with Stage("realtime", response_timeout=0.3) as stage:
        first = stage.next()
        assert first.step_id == 0
        stage.said("waiting for a policy node on ")
        tick = stage.next(0)
        # Answer everything for a second: fresh torque acts.
        times = []
        while tick.step_id < 20:
            stage.answer(tick)
            tick = stage.next()
            times.append(time.monotonic())
        answered = [decode_observation(m, ANT) for m in stage.messages]
        acted = [t for t in answered if t.action is not None and t.action.any()]
        assert len(acted) >= 15 and all(t.policy_version == 3 for t in acted)
        assert np.median(np.diff(times)) == pytest.approx(0.05, abs=0.02)
        # Fall silent: zero torque, said and counted.
        stage.peer.until(lambda: not stage.messages[-1].action.count(0.0) < 8, "zero torque")
        assert stage.messages[-1].policy_version == 0
        stage.timings.until_counter("deadline_misses", 5)
        stage.said("zero torque, for there is no fresh one from a policy node")
        assert stage.timings.until_state("waiting").detail
        # And back.
        stage.seen = len(stage.messages)
        stage.peer.until(lambda: (stage.answer(stage.next()), any(stage.messages[-1].action))[1], "torque again")
        stage.said("a policy node answers on ")


def test_state_topics_are_those_of_mujoco():
    namespace = "/ant_" + os.urandom(4).hex()
    with Stage(namespace=namespace, seed=7, state_rate=1e6) as stage:
        joints = stage.peer.collect(JointState, "joint_states")
        imus, odoms = stage.peer.collect(Imu, "imu"), stage.peer.collect(Odometry, "odom")
        clocks = stage.peer.collect(Clock, "clock")
        stage.answer_until(lambda: min(map(len, (joints, imus, odoms, clocks))) > 5)
        stamps = {(m.header.stamp.sec, m.header.stamp.nanosec): m.step_id for m in stage.messages}
        message = odoms[-1]
        step_id = stamps[(message.header.stamp.sec, message.header.stamp.nanosec)]
        with VectorAnt(1, 7, 1) as ant:
            ant.reset()
            ticks = {message.step_id: message for message in stage.messages}  # a tick may have been sent again
            for i in range(1, step_id + 1):
                ant.step(np.array(ticks[i].action, np.float32).reshape(1, 8))
            data, state = ant.data(0), StateReader(ant.model).read(ant.data(0))
            joint, imu, odom = (next(m for m in found if m.header.stamp == odoms[-1].header.stamp)
                                for found in (joints, imus, odoms))
            assert tuple(joint.name) == JOINT_NAMES
            assert list(joint.position) == data.qpos[7:].tolist() and list(joint.velocity) == data.qvel[6:].tolist()
            assert list(joint.effort) == state.joint_effort.tolist()
            pose, twist = odom.pose.pose, odom.twist.twist
            assert (pose.position.x, pose.position.y, pose.position.z) == tuple(data.qpos[:3])
            w, x, y, z = data.qpos[3:7] / np.linalg.norm(data.qpos[3:7])
            for found in (pose.orientation, imu.orientation):
                assert (found.w, found.x, found.y, found.z) == pytest.approx((w, x, y, z), abs=1e-12)
            assert (twist.linear.x, twist.linear.y, twist.linear.z) == pytest.approx(tuple(state.linear_velocity))
            assert (twist.angular.x, twist.angular.y, twist.angular.z) == tuple(data.qvel[3:6])
            assert imu.angular_velocity.z == data.qvel[5]
            assert imu.linear_acceleration.z == pytest.approx(state.acceleration[2])
        assert odom.header.frame_id == "odom"
        assert odom.child_frame_id == imu.header.frame_id == f"{namespace[1:]}/torso"
        seconds = [clock.clock.sec + 1e-9 * clock.clock.nanosec for clock in clocks]
        assert np.allclose(np.diff(seconds), 0.05)


def test_state_topics_come_no_faster_than_their_rate():
    namespace = "/ant_" + os.urandom(4).hex()
    with Stage(namespace=namespace, state_rate=5.0) as stage:
        odoms = stage.peer.collect(Odometry, "odom")
        stage.answer_until(lambda: len(odoms) > 4)
        stamps = [odom.header.stamp.sec + 1e-9 * odom.header.stamp.nanosec for odom in odoms]
        assert np.diff(stamps).min() > 0.19
        assert stage.messages[-1].step_id > 40


def test_shaping_publishes_both_rewards_and_returns_of_the_default_one():
    constants = {"forward_bonus": 2.0, "stall_penalty": 0.25, "low_body_height": 0.7}
    with Stage(num_envs=2, seed=5, shaping=True, episodes=1, **constants) as stage:
        tick = stage.next()
        assert not tick.time_step.info
        env = make(2, 5, 1, ShapingConfig(**constants))
        ledger, ended = EpisodeLedger(env.reset(5), (5, 6)), []
        while not ended:
            action = np.full((2, 8), -1 if tick.step_id % 40 < 20 else 1, np.float32)
            stage.answer(tick, action)
            expected = env.step(action)
            before, tick = tick, stage.next(tick.step_id + 1)
            assert tick.time_step.reward.tobytes() == expected.reward.tobytes()
            joined = tick.transition_from(before)
            assert joined.extras["unshaped_reward"].tobytes() == expected.info["unshaped_reward"].tobytes()
            assert (joined.reward != joined.extras["unshaped_reward"]).all()
            ended = ledger.add(expected)
        env.close()
        assert stage.process.wait() == 0
        stage.peer.until(lambda: stage.episodes, "the summary")
        assert stage.episodes[0].episode_return == ended[0].episode_return


def test_a_stack_without_tasks_takes_some_by_the_service_and_tells_them():
    with Stage(num_envs=2, seed=5) as stage:
        told = stage.peer.collect(RobotTasks, "task")
        ticks = stage.play(3)
        for request, sentence in [
                ({"task": "leg 5 lost"}, "refused: unknown task 'leg 5 lost'; the nearest one is 'leg "),
                ({"task": "terrain 3"}, "refused: a task with terrain needs robots whose tasks have some, found "),
                ({"task": '{"mass": 100}'}, "refused: mass of a task must be from 0.1 to 10, found 100"),
                ({"task": "leg 3 lost", "row": 2}, "refused: row must be from 0 to 1, or -1 for all robots, found 2")]:
            answer = stage.call(SetTask, "set_task", **request)
            assert not answer.success and sentence in answer.message, answer.message
        answer = stage.call(SetTask, "set_task", task="leg 3 lost", row=1)
        assert answer.success and (answer.message, answer.step_id) == ("leg 3 lost of robot 1 from tick 3 on", 3)
        ticks += stage.play(4, ticks[-1])[1:]
        answer = stage.call(SetTask, "set_task", task='{"delay": 2}')
        assert answer.message == "custom of all robots from tick 7 on"
        ticks += stage.play(4, ticks[-1])[1:]
        stage.peer.until(lambda: len(told) >= 2, "what is told of tasks")
        standing = list(map(decode_tasks, told))
        assert [(each.number, each.step_id, each.names) for each in standing] == [
            (1, 3, ("nominal", "leg 3 lost")), (2, 7, ("custom", "custom"))]
        assert [tick.tasks_told for tick in ticks] == [0] * 4 + [1] * 4 + [2] * 4
        with Peer(stage.namespace) as late:
            heard = late.collect(RobotTasks, "task")
            late.until(lambda: heard and heard[-1].step_id == 7, "the tasks for one who came late")
        with TaskAnt(2, None, seed=5) as ant:
            env = TimeStepEnv(ant)
            steps = [env.reset(5)]
            for tick in ticks[:-1]:
                if tick.step_id == 3:
                    ant.set_task(1, find_task("leg 3 lost"))
                if tick.step_id == 7:
                    ant.set_task(0, find_task('{"delay": 2}'))
                    ant.set_task(1, find_task('{"delay": 2}'))
                assert standing[tick.step_id >= 7].vectors.tobytes() == ant.task_vectors.tobytes() or tick.step_id < 3
                steps.append(env.step(np.clip(torque_of(tick), -1, 1)))
        assert_same_steps(ticks, steps)
