"""The collector: what came over the network, once, in step, and of the right policy."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from ant_rl_core.spec import RobotSpec
from ant_rl_core.step import TimeStep, Transition, transition, unshaped_reward
from ant_rl_core.testing import FakeVectorEnv
from trainer.ros import collector as module
from trainer.ros.collector import Collector

SPEC = RobotSpec("fake", 6, 2, 1.0)


@dataclass(frozen=True)
class FakeTick:
    """As `ant_rl_ros.messages.Tick`, without ROS."""

    session: int
    step_id: int
    time_step: TimeStep
    action: np.ndarray | None
    policy_version: int = 1
    tasks_told: int = 0

    @property
    def num_envs(self) -> int:
        return len(self.time_step.reward)

    def transition_from(self, before) -> Transition | None:
        if self.action is None or before.session != self.session or before.step_id + 1 != self.step_id:
            return None
        return transition(before.time_step, self.action, self.time_step, {"log_prob": self.time_step.reward},
                          self.policy_version)


class ShapedTick(FakeTick):
    """A tick of an environment that shapes rewards: the default one is greater by 10."""

    def transition_from(self, before) -> Transition | None:
        made = super().transition_from(before)
        return made and replace(made, extras={**made.extras, "unshaped_reward": made.reward + 10})


def ticks(count, num_envs=1, session=1, version=1):
    """Consecutive ticks; the action that led to tick k is k / 100."""
    env = FakeVectorEnv(num_envs, lengths=(4,), spec=SPEC)
    found = [FakeTick(session, 0, env.reset(), None, 0)]
    for k in range(1, count):
        action = np.full((num_envs, 2), k / 100, np.float32)
        found.append(FakeTick(session, k, env.step(action), action, version))
    return found


def drain(collector):
    found = []
    while (batch := collector.next_batch()) is not None:
        found.append(batch)
    return found


def numbers(batches, row=0):
    return [round(100 * float(batch.action[row, 0])) for batch in batches]


def test_consecutive_ticks_become_transitions_once():
    collector, expected = Collector(["a"]), ticks(10)
    assert collector.num_envs() is None
    for tick in expected:
        collector.add("a", tick, 1)
    batches = drain(collector)
    assert numbers(batches) == list(range(1, 10)) and collector.num_envs() == 1
    for before, after, batch in zip(expected[:-1], expected[1:], batches, strict=True):
        assert np.array_equal(batch.observation, before.time_step.observation)
        assert np.array_equal(batch.next_observation, after.time_step.final_observation)
        assert np.array_equal(batch.reward, after.time_step.reward)
    assert (collector.dropped_rows, collector.gaps) == (0, 0)


def test_a_tick_sent_again_is_passed_over():
    collector = Collector(["a"])
    for tick in ticks(6):
        collector.add("a", tick, 1)
        collector.add("a", tick, 1)
    assert numbers(drain(collector)) == [1, 2, 3, 4, 5]
    assert (collector.dropped_rows, collector.gaps) == (0, 0)


def test_a_gap_is_counted_and_nothing_is_joined_across_it():
    collector = Collector(["a"])
    for tick in ticks(10, num_envs=3):
        if tick.step_id not in (4, 5):
            collector.add("a", tick, 1)
    assert numbers(drain(collector)) == [1, 2, 3, 7, 8, 9]
    assert (collector.dropped_rows, collector.gaps) == (3 * 3, 2)


def test_an_environment_that_starts_again_is_joined_to_nothing_before():
    collector = Collector(["a"])
    for tick in [*ticks(4), *ticks(4, session=2)]:
        collector.add("a", tick, 1)
    assert numbers(drain(collector)) == [1, 2, 3, 1, 2, 3]
    assert (collector.dropped_rows, collector.gaps) == (1, 0)


def test_transitions_of_another_policy_version_are_dropped_and_counted():
    collector = Collector(["a"])
    for tick, version in zip(ticks(9, num_envs=2), [1, 1, 1, 2, 2, 1, 1, None, None], strict=True):
        collector.add("a", tick, version)
    assert numbers(drain(collector)) == [1, 2, 5, 6, 7, 8]
    assert (collector.dropped_rows, collector.gaps) == (4, 0)


def test_sources_of_different_speed_are_put_side_by_side_in_order():
    collector = Collector(["b", "a"])
    fast, slow = iter(ticks(9, num_envs=2)), iter(ticks(4, num_envs=1))
    collector.add("b", next(fast), 1)
    assert collector.num_envs() is None
    collector.add("a", next(slow), 1)
    assert collector.num_envs() == 3
    for _ in range(8):
        collector.add("b", next(fast), 1)
    assert collector.next_batch() is None
    for _ in range(3):
        collector.add("a", next(slow), 1)
    batches = drain(collector)
    assert numbers(batches, row=0) == numbers(batches, row=2) == [1, 2, 3]
    assert [batch.observation[:, 0].tolist() for batch in batches] == [[0, 1, 0]] * 3
    assert all(batch.extras["log_prob"].tolist() == batch.reward.tolist() for batch in batches)
    assert collector.dropped_rows == 0
    collector.drop_waiting()
    assert collector.dropped_rows == 5 * 2 and drain(collector) == []


def test_where_only_some_sources_shape_rewards_the_default_reward_is_that_of_each():
    collector = Collector(["shaped", "plain"])
    for shaped, plain in zip(ticks(4, num_envs=2), ticks(4), strict=True):
        collector.add("shaped", ShapedTick(**vars(shaped)), 1)
        collector.add("plain", plain, 1)
    for batch in drain(collector):
        assert unshaped_reward(batch).tolist() == (batch.reward + [10, 10, 0]).tolist()


def test_what_waits_for_a_silent_source_is_bounded_and_the_oldest_go(monkeypatch):
    monkeypatch.setattr(module, "_MAX_WAITING", 5)
    collector = Collector(["a", "b"])
    for tick in ticks(12, num_envs=2):
        collector.add("a", tick, 1)
    assert collector.dropped_rows == 2 * (11 - 5)
    for tick in ticks(12):
        collector.add("b", tick, 1)
    batches = drain(collector)
    assert numbers(batches, row=0) == numbers(batches, row=2) == [7, 8, 9, 10, 11]


def test_an_unknown_source_is_an_error():
    with pytest.raises(KeyError):
        Collector(["a"]).add("b", ticks(1)[0], 1)


def test_of_two_environments_on_one_topic_the_first_is_learned_from():
    collector, alone = Collector(["a"]), Collector(["a"])
    own, other = ticks(40), ticks(40, session=2)
    for mine, theirs in zip(own, other, strict=True):
        for tick in (mine, theirs):
            if collector.admits("a", tick):
                collector.add("a", tick, 1)
        alone.add("a", mine, 1)
    assert collector.contested == ["a"] and alone.contested == []
    found, expected = drain(collector), drain(alone)
    assert len(found) == len(expected) - 1, "the one tick at which it looked like a new start"
    for one, same in zip(found, expected[1:], strict=True):
        assert np.array_equal(one.observation, same.observation) and np.array_equal(one.action, same.action)
    assert collector.dropped_rows >= 38
