"""Buffers: numbers that tell where they came from go in, and exactly these come out."""

import numpy as np
import pytest

from ant_rl_core.spec import RobotSpec
from ant_rl_core.step import Transition, transition
from ant_rl_core.testing import FakeVectorEnv
from trainer.buffers.replay import ReplayBuffer
from trainer.buffers.rollout import RolloutBuffer, generalized_advantages

SPEC = RobotSpec("fake", 6, 2, control_period=1.0)


def numbered(first, rows, terminated=None, truncated=None):
    """Transitions whose action is their number, their value (as reward) ten times that."""
    number = np.arange(first, first + rows, dtype=np.float32)
    no = np.zeros(rows, bool)
    return Transition(observation=np.repeat(number[:, None], 6, axis=1), action=np.repeat(number[:, None], 2, axis=1),
                      reward=10 * number, terminated=no if terminated is None else terminated,
                      truncated=no if truncated is None else truncated,
                      next_observation=np.repeat(number[:, None] + 0.5, 6, axis=1))


def transitions(env, ticks):
    """Consecutive transitions of a fake environment under numbered actions."""
    before = env.reset()
    for tick in range(ticks):
        action = np.full((env.num_envs, env.action_size), (tick + 1) / 1000, np.float32)
        after = env.step(action)
        yield transition(before, action, after, {}, 1)
        before = after


# -- rollout -----------------------------------------------------------------------------------------------------------

def test_rollout_holds_every_transition_once_in_its_place():
    buffer = RolloutBuffer(5, 3, 6, 2)
    for tick in range(5):
        assert not buffer.full
        buffer.add(numbered(3 * tick, 3))
    assert buffer.full
    number = np.arange(15, dtype=np.float32).reshape(5, 3)
    assert np.array_equal(buffer.action, np.repeat(number[..., None], 2, axis=2))
    assert np.array_equal(buffer.observation, np.repeat(number[..., None], 6, axis=2))
    assert np.array_equal(buffer.reward, 10 * number)
    assert np.array_equal(buffer.next_observation[..., 0], number + 0.5)


def test_rollout_refuses_a_tick_too_many_and_another_number_of_rows():
    buffer = RolloutBuffer(1, 2, 6, 2)
    with pytest.raises(ValueError, match="2 rows, found 1"):
        buffer.add(numbered(0, 1))
    buffer.add(numbered(0, 2))
    with pytest.raises(RuntimeError, match="full"):
        buffer.add(numbered(2, 2))
    buffer.clear()
    buffer.add(numbered(4, 2))
    assert buffer.action[0, 0, 0] == 4


def test_cuts_are_where_episodes_end_where_ticks_are_missing_and_at_the_last_tick():
    env = FakeVectorEnv(2, lengths=(3, 5), spec=SPEC)
    buffer, kinds = RolloutBuffer(9, 2, 6, 2), set()
    for tick, batch in enumerate(transitions(env, 10)):
        kinds |= {"terminated"} if batch.terminated.any() else set()
        kinds |= {"truncated"} if batch.truncated.any() else set()
        if tick != 6:  # lost on the way
            buffer.add(batch)
    ticks = np.array([0, 1, 2, 3, 4, 5, 7, 8, 9])
    expected = np.stack([ticks % 3 == 2, ticks % 5 == 4], axis=1)
    expected[5] = True  # the tick after it is missing
    expected[-1] = True
    assert np.array_equal(buffer.cuts(), expected)
    assert kinds == {"terminated", "truncated"}


def direct_advantages(reward, value, next_value, terminated, cut, discount, gae_lambda):
    """The definition, summed term by term in float64: sum over k of (discount * lambda)^k * delta[t + k]."""
    advantage = np.zeros(reward.shape)
    for t, row in np.ndindex(*reward.shape):
        weight = 1.0
        for s in range(t, len(reward)):
            successor = 0.0 if terminated[s, row] else float(next_value[s, row])
            advantage[t, row] += weight * (float(reward[s, row]) + discount * successor - float(value[s, row]))
            if cut[s, row]:
                break
            weight *= discount * gae_lambda
    return advantage


@pytest.mark.parametrize(("discount", "gae_lambda"), [(0.99, 0.95), (0.9, 1.0), (1.0, 0.5), (0.97, 0.0)])
def test_advantages_equal_the_direct_sum(discount, gae_lambda):
    rng = np.random.default_rng(1)
    shape = (40, 4)
    reward, value, next_value = rng.normal(0, 2, (3, *shape)).astype(np.float32)
    terminated, truncated, gap = rng.random((3, *shape)) < 0.08
    cut = terminated | truncated | gap
    cut[-1] = True
    found = generalized_advantages(reward, value, next_value, terminated, cut, discount, gae_lambda)
    expected = direct_advantages(reward, value, next_value, terminated, cut, discount, gae_lambda)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)
    # The cases that the sum tells apart are all there.
    assert (terminated & ~truncated).any() and (truncated & ~terminated).any() and (gap & ~terminated).any()


# -- replay ------------------------------------------------------------------------------------------------------------

def stored(buffer):
    """Numbers that a buffer holds, each checked against its other fields."""
    rows = slice(0, buffer.size)
    number = buffer.action[rows, 0]
    assert np.array_equal(buffer.reward[rows], 10 * number)
    assert np.array_equal(buffer.observation[rows], np.repeat(number[:, None], 6, axis=1))
    assert np.array_equal(buffer.next_observation[rows, 0], number + 0.5)
    return sorted(number.astype(int).tolist())


@pytest.mark.parametrize("rows", [1, 3, 4, 7, 10])
def test_replay_keeps_the_last_transitions_exactly_once(rows):
    buffer = ReplayBuffer(10, 6, 2, seed=0)
    for first in range(0, 5 * rows, rows):
        buffer.add(numbered(first, rows))
        added = first + rows
        assert stored(buffer) == list(range(max(0, added - 10), added))


def test_replay_wraps_around_with_uneven_row_counts():
    buffer, added = ReplayBuffer(10, 6, 2, seed=0), 0
    for rows in (3, 4, 5, 1, 10, 2, 9):
        buffer.add(numbered(added, rows))
        added += rows
        assert stored(buffer) == list(range(max(0, added - 10), added))


def test_replay_draws_what_was_written_only_and_whole_rows():
    buffer = ReplayBuffer(100, 6, 2, seed=0)
    buffer.add(numbered(1, 7))
    batch = buffer.sample(2000)
    assert set(batch.action[:, 0].astype(int)) == set(range(1, 8))
    assert np.array_equal(batch.reward, 10 * batch.action[:, 0])
    assert np.array_equal(batch.next_observation[:, 3], batch.observation[:, 3] + 0.5)
    assert batch.observation.dtype == batch.reward.dtype == batch.bootstrap.dtype == np.float32


def test_replay_draws_uniformly():
    buffer = ReplayBuffer(50, 6, 2, seed=4)
    buffer.add(numbered(0, 30))
    buffer.add(numbered(30, 35))
    draws = np.bincount(buffer.sample(50_000).action[:, 0].astype(int), minlength=65)[15:]
    chi_square = np.sum((draws - 1000) ** 2 / 1000)
    assert draws.sum() == 50_000
    assert 23.98 < chi_square < 85.35  # 0.1 % and 99.9 % of the distribution with 49 degrees of freedom


def test_replay_refuses_too_many_rows_draws_from_nothing_and_no_capacity():
    buffer = ReplayBuffer(3, 6, 2, seed=0)
    with pytest.raises(ValueError, match="empty"):
        buffer.sample(1)
    with pytest.raises(ValueError, match="at most 3 rows.*found 4"):
        buffer.add(numbered(0, 4))
    with pytest.raises(ValueError, match="at least 1, found 0"):
        ReplayBuffer(0, 6, 2, seed=0)


def test_replay_bootstraps_after_a_time_limit_but_not_after_a_true_end():
    buffer = ReplayBuffer(4, 6, 2, seed=0)
    buffer.add(numbered(0, 4, terminated=np.array([False, True, False, True]),
                        truncated=np.array([False, False, True, True])))
    assert buffer.bootstrap.tolist() == [1.0, 0.0, 1.0, 0.0]


@pytest.mark.parametrize("added", [5, 10, 13])
def test_replay_continues_its_draws_exactly_after_restore(added):
    unbroken = ReplayBuffer(10, 6, 2, seed=5)
    for first in range(added):
        unbroken.add(numbered(first, 1))
    unbroken.sample(3)
    other = ReplayBuffer(10, 6, 2, seed=99)
    other.restore({name: np.array(array) for name, array in unbroken.save().items()})
    for first in range(added, added + 20):
        assert np.array_equal(unbroken.sample(4).action, other.sample(4).action)
        unbroken.add(numbered(first, 1))
        other.add(numbered(first, 1))
    assert stored(unbroken) == stored(other)


def test_replay_restored_into_a_larger_one_goes_on_with_the_oldest_first():
    small = ReplayBuffer(10, 6, 2, seed=0)
    for first in range(13):
        small.add(numbered(first, 1))
    large = ReplayBuffer(16, 6, 2, seed=0)
    large.restore(small.save())
    for first in range(13, 40):
        large.add(numbered(first, 1))
        assert stored(large) == list(range(max(3, first - 15), first + 1))
    with pytest.raises(ValueError, match="holds 16 transitions, this one at most 10"):
        small.restore(large.save())
