from dataclasses import replace

import numpy as np
import pytest
from ant_rl_interfaces.msg import JointTorques, Observation
from builtin_interfaces.msg import Time
from rclpy.serialization import deserialize_message, serialize_message

from ant_rl_core.spec import ANT
from ant_rl_core.step import TimeStep
from ant_rl_core.tick import RowTasks, Tick, Torques, new_run_number
from ant_rl_ros.arrays import flat, unflat
from ant_rl_ros.messages import (
    decode_observation,
    decode_tasks,
    decode_torques,
    encode_observation,
    encode_tasks,
    encode_torques,
)

N = 3
STAMP = Time(sec=5, nanosec=7)


def over_the_wire(message):
    return deserialize_message(serialize_message(message), type(message))


def make_tick(first=False, done_row=None, shaped=False):
    rng = np.random.default_rng(0)
    observation = rng.standard_normal((N, 105), np.float32)
    terminated = np.zeros(N, bool)
    final = observation
    if done_row is not None:
        terminated[done_row] = True
        final = observation.copy()
        final[done_row] = rng.standard_normal(105, np.float32)
    no = np.zeros(N, bool)
    step = TimeStep(observation, np.zeros(N, np.float32) if first else rng.standard_normal(N, np.float32), terminated,
                    no, final, np.arange(N) + 2**40, np.array([0, 1, 4_000_000_000], np.uint32),
                    trial_id=np.array([0, -5, 2]) + 2**40)
    if first:
        return Tick(2**63 - 1, 0, step)
    if shaped:
        step = replace(step, info={"unshaped_reward": step.reward + np.float32(1.5), "x_position": np.zeros(N)})
    return Tick(2**63 - 1, 9, step, rng.uniform(-1, 1, (N, 8)).astype(np.float32),
                {"log_prob": rng.standard_normal(N, np.float32)}, 17, 3 * shaped)


def sent_info(tick):
    return {k: v.tobytes() for k, v in tick.time_step.info.items() if k == "unshaped_reward"}


def assert_same(a, b):
    assert (a.session, a.step_id, a.policy_version, a.tasks_told) == (b.session, b.step_id, b.policy_version,
                                                                      b.tasks_told)
    for name in ("observation", "reward", "terminated", "truncated", "final_observation", "episode_id", "step",
                 "trial_id", "trial_first"):
        x, y = getattr(a.time_step, name), getattr(b.time_step, name)
        assert x.dtype == y.dtype and x.tobytes() == y.tobytes(), name
    assert (a.action is None) == (b.action is None)
    if a.action is not None:
        assert a.action.tobytes() == b.action.tobytes()
    assert sent_info(a) == sent_info(b)
    assert {k: v.tobytes() for k, v in a.extras.items()} == {k: v.tobytes() for k, v in b.extras.items()}


@pytest.mark.parametrize("tick", [make_tick(first=True), make_tick(), make_tick(done_row=1), make_tick(shaped=True)],
                         ids=["first", "running", "done", "shaped"])
def test_a_tick_travels_bit_for_bit(tick):
    message = over_the_wire(encode_observation(tick, STAMP))
    assert message.header.stamp == STAMP
    assert_same(decode_observation(message, ANT), tick)


def test_a_kept_message_holds_nothing_of_the_tick_before():
    kept = Observation()
    encode_observation(make_tick(done_row=2, shaped=True), STAMP, kept)
    encode_observation(make_tick(), STAMP, kept)
    assert_same(decode_observation(over_the_wire(kept), ANT), make_tick())
    encode_observation(make_tick(first=True), STAMP, kept)
    assert over_the_wire(kept) == encode_observation(make_tick(first=True), STAMP)


def test_reset_mask_and_previous():
    tick = make_tick(done_row=1)
    assert tick.reset_mask.tolist() == [True, False, False]
    later = replace(tick.time_step, trial_id=tick.time_step.trial_id - 1)  # another episode of the trial
    assert not Tick(5, 9, later, tick.action).reset_mask.any()
    previous = tick.previous(8)
    assert previous.action is tick.action and previous.done.tolist() == [False, True, False]
    assert not make_tick(first=True).previous(8).action.any()


def test_a_transition_needs_two_ticks_without_a_gap():
    before, after = make_tick(), make_tick(done_row=0)
    after = Tick(before.session, before.step_id + 1, after.time_step, after.action, after.extras, 3)
    joined = after.transition_from(before)
    assert joined.observation is before.time_step.observation
    assert joined.next_observation is after.time_step.final_observation
    assert joined.policy_version == 3 and np.array_equal(joined.trial_first, before.time_step.trial_first)
    assert joined.previous.action is before.action and joined.state == ()
    assert Tick(1, 10, after.time_step, after.action).transition_from(before) is None
    assert Tick(before.session, 11, after.time_step, after.action).transition_from(before) is None
    assert make_tick(first=True).transition_from(before) is None


def test_a_transition_has_the_unshaped_reward_beside_the_learned_one():
    before, after = make_tick(), make_tick(shaped=True)
    after = Tick(before.session, before.step_id + 1, after.time_step, after.action, after.extras, 3)
    joined = decode_observation(over_the_wire(encode_observation(after, STAMP)), ANT).transition_from(before)
    assert joined.reward.tobytes() == after.time_step.reward.tobytes()
    assert set(joined.extras) == {"log_prob", "unshaped_reward"}
    assert joined.extras["unshaped_reward"].tobytes() == after.time_step.info["unshaped_reward"].tobytes()


@pytest.mark.parametrize("field, value, sentence", [
    ("observation", [0.0] * 5, "observation must have 315 values (3 x 105), found 5"),
    ("trial_id", [1, 2], "trial_id must have 3 values (3), found 2"),
    ("reward", [], "reward must have 3 values (3), found 0"),
    ("unshaped_reward", [1.0], "unshaped_reward must have 3 values (3), found 1"),
    ("action", [0.0], "action must have 24 values (3 x 8), found 1"),
    ("terminated", [1], "terminated must have 3 values (3), found 1"),
    ("final_rows", [7], "final_rows must be below num_envs = 3, found 7"),
    ("num_envs", 0, "num_envs must be at least 1, found 0"),
])
def test_a_wrong_observation_is_refused(field, value, sentence):
    message = encode_observation(make_tick(), STAMP)
    setattr(message, field, value)
    with pytest.raises(ValueError) as caught:
        decode_observation(over_the_wire(message), ANT)
    assert str(caught.value) == sentence


def make_torques(action):
    return Torques(5, 6, np.asarray(action, np.float32), {"value": np.ones(2, np.float32)}, 3, 2**64 - 1, 1e-4)


def test_torques_travel_bit_for_bit():
    torques = make_torques(np.random.default_rng(1).uniform(-2, 2, (2, 8)))
    kept = encode_torques(make_torques(np.zeros((2, 8))), STAMP)
    found = decode_torques(over_the_wire(encode_torques(torques, STAMP, kept)), 2, ANT)
    assert found.action.tobytes() == torques.action.tobytes()
    assert found.extras["value"].tolist() == [1, 1] and "log_prob" not in found.extras
    assert (found.session, found.step_id, found.policy_version, found.policy_node, found.inference_time) == (
        5, 6, 3, 2**64 - 1, 1e-4)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_torques_must_be_finite(bad):
    action = np.zeros((2, 8))
    action[1, 3] = bad
    with pytest.raises(ValueError, match=f"torque must be finite, found {bad} in row 1, joint 3"):
        decode_torques(encode_torques(make_torques(action), STAMP), 2, ANT)


def test_torques_must_be_for_every_robot():
    with pytest.raises(ValueError, match=r"torque must have 24 values \(3 x 8\), found 16"):
        decode_torques(encode_torques(make_torques(np.zeros((2, 8))), STAMP), 3, ANT)
    assert not JointTorques().torque


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.uint64, np.int32, np.uint32, np.uint8])
def test_flat_and_unflat_are_inverse(dtype):
    values = np.arange(6).astype(dtype)
    assert unflat(flat(values.reshape(2, 3)), dtype, (2, 3), "x").tolist() == values.reshape(2, 3).tolist()


def test_not_contiguous_arrays_are_flattened_in_row_major_order():
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert flat(values.T).tolist() == values.T.ravel().tolist()


def test_numbers_of_runs_are_exact_as_float64_and_differ():
    numbers = [new_run_number() for _ in range(1000)]
    assert [int(float(number)) for number in numbers] == numbers and len(set(numbers)) == 1000


def row_tasks(**changes):
    fields = {"session": 7, "number": 4, "step_id": 9, "names": ("a", "leg 3 lost"),
              "definitions": ("{}", '{"name": "90°"}'), "since": np.array([0, 9]), "given": np.array([False, True]),
              "vectors": np.arange(6, dtype=np.float32).reshape(2, 3)}
    return RowTasks(**{**fields, **changes})


def test_tasks_travel():
    message = over_the_wire(encode_tasks(row_tasks(), STAMP))
    found = decode_tasks(message)
    assert message.header.stamp == STAMP and (found.session, found.number, found.step_id) == (7, 4, 9)
    for name in ("names", "definitions"):
        assert getattr(found, name) == getattr(row_tasks(), name)
    for name in ("since", "given", "vectors"):
        theirs, ours = getattr(found, name), getattr(row_tasks(), name)
        assert theirs.dtype == ours.dtype and theirs.tobytes() == ours.tobytes() and theirs.shape == ours.shape


@pytest.mark.parametrize("changes, sentence", [
    ({"definitions": ("{}",)}, "definition must have 2 values, one per robot, found 1"),
    ({"since": np.zeros(3, np.int64)}, "since must have 2 values, one per robot, found 3"),
    ({"vectors": np.zeros((1, 5), np.float32)}, "vector must have as many values for each of 2 robots, found 5"),
    ({"names": (), "definitions": (), "since": np.zeros(0, np.int64), "given": np.zeros(0, bool)},
     "vector must have as many values for each of 0 robots")])
def test_tasks_that_are_not_whole_are_refused(changes, sentence):
    with pytest.raises(ValueError, match=sentence):
        decode_tasks(encode_tasks(row_tasks(**changes), STAMP))
