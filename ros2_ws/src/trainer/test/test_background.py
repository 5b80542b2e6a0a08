"""Learning in a thread: everything that was taken is observed once, in order, and learned from."""

import threading

import numpy as np
import pytest

from ant_rl_core.step import Transition
from trainer.ros.background import BackgroundLearning, InlineLearning

WAIT = 20.0  # [s] bound of every wait


class FakeLearner:
    """Owes `pieces` updates per tick after the first `warm_up` ticks; an update waits until it may."""

    on_policy = False

    def __init__(self, pieces=1, warm_up=0):
        self.pieces, self.warm_up = pieces, warm_up
        self.observed, self.updates, self.version, self.owed = [], 0, 1, 0
        self.events = []
        self.may = threading.Event()
        self.may.set()
        self.learned = threading.Semaphore(0)

    @property
    def env_steps(self):
        return len(self.observed)

    def observe(self, batch):
        if np.isnan(batch.reward[0]):
            raise FloatingPointError("reward became nan")
        self.observed.append(float(batch.reward[0]))
        self.events.append("observe")
        if len(self.observed) > self.warm_up:
            self.owed += self.pieces

    def ready(self):
        return self.owed > 0

    def update(self):
        assert self.may.wait(WAIT)
        self.owed -= 1
        self.updates += 1
        self.events.append("update")
        self.version += 1
        self.learned.release()
        return {"loss": float(self.updates)}


def tick(number):
    rows, no = np.zeros((1, 2), np.float32), np.zeros(1, bool)
    return Transition(rows, rows, np.full(1, number, np.float32), no, no, rows)


@pytest.fixture
def background():
    made = []

    def make(learner):
        made.append(BackgroundLearning(learner))
        return made[-1]

    yield make
    for learning in made:
        learning.close()


def wait_for_updates(learner, count):
    for _ in range(count):
        assert learner.learned.acquire(timeout=WAIT)


@pytest.mark.parametrize("pieces", [1, 3])
def test_every_tick_is_observed_once_in_order_and_all_is_learned_that_is_owed(background, pieces):
    learner = FakeLearner(pieces, warm_up=10)
    learning = background(learner)
    for number in range(100):
        learning.take(tick(number))
    wait_for_updates(learner, 90 * pieces)
    learning.call(lambda: None).result(WAIT)
    assert learner.observed == list(range(100)) and learner.updates == 90 * pieces and learning.behind == 0
    assert [metrics["loss"] for metrics in learning.metrics()] == list(range(1, 90 * pieces + 1))
    assert learning.metrics() == []


def test_ticks_are_taken_while_an_update_lasts_and_counted_until_learned_from(background):
    learner = FakeLearner()
    learner.may.clear()
    learning = background(learner)
    for number in range(20):
        learning.take(tick(number))
    assert learning.behind == 20 and learner.updates == 0
    learner.may.set()
    wait_for_updates(learner, 20)
    assert learning.call(lambda: learner.env_steps).result(WAIT) == 20
    assert learning.behind == 0


def test_what_is_learned_does_not_depend_on_when_ticks_come(background):
    learner = FakeLearner(pieces=2)
    learner.may.clear()
    learning = background(learner)
    for number in range(5):
        learning.take(tick(number))
    learner.may.set()
    wait_for_updates(learner, 10)
    assert learner.events == 5 * ["observe", "update", "update"]


def test_what_a_restored_learner_owes_comes_before_the_next_tick(background):
    learner = FakeLearner(pieces=2)
    learner.owed = 2
    learner.may.clear()
    learning = background(learner)
    learning.take(tick(0))
    learner.may.set()
    wait_for_updates(learner, 4)
    assert learner.events == ["update", "update", "observe", "update", "update"]


def test_in_line_the_same_is_learned_in_the_same_order():
    learner, between = FakeLearner(pieces=2), []
    learner.owed = 1
    learning = InlineLearning(learner, lambda: between.append("before"),
                              lambda: between.append(("after", learning.behind)))
    assert learning.behind == 1
    learning.learn()
    for number in range(2):
        learning.take(tick(number))
    assert learner.events == ["update", *2 * ["observe", "update", "update"]] and learning.behind == 0
    assert between == ["before", ("after", 0), *2 * ["before", ("after", 1), "before", ("after", 0)]]
    assert [metrics["loss"] for metrics in learning.metrics()] == [1, 2, 3, 4, 5] and learning.metrics() == []
    assert learning.call(lambda: learner.env_steps).result() == 2
    learning.close()


def test_a_call_comes_before_what_waits_and_never_within_an_update(background):
    learner = FakeLearner()
    learner.may.clear()
    learning = background(learner)
    learning.take(tick(0))
    learning.take(tick(1))
    call = learning.call(lambda: (learner.updates, threading.current_thread().name))
    assert not call.done()
    learner.may.set()
    updates, thread = call.result(WAIT)
    assert updates <= 2 and thread == "learning"


def test_what_fails_in_a_call_is_the_callers(background):
    learner = FakeLearner()
    learning = background(learner)
    with pytest.raises(ZeroDivisionError):
        learning.call(lambda: 1 / 0).result(WAIT)
    learning.take(tick(0))
    wait_for_updates(learner, 1)


def test_lost_numbers_end_the_learning_and_say_so(background):
    learner = FakeLearner()
    learning = background(learner)
    learning.take(tick(0))
    wait_for_updates(learner, 1)
    learning.take(tick(float("nan")))
    learning._thread.join(WAIT)
    for ask in (learning.metrics, learning.call(lambda: None).result):
        with pytest.raises(FloatingPointError, match="reward became nan"):
            ask()
