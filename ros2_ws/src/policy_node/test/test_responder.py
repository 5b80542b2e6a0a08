"""One observation in, one answer out: each tick once, memory per session, the actor exchanged between ticks only."""

from collections import Counter

import numpy as np
import pytest
from builtin_interfaces.msg import Time

from ant_rl_core.spec import ANT
from ant_rl_core.step import Previous
from ant_rl_core.testing import FakeActor, FakeVectorEnv
from ant_rl_core.tick import Tick
from ant_rl_core.timing import StageTimer
from ant_rl_ros.messages import decode_observation, encode_observation
from policy_node.responder import Responder
from policy_node.slot import ActorSlot, Loaded


def stamp():
    return Time(sec=7)


class Run:
    """A responder with fake actors, fed by a fake environment."""

    def __init__(self, num_envs=2, session=11, **actor):
        self.counters, self.stages = Counter(), StageTimer()
        self.slot = ActorSlot(lambda checked: None, ANT)
        self.responder = Responder(self.slot, ANT, 99, self.counters, self.stages)
        self.kept = None
        self.run_actor(FakeActor(**{"version": 1, "recurrent": True, **actor}))
        self.start(session, num_envs)

    def run_actor(self, actor):
        self.slot.current = Loaded(actor, "")

    def start(self, session, num_envs=2, episodes_per_trial=1):
        self.env = FakeVectorEnv(num_envs, lengths=(3, 4), episodes_per_trial=episodes_per_trial)
        self.tick = Tick(session, 0, self.env.reset())
        self.kept = None

    def answer(self, tick=None):
        """As a policy node does with what comes over the wire."""
        message = encode_observation(tick or self.tick, stamp())
        standing = self.responder.standing(message.session, message.step_id)
        if standing == "new":
            self.kept = self.responder.answer(decode_observation(message, ANT))
        return None if standing == "outdated" else self.kept

    def step(self, action, version=1):
        self.tick = Tick(self.tick.session, self.tick.step_id + 1, self.env.step(action), action,
                         policy_version=version)


def test_answers_are_the_actors_with_the_ids_of_the_tick():
    run, reference = Run(), FakeActor(version=1, recurrent=True)
    state, previous = reference.initial_state(2), Previous.none(2, 8)
    for tick in range(12):
        answer = run.answer()
        step = run.tick.time_step
        action, _, state = reference.act(step.observation, previous, state, step.step == 0)
        assert np.array_equal(answer.action, action)
        assert (answer.session, answer.step_id, answer.policy_version, answer.policy_node) == (11, tick, 1, 99)
        assert answer.inference_time > 0 and not answer.extras
        run.step(answer.action)
        previous = Previous(action, run.tick.time_step.reward, run.tick.time_step.done)
    assert run.counters == {"answered": 12} and run.stages.summary()["inference"].count == 12


def test_a_tick_that_was_answered_gets_the_kept_answer_and_nothing_advances():
    run, undisturbed = Run(explore=True), Run(explore=True)
    for _ in range(5):
        first = run.answer()
        again = [run.answer() for _ in range(3)]
        expected = undisturbed.answer()
        for other in (*again, expected):
            assert np.array_equal(other.action, first.action) and other.step_id == first.step_id
            assert np.array_equal(other.extras["log_prob"], first.extras["log_prob"])
        assert [other.inference_time for other in again] == [first.inference_time] * 3
        run.step(first.action)
        undisturbed.step(first.action)
    assert run.slot.current.actor.calls == 5 and run.counters == {"answered": 5, "resent": 15}


def test_a_tick_that_was_overtaken_is_not_answered():
    run = Run()
    old = run.tick
    run.step(run.answer().action)
    run.answer()
    assert run.answer(old) is None and run.counters["outdated"] == 1
    assert run.slot.current.actor.calls == 2


def test_a_new_session_forgets_what_was():
    run, fresh = Run(), Run(session=12)
    for _ in range(2):
        run.step(run.answer().action)
    run.start(session=12)
    run.tick = Tick(12, 0, run.tick.time_step)
    assert np.array_equal(run.answer().action, fresh.answer().action)
    step = fresh.env.step(np.zeros((2, 8), np.float32))
    late = Tick(13, 40, step, np.zeros((2, 8), np.float32))  # another run again, in the middle of an episode
    assert np.array_equal(run.answer(late).action, Run().answer(late).action)


def test_another_number_of_robots_starts_anew():
    run = Run(num_envs=2)
    run.step(run.answer().action)
    run.env = FakeVectorEnv(3)
    run.tick = Tick(11, 2, run.env.reset())
    assert run.answer().action.shape == (3, 8) and run.slot.num_envs == 3


def test_the_actor_is_exchanged_between_ticks_and_starts_with_an_empty_memory():
    run = Run()
    run.step(run.answer().action)
    run.slot._ready = Loaded(FakeActor(version=2, recurrent=True), "")
    answer, again = run.answer(), run.answer()
    assert (answer.policy_version, again.policy_version) == (2, 2)
    expected = FakeActor(version=2, recurrent=True)
    action, _, _ = expected.act(run.tick.time_step.observation, run.tick.previous(8), expected.initial_state(2),
                                run.tick.reset_mask)
    assert np.array_equal(answer.action, action) and run.counters["swaps"] == 1


def test_a_kept_answer_keeps_the_version_that_gave_it():
    run = Run()
    first = run.answer()
    run.slot._ready = Loaded(FakeActor(version=2, recurrent=True), "")
    again = run.answer()
    assert again.policy_version == 1 and np.array_equal(again.action, first.action)
    run.step(first.action)
    assert run.answer().policy_version == 2


def test_without_an_actor_there_is_no_answer_until_one_comes():
    run = Run()
    actor, run.slot.current = run.slot.current, None
    assert run.answer() is None and not run.counters
    run.slot.current = actor
    assert run.answer().step_id == 0


def test_wrong_observations_are_refused_and_change_nothing():
    run, undisturbed = Run(), Run()
    run.step(run.answer().action)
    undisturbed.step(undisturbed.answer().action)
    wrong = encode_observation(run.tick, stamp())
    wrong.observation = wrong.observation[:54]  # 27 per robot
    assert run.responder.standing(wrong.session, wrong.step_id) == "new"
    with pytest.raises(ValueError, match="observation must have 210 values .2 x 105., found 54"):
        decode_observation(wrong, ANT)
    assert np.array_equal(run.answer().action, undisturbed.answer().action)


def test_unsafe_actions_are_made_safe_and_counted():
    run = Run()
    actor = run.slot.current.actor
    unsafe = np.zeros((2, 8), np.float32)
    unsafe[0, :2], unsafe[1, 0] = (2, -3), np.nan
    actor.expected = lambda *_: unsafe
    assert run.answer().action.tolist() == [[1, -1, 0, 0, 0, 0, 0, 0], [0] * 8]
    assert run.counters == {"answered": 1, "clipped": 2, "zeroed": 1}


def test_what_the_actor_reports_is_sent():
    run = Run(explore=True)
    assert run.answer().extras["log_prob"].tolist() == [-1, -1]
    assert run.answer().extras["value"].tolist() == [10, 10]


def ticks_in_memory(run):
    """How many ticks each row's memory has seen, this one included: what a `FakeActor` counts in its state."""
    return run.responder._state.tolist()


def test_memory_lasts_across_the_episodes_of_a_trial_and_ends_with_it():
    run, reference = Run(), FakeActor(version=1, recurrent=True)
    run.start(session=11, episodes_per_trial=2)
    state, previous, seen = reference.initial_state(2), Previous.none(2, 8), []
    for _ in range(18):
        answer = run.answer()
        seen.append(ticks_in_memory(run))
        action, _, state = reference.act(run.tick.time_step.observation, previous, state, run.tick.reset_mask)
        assert np.array_equal(answer.action, action)
        run.step(answer.action)
        previous = run.tick.previous(8)
    # Trials of two episodes with 3 and with 4 steps.
    assert np.array_equal(seen, np.stack([np.arange(18) % 6 + 1, np.arange(18) % 8 + 1], axis=1))


@pytest.mark.parametrize("missed", [1, 3, 5, 6, 7])
def test_a_missed_tick_drops_no_memory_and_hides_no_end(missed):
    """Episodes of 3 steps, trials of 6: what is missed lies inside, at an episode's first tick, at a trial's first."""
    run = Run(num_envs=1)
    run.start(session=11, num_envs=1, episodes_per_trial=2)
    given, act = [], run.slot.current.actor.act

    def listening(observation, previous, state, reset_mask):
        given.append((run.tick.step_id, bool(previous.done[0]), bool(reset_mask[0])))
        return act(observation, previous, state, reset_mask)
    run.slot.current.actor.act = listening
    for tick in range(10):
        if tick != missed:
            run.answer()
        run.step(np.zeros((1, 8), np.float32))
    late = {missed: missed + 1}  # what would have been told there is told with the next tick
    assert [tick for tick, done, _ in given if done] == [late.get(tick, tick) for tick in (3, 6, 9)]
    assert [tick for tick, _, fresh in given if fresh] == [late.get(tick, tick) for tick in (0, 6)]
    assert ticks_in_memory(run) == [10 - late.get(6, 6) - (missed > 6)]


@pytest.mark.parametrize("before, after, seen", [("a", "a", 4), ("a", "b", 1), (None, None, 1), ("a", None, 1)])
def test_an_exchanged_actor_goes_on_with_the_memory_of_its_kin_only(before, after, seen):
    run = Run(memory_id=before)
    run.start(session=11, episodes_per_trial=5)
    for _ in range(3):
        run.step(run.answer().action)
    run.slot._ready = Loaded(FakeActor(version=2, recurrent=True, memory_id=after), "")
    assert run.answer().policy_version == 2 and ticks_in_memory(run) == [seen, seen]
    run.step(np.zeros((2, 8), np.float32))
    run.answer()
    assert ticks_in_memory(run) == [seen + 1, seen + 1]


def test_without_a_memory_each_tick_is_a_first_one_and_it_comes_and_goes_at_run_time():
    run, given = Run(), []
    act = run.slot.current.actor.act
    run.slot.current.actor.act = lambda *arguments: (given.append(arguments), act(*arguments))[1]
    run.start(session=11, episodes_per_trial=5)
    for off in (False, False, True, True, False, False):
        run.responder.memory_off = off
        run.step(run.answer().action)
    assert [arguments[3].all() for arguments in given] == [True, False, True, True, False, False]
    assert ticks_in_memory(run) == [3, 3], "it goes on with what the last tick without one left"


def test_an_actor_that_takes_no_memory_over_is_told_of_no_time_before():
    run, given = Run(), []
    run.step(run.answer().action)
    actor = FakeActor(version=2, recurrent=True)
    actor.act = lambda *arguments: (given.append(arguments), FakeActor.act(actor, *arguments))[1]
    run.slot._ready = Loaded(actor, "")
    run.answer()
    run.step(np.zeros((2, 8), np.float32))
    run.answer()
    assert [arguments[3].tolist() for arguments in given] == [[True, True], [False, False]]


def test_of_two_environments_at_once_the_first_is_answered():
    run, undisturbed = Run(), Run()
    first = [run.answer(), undisturbed.answer()]
    for each, answer in zip((run, undisturbed), first, strict=True):
        each.step(answer.action)
    run.answer(), undisturbed.answer()
    other = FakeVectorEnv(2, lengths=(3, 4))
    taken = [run.answer(Tick(12, 0, other.reset()))]  # it may have been started anew …
    assert taken[0].session == 12 and run.responder.sessions.rival is None
    run.step(first[0].action)
    assert run.answer().session == 11  # … but the first goes on
    assert run.responder.sessions.rival == 12
    for step_id in range(1, 10):
        assert run.responder.standing(12, step_id) == "foreign"
        run.step(first[0].action)
        assert run.answer().step_id == run.tick.step_id
    assert run.counters["foreign"] == 9
