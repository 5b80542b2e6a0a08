"""Tasks come on a topic of their own: each transition has the one it was made in, whichever of the two came first."""

from dataclasses import replace

import numpy as np
import pytest

from ant_rl_core.settings import ArgumentError
from ant_rl_core.spec import RobotSpec
from ant_rl_core.testing import FakeVectorEnv
from ant_rl_core.tick import RowTasks, Tick
from trainer.ros.collector import Collector
from trainer.ros.session import Session
from trainer.runs.train_config import choose_over_ros

SPEC = RobotSpec("fake", 6, 2, 1.0)
# Tick and task by the number of the message: before the first, between two, twice at one tick, at two ticks in a row.
CHANGES = {1: (0, 1.0), 2: (3, 2.0), 3: (6, 3.0), 4: (6, 4.0), 5: (7, 5.0)}


def told(number, session=1):
    step_id, value = CHANGES[number]
    return RowTasks(session, number, step_id, ("t",) * 2, ("{}",) * 2, np.zeros(2, np.int64), np.zeros(2, bool),
                    np.full((2, 3), value, np.float32))


def ticks(count=12, newest=lambda step_id: max(number for number, (at, _) in CHANGES.items() if at <= step_id)):
    env, action = FakeVectorEnv(2, lengths=(4,), spec=SPEC), np.zeros((2, 2), np.float32)
    found = [Tick(1, 0, env.reset(), tasks_told=newest(0))]
    for step_id in range(1, count):
        found.append(Tick(1, step_id, env.step(action), action, {}, 1, newest(step_id)))
    return found


def as_sent(late):
    """Ticks and what is told of tasks in the order of their sending, or the latter so many ticks later.

    An observation that is sent before a task is given, as by hand, names the one before.
    """
    found = []
    for tick in ticks(newest=lambda step: max(number for number, (at, _) in CHANGES.items() if at < max(step, 1))):
        found.append((tick.step_id - 0.5 if tick.step_id == 0 else tick.step_id, tick))
    found += [(at + 0.25 + 0.01 * number + late - (at == 0), told(number)) for number, (at, _) in CHANGES.items()]
    return [each for _, each in sorted(found, key=lambda entry: entry[0])]


def expected():
    """The newest task at each tick that was answered."""
    return [[value for at, value in CHANGES.values() if at <= step_id][-1] for step_id in range(11)]


def tasks_of(collector):
    found = []
    while (batch := collector.next_batch()) is not None:
        assert (batch.task == batch.task[0, 0]).all()
        found.append(float(batch.task[0, 0]))
    return found


@pytest.mark.parametrize("late", [0, 1, 2, 5])
def test_each_transition_has_the_task_that_its_action_acted_in(late):
    session = Session(lambda rows: pytest.fail("made"), False, 100, ["a"], None)
    collector, taken = session._collector, []
    session._take = lambda source, tick: (collector.add(source, tick, None), taken.append(tick.step_id)) != ()
    for each in as_sent(late):
        (session.take if isinstance(each, Tick) else session.tell)("a", each)
    assert taken == list(range(12)) and tasks_of(collector) == expected()
    assert (collector.dropped_rows, collector.gaps) == (0, 0)


def test_what_was_told_before_anybody_listened_is_not_learned_from():
    collector = Collector(["a"])
    for number in (4, 5):
        collector.tell("a", told(number))
    for tick in ticks()[4:]:
        assert collector.knows("a", tick)
        collector.add("a", tick, None)
    assert tasks_of(collector) == expected()[6:] and collector.dropped_rows == 2 * 2


def test_without_tasks_nothing_is_waited_for_and_none_are_told():
    collector = Collector(["a", "b"])
    for tick in ticks(3, newest=lambda step_id: 0):
        assert collector.knows("a", tick)
        collector.add("a", tick, None)
    collector.tell("b", told(1))
    for tick in ticks(3):
        collector.add("b", tick, None)
    assert collector.next_batch().task is None, "one of the two has none"


def test_tasks_of_several_environments_stand_side_by_side():
    collector = Collector(["a", "b"])
    for source, value in (("a", 1.0), ("b", 2.0)):
        collector.tell(source, replace(told(1), vectors=np.full((2, 3), value, np.float32)))
        for tick in ticks(2):
            collector.add(source, tick, None)
    assert collector.next_batch().task[:, 0].tolist() == [1, 1, 2, 2]


def test_a_method_whose_teacher_acts_itself_is_refused_over_ros_in_a_sentence(tmp_path):
    with pytest.raises(ArgumentError, match="^algorithm must be a method that learns from what policies did, found "
                                            "guided_rl2, .*: use ./run train guided_rl2 tasks:=NAME$"):
        choose_over_ros("guided_rl2", {}, str(tmp_path), 0, 0, False)
