"""The policy node as a process of its own, asked by a scripted environment over real DDS."""

import time
from contextlib import ExitStack

import numpy as np
import policy_bundles
import pytest
from ant_rl_interfaces.msg import JointTorques, Observation, PolicyUpdate
from ant_rl_interfaces.srv import LoadPolicy
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from policy_bundles import packed
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters

from ant_rl_core import bundle
from ant_rl_core.spec import ANT
from ant_rl_core.step import Previous, TimeStep
from ant_rl_core.testing import FakeVectorEnv
from ant_rl_core.tick import Tick
from ant_rl_ros import qos
from ant_rl_ros.arrays import flat
from ant_rl_ros.messages import decode_torques, encode_observation
from ant_rl_ros.testing.peer import Listener
from ant_rl_ros.testing.process import TIMEOUT, NodeProcess
from policy_node.actor import load_actor

RESEND = 0.2


class ScriptedEnv(Listener):
    """The other side of a policy node."""

    def __init__(self, namespace="/"):
        super().__init__(namespace, "scripted_env")
        self.observations = self.publisher(Observation, "observation")
        self.torques = self.loop.subscribe(JointTorques, "joint_torques", qos.profile("joint_torques"))
        self.updates = self.publisher(PolicyUpdate, "policy")
        self.loop.refresh()
        self.stamp = self.node.get_clock().now().to_msg()

    @property
    def status(self):
        """The newest timing of the policy node."""
        return self.timings.get("policy")

    def situation(self):
        return f"; last timing: {self.status}"

    def spin(self, timeout_s=0.1):
        """Wait for any message; returns the torques that came."""
        super().spin(timeout_s)
        found = list(self.torques)
        self.torques.clear()
        return found

    def ask(self, tick):
        """Send a tick, again and again, until it is answered."""
        message = encode_observation(tick, self.stamp)
        end = time.monotonic() + TIMEOUT
        while time.monotonic() < end:
            self.observations.publish(message)
            resend = time.monotonic() + RESEND
            while (left := resend - time.monotonic()) > 0:
                for answer in self.spin(left):
                    if (answer.session, answer.step_id) == (tick.session, tick.step_id):
                        return answer
        raise AssertionError(f"no answer to tick {tick.step_id} within {TIMEOUT} s; last timing: {self.status}")

    def update(self, data, version, sha256=None):
        self.updates.publish(PolicyUpdate(version=version, sha256=sha256 or bundle.sha256(data),
                                          bundle=flat(np.frombuffer(data, np.uint8))))

    def load(self, path):
        return self.call(LoadPolicy, "policy/load_policy", LoadPolicy.Request(path=str(path)))

    def counted(self, name):
        return self.counter("policy", name)


@pytest.fixture
def env():
    with ScriptedEnv() as made:
        yield made


@pytest.fixture
def start(tmp_path):
    with ExitStack() as processes:
        def make(data=None, namespace="/", **parameters):
            if data is not None:
                (tmp_path / "policy.zip").write_bytes(data)
                parameters["policy"] = tmp_path / "policy.zip"
            return processes.enter_context(NodeProcess("policy_node.node", namespace, parameters))
        yield make


def small(version, **changes):
    """A quickly converted policy, another one for each version."""
    return packed(version, hidden=8, seed=version, **changes)


def tick_of(step_id, rows=1, session=5, seed=0):
    observation = policy_bundles.observations(rows, seed * 100_000 + step_id)
    no, count = np.zeros(rows, bool), np.full(rows, step_id)
    step = TimeStep(observation, np.zeros(rows, np.float32), no, no, observation, count * 0, count.astype(np.uint32))
    return Tick(session, step_id, step)


def expected(actor, tick):
    return actor.act(tick.time_step.observation, Previous.none(tick.num_envs, 8), actor.initial_state(tick.num_envs),
                     tick.reset_mask)[0].ravel()


def test_answers_are_the_actors_and_repeated_ticks_get_the_kept_answer(env, start):
    process = start(packed(version=7))
    actor = load_actor(bundle.unpack(packed(version=7)))
    for step_id in range(30):
        tick = tick_of(step_id, rows=4)
        answer = env.ask(tick)
        assert (answer.policy_version, len(answer.log_prob), len(answer.value)) == (7, 0, 0)
        assert np.array_equal(np.asarray(answer.torque), expected(actor, tick))
        again = env.ask(tick)
        assert again == answer and again.policy_node != 0
    tick = tick_of(0, session=6)
    assert np.array_equal(np.asarray(env.ask(tick).torque), expected(actor, tick))
    env.until(lambda: env.counted("answered") == 31 and env.counted("resent") >= 30, "the counters")
    assert env.status.state == "running" and env.status.pid == process.pid
    assert process.stop() == 0


def test_exploration_follows_the_seed_and_a_repeated_tick_draws_nothing(env, start):
    start(packed(version=7), explore=True, seed=3)
    actor = load_actor(bundle.unpack(packed(version=7)), explore=True, seed=3)
    for step_id in range(10):
        tick = tick_of(step_id, rows=2)
        action, extras, _ = actor.act(tick.time_step.observation, Previous.none(2, 8), (), tick.reset_mask)
        for _ in range(2):
            answer = decode_torques(env.ask(tick), 2, ANT)
            assert np.array_equal(answer.action, action)
            assert np.array_equal(answer.extras["log_prob"], extras["log_prob"])


def test_recurrent_state_lives_as_long_as_an_episode(env, start):
    start(packed(state_size=16))
    actor = load_actor(bundle.unpack(packed(state_size=16)))
    rows = 3
    for session in (1, 2):
        robots, state, previous = FakeVectorEnv(rows, lengths=(4, 5)), actor.initial_state(rows), Previous.none(rows, 8)
        tick = Tick(session, 0, robots.reset())
        for _ in range(15):
            action, _, state = actor.act(tick.time_step.observation, previous, state, tick.reset_mask)
            assert np.array_equal(decode_torques(env.ask(tick), rows, ANT).action, action)
            tick = Tick(session, tick.step_id + 1, robots.step(action), action)
            previous = tick.previous(8)


def test_memory_of_a_trial_outlives_episodes_resent_ticks_and_a_swap_to_its_kin(env, start):
    """The reference acts once per tick; the node is asked some ticks twice, and changes actors amid trials."""
    changes = {"memory": "trial", "memory_id": "kin"}
    arguments = {"hidden": 8, "state_size": 16, "before": ("previous_action", "previous_reward", "previous_done")}
    versions = {version: packed(version, seed=version, changes=changes, **arguments) for version in (1, 2)}
    versions[3] = packed(3, seed=3, changes={"memory": "trial"}, **arguments)  # understands nobody else's memory
    actors = {version: load_actor(bundle.unpack(data)) for version, data in versions.items()}
    process = start(versions[1])
    rows, running, trials, left = 2, 1, 0, 20
    robots = FakeVectorEnv(rows, lengths=(3, 4), episodes_per_trial=3)
    tick, state, previous = Tick(8, 0, robots.reset()), actors[1].initial_state(rows), Previous.none(rows, 8)
    end = time.monotonic() + TIMEOUT
    while left or running < 3:
        assert time.monotonic() < end, f"at tick {tick.step_id} version {running} runs"
        if left == 1 and running < 3:
            env.update(versions[running + 1], running + 1)  # loaded while ticks go on
        answer = decode_torques(env.ask(tick), rows, ANT)
        fresh, left = tick.reset_mask, max(0, left - 1)
        if answer.policy_version != running:
            running, left = answer.policy_version, 20
            if running == 3:
                state, fresh = actors[3].initial_state(rows), np.ones(rows, bool)
        action, _, state = actors[running].act(tick.time_step.observation, previous, state, fresh)
        assert np.array_equal(answer.action, action), tick.step_id
        if tick.step_id % 3 == 0:
            assert np.array_equal(decode_torques(env.ask(tick), rows, ANT).action, action)
        tick = Tick(8, tick.step_id + 1, robots.step(action), action, policy_version=running)
        previous, trials = tick.previous(8), trials + tick.reset_mask.sum()
    assert trials >= 8
    assert process.said().count("this policy's memory is made for trials, and the environment has no tasks") == 1

    value = ParameterValue(type=ParameterType.PARAMETER_BOOL, bool_value=True)
    request = SetParameters.Request(parameters=[Parameter(name="memory_off", value=value)])
    assert env.call(SetParameters, "policy/set_parameters", request).results[0].successful
    for _ in range(8):
        action, _, _ = actors[3].act(tick.time_step.observation, previous, actors[3].initial_state(rows),
                                     np.ones(rows, bool))
        assert np.array_equal(decode_torques(env.ask(tick), rows, ANT).action, action), tick.step_id
        tick = Tick(8, tick.step_id + 1, robots.step(action), action, policy_version=running)
        previous = tick.previous(8)


def test_hot_swap_under_load_misses_and_mixes_no_tick(env, start):
    versions = range(1, 9)
    actors = {version: load_actor(bundle.unpack(small(version))) for version in versions}
    start(small(1))
    env.ask(tick_of(0))
    seen, step_id, newest = [], 0, 1
    end = time.monotonic() + TIMEOUT
    while not (newest == 8 and seen[-200:] == [8] * 200):
        step_id += 1
        assert time.monotonic() < end, f"at tick {step_id} version {seen[-1]} runs"
        if step_id % 150 == 0 and newest < 8:
            newest += 1
            env.update(small(newest), newest)
        tick = tick_of(step_id)
        answer = env.ask(tick)
        seen.append(answer.policy_version)
        assert np.array_equal(np.asarray(answer.torque), expected(actors[answer.policy_version], tick))
    assert seen == sorted(seen) and len(set(seen)) >= 3
    env.until(lambda: env.counted("answered") == step_id + 1, "the counter of answers")
    assert env.counted("swaps") == len(set(seen)) - 1
    assert env.counted("resent") == 0 or env.counted("resent") < step_id / 100  # a tick is only late on a busy machine


def test_refused_updates_keep_the_old_actor_and_say_why(env, start):
    process = start(small(5))
    actor = load_actor(bundle.unpack(small(5)))
    tampered = bytearray(small(6))
    tampered[len(tampered) // 2] ^= 1
    refused = [
        (small(4), 4, None, "version 5 is here already"),
        (small(6), 6, "0" * 64, "expected bytes with the sha256 0000"),
        (bytes(tampered), 6, None, "not a whole bundle"),
        (small(6), 7, None, "the update says version 7, its bundle says 6"),
        (small(6, observation_size=27), 6, None, "the bundle was made for 27 and 8"),
        (small(6, changes={"robot": "Spot"}), 6, None, "expected a policy for Ant-v5, found one for Spot"),
        (small(6, observation_size=27, changes={"observation_size": 105}), 6, None, "found one that takes observation"),
        (b"", 6, None, "not a whole bundle"),
    ]
    tick = tick_of(0)
    env.ask(tick)
    for count, (data, version, sha256, sentence) in enumerate(refused, 1):
        env.update(data, version, sha256)
        env.until(lambda count=count: env.counted("refused_policies") == count, f"the refusal of {sentence}")
        assert sentence in process.said() and "; version 5 goes on" in process.said().splitlines()[-1]
        tick = tick_of(count)
        answer = env.ask(tick)
        assert answer.policy_version == 5 and np.array_equal(np.asarray(answer.torque), expected(actor, tick))
    env.update(small(6), 6)
    for step_id in range(1000, 100_000):
        if env.ask(tick_of(step_id)).policy_version == 6:
            break
    env.until(lambda: env.counted("swaps") == 1, "the swap to version 6")


def test_the_load_policy_service_loads_at_once_or_says_why_not(env, start, tmp_path):
    start(small(5))
    env.ask(tick_of(0))
    (tmp_path / "old.zip").write_bytes(small(2))
    (tmp_path / "cut.zip").write_bytes(small(2)[:-20])
    answer = env.load(tmp_path / "old.zip")
    assert answer.success and answer.version == 2 and f"version 2 from {tmp_path}/old.zip" in answer.message
    assert env.ask(tick_of(1)).policy_version == 2
    for path, sentence in ((tmp_path / "cut.zip", "cut.zip: not a whole bundle"), (tmp_path, "no regular file"),
                           (tmp_path / "none.zip", "No such file"), ("fastest", "a shipped one, found 'fastest'")):
        answer = env.load(path)
        assert not answer.success and answer.version == 2 and sentence in answer.message
        assert answer.message.startswith("refused: ") and "\n" not in answer.message
    assert env.ask(tick_of(2)).policy_version == 2


def test_observations_of_another_robot_get_a_sentence_and_no_torque(env, start):
    process = start(small(5))
    env.ask(tick_of(0))
    message = encode_observation(tick_of(1), env.stamp)
    message.observation = message.observation[:27]
    end = time.monotonic() + TIMEOUT
    while env.status is None or not env.status.detail.startswith("no torque for /observation: "):
        assert time.monotonic() < end, f"last timing: {env.status}"
        env.observations.publish(message)
        # A second answer to tick 0 may still come, if a busy machine made `ask` send it twice.
        assert [answer for answer in env.spin() if answer.step_id != 0] == []
    assert env.counted("invalid_observations") > 0 and env.counted("answered") == 1
    sentence = "observation must have 105 values (1 x 105), found 27"
    said = [line for line in process.said().splitlines() if sentence in line]
    assert 0 < len(said) <= 1 + env.counted("invalid_observations") // 10, "said once in a while, not each time"
    assert env.ask(tick_of(1)).policy_version == 5


def test_it_waits_for_an_env_and_names_a_namespace_that_hides_it(env, start):
    """The scripted env is at the root, the policy is not; then a scripted env comes to its namespace."""
    process = start(small(5), namespace="/b")
    with ScriptedEnv(namespace="/b") as near:
        near.node.destroy_publisher(near.observations)
        near.until(lambda: near.status is not None and near.status.state == "waiting", "the state waiting")
        assert near.status.detail == ("waiting for an env node on /b/observation; one publishes on /observation: "
                                      "give both the same namespace:=")
        near.until(lambda: near.status.detail in process.said(), "the same in the log")
        near.observations = near.publisher(Observation, "observation")
        step_id = 0
        while near.status.state != "running" or near.status.detail:  # it is only as long as there are ticks
            near.ask(tick_of(step_id))
            step_id += 1


def test_without_a_policy_it_waits_for_the_topic_and_joins_late(env, start):
    process = start(policy="''")
    env.observations.publish(encode_observation(tick_of(0), env.stamp))
    env.until(lambda: env.node.count_subscribers("/policy") > 0, "the policy node")
    while "waiting for a policy on /policy" not in process.said():
        env.observations.publish(encode_observation(tick_of(0), env.stamp))
        env.spin()
    env.update(small(3), 3)
    assert env.ask(tick_of(0)).policy_version == 3
    process.stop()
    late = start(policy="''")  # the update was sent before it came
    assert env.ask(tick_of(1)).policy_version == 3
    assert late.stop() == 0


def test_the_first_answer_waits_for_the_listeners(env, start):
    start(small(1), listeners=2)
    message = encode_observation(tick_of(0), env.stamp)

    def told():
        env.observations.publish(message)
        assert not env.spin()
        return env.status is not None and "waits for 2 listener(s) of /" in env.status.detail
    env.until(told)
    recorded = env.loop.subscribe(JointTorques, "joint_torques", qos.profile("joint_torques"))
    env.loop.refresh()
    assert env.ask(tick_of(0)).step_id == 0
    assert {answer.step_id for answer in recorded} == {0}
    env.loop.unsubscribe(recorded)
    assert env.ask(tick_of(1)).step_id == 1  # the second may go: it is not waited for again


def test_as_a_managed_node_it_answers_while_it_is_active(env, start):
    process = start(small(3), autostart=False)
    change = env.node.create_client(ChangeState, "policy/change_state")
    env.loop.refresh()
    env.until(lambda: env.status is not None and change.service_is_ready(), "the node")
    assert env.status.state == "inactive" and np.isnan(env.status.value_values[0])

    def trigger(transition):
        future = change.call_async(ChangeState.Request(transition=Transition(id=transition)))
        env.until(future.done, "the transition")
        assert future.result().success

    trigger(Transition.TRANSITION_CONFIGURE)
    trigger(Transition.TRANSITION_ACTIVATE)
    assert env.ask(tick_of(0)).policy_version == 3
    trigger(Transition.TRANSITION_DEACTIVATE)
    env.until(lambda: env.status.state == "inactive" and env.counted("answered") == 1, "the state inactive")
    trigger(Transition.TRANSITION_CLEANUP)
    env.until(lambda: not env.node.count_subscribers("/observation"), "the node to leave the graph")
    trigger(Transition.TRANSITION_CONFIGURE)
    trigger(Transition.TRANSITION_ACTIVATE)
    assert env.ask(tick_of(1)).policy_version == 3
    assert process.stop() == 0


@pytest.mark.parametrize("parameters, sentence", [
    ({"policy": "/nowhere/policy.zip"}, "/nowhere/policy.zip: expected a policy bundle, found none (No such file"),
    ({"policy": "fastest"}, "expected the path of a policy bundle or the name of a shipped one, found 'fastest'"),
    ({"backend": "torch"}, "parameter backend must be litert or keras, found 'torch'"),
    ({"seed": -1}, "parameter seed must be at least 0, found -1"),
])
def test_what_it_can_not_start_with_ends_it_with_one_sentence(start, parameters, sentence):
    process = start(**parameters)
    assert process.wait() == 2
    lines = [line for line in process.said().splitlines() if line.strip()]
    assert len(lines) == 1 and sentence in lines[0]


@pytest.mark.parametrize("data, parameters, sentence", [
    (lambda: small(1)[:-30], {}, "policy.zip: not a whole bundle: expected a zip file"),
    (lambda: small(1, observation_size=27), {}, "105 observations and 8 actions, but the bundle was made for 27"),
    (lambda: packed(stochastic=False), {"explore": True}, "must be stochastic"),
    (lambda: small(1), {"variant": "int8"}, "no variant 'int8' that ends in .tflite; those are float32"),
    (lambda: small(1), {"max_policy_bytes": 1000}, "bytes, at most 1000 are allowed"),
])
def test_a_bundle_it_can_not_use_ends_it_with_one_sentence(start, data, parameters, sentence):
    process = start(data(), **parameters)
    assert process.wait() == 2
    lines = [line for line in process.said().splitlines() if "configure" in line]
    assert len(lines) == 1 and sentence in lines[0]
