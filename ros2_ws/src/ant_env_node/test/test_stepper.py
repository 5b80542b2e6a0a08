"""What an env node decides, in both modes, on a clock that the test moves; without ROS."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from stepper_stage import Stage, torque_of

from ant_env_node.episodes import EpisodeLedger
from ant_env_node.make import make
from ant_env_node.settings import EnvSettings
from ant_env_node.stepper import LockStep, RealTime, make_stepper
from ant_rl_core.spec import ANT
from ant_rl_core.timing import StageTimer

PERIOD = ANT.control_period
MODES = pytest.mark.parametrize("kind", [LockStep, RealTime])
STEP_FIELDS = ("observation", "reward", "terminated", "truncated", "final_observation", "episode_id", "step")


def assert_same_step(one, other):
    for name in STEP_FIELDS:
        assert getattr(one, name).tobytes() == getattr(other, name).tobytes(), name


def test_the_mode_chooses_the_stepper():
    for mode, kind in (("lockstep", LockStep), ("realtime", RealTime)):
        stage = Stage()
        stepper = make_stepper(EnvSettings(mode=mode, num_threads=1), stage, Counter(), StageTimer())
        assert type(stepper) is kind
        stepper.close()
        stage.stepper.close()


@MODES
def test_ticks_are_those_of_the_plain_environment_bit_for_bit(kind):
    env = make(2, 5, 1)
    with Stage(kind, num_envs=2) as stage:
        ticks = [*stage.play(60), stage.tick]
        assert_same_step(ticks[0].time_step, env.reset(5))
        assert ticks[0].action is None and [tick.step_id for tick in ticks] == list(range(61))
        for before, after in zip(ticks, ticks[1:], strict=False):
            action = torque_of(before.step_id, 2)
            assert_same_step(after.time_step, env.step(action))
            assert after.action.tobytes() == action.tobytes() and after.policy_version == 3
            assert after.session == ticks[0].session
        assert stage.take_told() == [] and not stage.counters
        assert stage.stages.summary()["physics"].count == 60
        trips = stage.stages.summary()["round_trip"]
        assert trips.count == 60 and trips.max == pytest.approx(0.01)
    env.close()


@MODES
def test_what_the_policy_reports_comes_back_with_the_transition(kind):
    extras = {"log_prob": np.array([-1], np.float32)}
    with Stage(kind) as stage:
        stage.send()
        assert stage.answer(extras=extras, policy_version=9) or stage.after(stage.stepper.patience())
        assert stage.tick.extras is extras and stage.tick.policy_version == 9


@MODES
def test_torques_out_of_range_are_clipped_and_counted(kind):
    with Stage(kind) as stage:
        stage.send()
        torque = np.array([[0, 1, -1, 1.5, -2, 0.5, 0, 9]], np.float32)
        assert stage.answer(action=torque) or stage.after(stage.stepper.patience())
        assert stage.tick.action.tolist() == [[0, 1, -1, 1, -1, 0.5, 0, 1]] and stage.counters == {"clipped": 3}


@MODES
def test_torques_of_another_session_are_stale(kind):
    with Stage(kind) as stage:
        stage.send()
        assert not stage.stepper.admits(stage.tick.session + 1, 11)
        assert stage.counters == {"stale": 1} and stage.stepper.admits(stage.tick.session, 12), "nor hold they the lock"


@MODES
def test_a_rival_is_told_and_dropped_until_the_first_is_silent(kind):
    with Stage(kind, response_timeout=0.5) as stage:
        stage.play(1)
        stage.send()
        assert not stage.answer(action=np.ones((1, 8), np.float32), policy_node=12)
        assert stage.take_told() == [("rival", 11, 12)] and stage.counters == {"rival": 1}
        assert stage.answer() or stage.after(stage.stepper.patience())
        assert stage.take_told() == [("contested", 12)]
        assert np.array_equal(stage.tick.action, torque_of(1))
        stage.send()
        stage.now += 0.6
        assert stage.answer(policy_node=12) or stage.after(0.0)
        assert stage.tick.step_id == 3 and stage.counters["rival"] == 1


@MODES
def test_new_timeouts_count_at_once(kind):
    with Stage(kind, response_timeout=0.5, torque_timeout=0.2) as stage:
        stage.play(1)
        stage.send()
        if kind is RealTime:
            stage.answer()
        stage.stepper.change(replace(stage.settings, response_timeout=5.0, torque_timeout=10.0))
        stage.now += 1.0
        assert not stage.stepper.admits(stage.tick.session, 12), "the first policy keeps the lock for longer"
        stage.take_told()
        made = stage.stepper.pass_time()
        assert not any(told[0] == "waiting" for told in stage.take_told())
        if kind is RealTime:
            assert made and np.array_equal(stage.tick.action, torque_of(1)), "old, but not too old"


@MODES
def test_reset_begins_a_session_with_the_same_or_further_random_streams(kind):
    with Stage(kind, num_envs=2) as stage:
        ticks = stage.play(4)
        old = stage.tick
        stage.take_told()
        stage.stepper.begin_session(5)
        assert stage.take_told() == [("resumed",)]
        assert stage.stepper.fresh and not stage.stepper.listening
        assert stage.tick.session != old.session and stage.tick.step_id == 0 and stage.tick.action is None
        assert not stage.stepper.admits(old.session, 11) and stage.counters == {"stale": 1}
        again = stage.play(4)
        for before, now in zip(ticks, again, strict=True):
            assert before.time_step.observation.tobytes() == now.time_step.observation.tobytes()
        assert not set(again[-1].time_step.episode_id) & set(ticks[0].time_step.episode_id)
        stage.stepper.begin_session(None)
        assert stage.tick.time_step.observation.tobytes() != ticks[0].time_step.observation.tobytes()
        env = make(2, 5, 1)
        env.reset(5)
        assert stage.tick.time_step.observation.tobytes() == env.reset().observation.tobytes()
        env.close()


@MODES
def test_pause_step_and_go_on(kind):
    with Stage(kind, torque_timeout=float("inf")) as stage:
        stage.play(3)
        stage.send()
        assert not stage.stepper.allow(2), "not while it runs"
        stage.stepper.pause(True)
        assert stage.stepper.held and not stage.stepper.listening and not stage.stepper.allow(0)
        assert stage.take_told() == []
        stage.now += 10.0
        assert stage.stepper.allow(2) and stage.stepper.allowance == 2 and stage.take_told() == [("resumed",)]
        assert stage.stepper.listening
        for left in (1, 0):
            assert stage.answer() or stage.after(stage.stepper.patience())
            assert stage.stepper.allowance == left
            stage.send()
        assert stage.tick.step_id == 5 and stage.stepper.held
        assert not stage.counters["overruns"], "the time of a pause is nobody's fault"
        stage.stepper.pause(False)
        assert stage.take_told() == [("resumed",)] and stage.stepper.listening
        stage.stepper.pause(False)
        assert stage.take_told() == [], "it runs already"
        assert stage.answer() or stage.after(stage.stepper.patience())
        assert stage.play(2)[-1].step_id == 7


@MODES
def test_what_waits_is_sent_again_as_soon_as_it_goes_on(kind):
    with Stage(kind) as stage:
        stage.send()
        stage.stepper.pause(True)
        stage.stepper.pause(False)
        assert not stage.after(PERIOD + 0.001)
        assert stage.take_told() == [("resumed",), ("resend", 0)] and stage.counters == {"resent": 1}


@MODES
def test_silence_from_the_first_tick_on_is_told_and_ends(kind):
    with Stage(kind, response_timeout=0.4) as stage:
        stage.send()
        told = []
        for _ in range(9):
            assert not stage.after(0.06)
            told += stage.take_told()
        sentence = "waiting for a policy node"
        assert told == [("resend", 0), ("waiting", sentence, 0.42), ("resend", 0), ("waiting", sentence, 0.48),
                        ("waiting", sentence, 0.54)]
        assert stage.counters["resent"] == 2 and stage.tick.step_id == 0
        assert stage.answer() or stage.after(stage.stepper.patience())
        ((kind_of, seconds),) = stage.take_told()
        assert kind_of == "answered" and seconds == stage.now - 100.0
        stage.play(3)
        assert stage.take_told() == []


@MODES
def test_episodes_and_values_are_those_of_the_ledger(kind):
    env = make(2, 5, 1)
    ledger = EpisodeLedger(env.reset(5), (5, 6))
    with Stage(kind, num_envs=2) as stage:
        assert stage.send() == [], "nothing has happened yet"
        found, expected, speeds = [], [], []
        while not found:
            action = np.full((2, 8), -1 if stage.tick.step_id % 40 < 20 else 1, np.float32)
            assert stage.answer(action=action) or stage.after(stage.stepper.patience())
            expected += ledger.add(env.step(action), 3)
            found += stage.send()
            speeds.append(ledger.take_speed())
            values = stage.stepper.values()
            assert values["forward_speed"] == speeds[-1] and values["step_id"] == len(speeds)
            assert values["episode_return"] == ledger.episode_return[0]
            assert values["episode_step"] == stage.tick.time_step.step[0]
        assert found == [replace(episode, session=stage.tick.session) for episode in expected]
    env.close()


@MODES
def test_shaping_changes_rewards_and_not_returns(kind):
    with Stage(kind, shaping=True) as shaped, Stage(kind) as plain:
        for stage in (shaped, plain):
            stage.play(20)
        reward, unshaped = shaped.tick.time_step.reward, shaped.tick.time_step.info["unshaped_reward"]
        assert reward != unshaped and unshaped.tobytes() == plain.tick.time_step.reward.tobytes()
        assert shaped.stepper.values()["episode_return"] == plain.stepper.values()["episode_return"]


def test_lockstep_takes_torques_for_its_tick_only():
    with Stage() as stage:
        stage.play(3)
        stage.send()
        wrong = np.ones((1, 8), np.float32)
        assert not stage.answer(action=wrong, step_id=2) and not stage.answer(action=wrong, step_id=4)
        assert stage.counters == {"stale": 2}
        assert stage.answer() and np.array_equal(stage.tick.action, torque_of(3))
        assert stage.stepper.fresh and not stage.stepper.listening, "further ones would be for another tick"


def test_lockstep_makes_no_tick_without_torques_however_long_it_takes():
    with Stage() as stage:
        stage.play(2)
        stage.send()
        assert not any(stage.after(1000.0) for _ in range(5))
        assert stage.tick.step_id == 2 and stage.stepper.patience() == 0.1


def test_realtime_does_nothing_before_the_deadline():
    with Stage(RealTime) as stage:
        assert stage.stepper.patience() == pytest.approx(PERIOD)
        stage.send()
        stage.answer()
        stage.now += 0.03
        assert stage.stepper.patience() == pytest.approx(0.02)
        assert not stage.stepper.pass_time() and not stage.stepper.fresh
        assert stage.after(0.0201) and stage.tick.step_id == 1
        assert stage.stages.summary()["lateness"].max == pytest.approx(0.0001, abs=1e-6)


def test_realtime_keeps_to_its_grid_when_a_little_late_and_does_not_hurry_after_an_overrun():
    with Stage(RealTime, torque_timeout=10.0) as stage:
        stage.send()
        stage.answer()
        assert stage.after(PERIOD + 0.02)
        assert stage.stepper.patience() == pytest.approx(PERIOD - 0.02) and not stage.counters
        stage.send()
        stage.answer()
        assert stage.after(2.5 * PERIOD)
        assert stage.counters == {"overruns": 1} and stage.stepper.patience() == pytest.approx(PERIOD)
        assert stage.stages.summary()["lateness"].max == pytest.approx(1.5 * PERIOD + 0.02)


def test_realtime_acts_with_torques_for_an_older_observation_without_their_probability():
    extras = {"log_prob": np.array([-1], np.float32)}
    with Stage(RealTime, torque_timeout=0.12) as stage:
        stage.send()
        stage.answer(extras=extras)
        stage.after(stage.stepper.patience())
        assert stage.tick.extras is extras and not stage.counters
        stage.send()
        assert stage.after(stage.stepper.patience())
        assert np.array_equal(stage.tick.action, torque_of(0)) and stage.tick.policy_version == 3
        assert stage.tick.extras == {} and stage.counters == {"torque_gaps": 1}
        assert stage.take_told() == []


def test_realtime_answers_that_others_overtook_are_stale():
    with Stage(RealTime) as stage:
        stage.play(2)
        stage.send()
        stage.answer(step_id=1)  # answered before
        stage.answer(step_id=9)  # never asked
        assert stage.counters == {"stale": 2}
        stage.answer()
        stage.answer(action=np.ones((1, 8), np.float32))
        assert stage.counters == {"stale": 3}
        stage.after(stage.stepper.patience())
        assert np.array_equal(stage.tick.action, torque_of(2))
        assert stage.stages.summary()["round_trip"].count == 3


def test_realtime_zeroes_what_is_too_old_and_says_so_and_comes_back():
    with Stage(RealTime, torque_timeout=0.1, response_timeout=0.3) as stage:
        stage.play(5)
        told = []
        for _ in range(10):  # in half a second nobody answers
            stage.send()
            assert stage.after(stage.stepper.patience())
            told.append(stage.take_told())
        # What tick 4 asked for is 0.1 s old, too old or not by rounding, when tick 5 is due, and too old from then on.
        assert stage.counters["torque_gaps"] + stage.counters["deadline_misses"] == 10
        assert stage.counters["deadline_misses"] >= 9 and not stage.tick.action.any()
        assert stage.tick.policy_version == 0 and stage.tick.extras == {}
        spoken = [(what, seconds) for what_was_told in told for _, what, seconds in what_was_told]
        assert {what for what, _ in spoken} == {"zero torque, for there is no fresh one from a policy node"}
        assert not any(told[:7]) and all(told[8:]), "only after response_timeout"
        stage.send()
        stage.answer()
        assert stage.after(stage.stepper.patience()) and np.array_equal(stage.tick.action, torque_of(15))
        assert [name for name, _ in stage.take_told()] == ["answered"]
        stage.play(3)
        assert stage.take_told() == []


def test_realtime_zero_torque_is_no_answer():
    """Silence goes on while the robot gets zero torque, and is counted from its beginning."""
    with Stage(RealTime, response_timeout=0.05) as stage:
        stage.play(1)
        seconds = []
        for _ in range(8):
            stage.send()
            stage.after(stage.stepper.patience())
            seconds += [each for name, *_, each in stage.take_told() if name == "waiting"]
        assert len(seconds) > 4 and np.allclose(np.diff([each.expected for each in seconds]), PERIOD)
