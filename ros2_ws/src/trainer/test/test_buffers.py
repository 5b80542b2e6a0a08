"""Buffers: numbers that tell where they came from go in, and exactly these come out."""

import numpy as np
import pytest

from ant_rl_core.spec import ANT, RobotSpec
from ant_rl_core.step import Previous, Transition, transition
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


STATES = [(3,), (2, 2)]


def remembered(env, ticks):
    """Consecutive transitions with states that tell their tick and what happened before; the state is never zero."""
    before, previous = env.reset(), Previous.none(env.num_envs, env.action_size)
    for tick in range(ticks):
        action = np.full((env.num_envs, env.action_size), (tick + 1) / 1000, np.float32)
        after = env.step(action)
        state = tuple(np.full((env.num_envs, *shape), tick + 1, np.float32) for shape in STATES)
        yield transition(before, action, after, {}, 1, previous, state)
        before, previous = after, Previous(action, after.reward, after.done)


def test_a_rollout_keeps_states_and_what_happened_before_zeros_where_trials_begin():
    env = FakeVectorEnv(2, lengths=(3, 5), spec=SPEC, episodes_per_trial=2)
    buffer = RolloutBuffer(14, 2, 6, 2, STATES)
    for batch in remembered(env, 14):
        buffer.add(batch)
    tick = np.arange(14)[:, None]
    first = np.concatenate([tick % 6 == 0, tick % 10 == 0], axis=1)
    assert np.array_equal(buffer.trial_first, first)
    for kept, shape in zip(buffer.states, STATES, strict=True):
        assert kept.shape == (14, 2, *shape) and kept.dtype == np.float32
        expected = np.where(first, 0, tick + 1).reshape(14, 2, *[1] * len(shape))
        assert np.array_equal(kept, np.broadcast_to(expected, kept.shape))
    assert np.array_equal(buffer.previous_action, np.where(first, 0, tick / 1000)[..., None].repeat(2, 2).astype("f"))
    assert np.array_equal(buffer.previous_reward[1:], np.where(first, 0, np.roll(buffer.reward, 1, 0))[1:])
    ended = np.concatenate([tick % 3 == 0, tick % 5 == 0], axis=1)
    assert np.array_equal(buffer.previous_done, ended & ~first)


def test_sums_over_time_run_across_episodes_within_a_trial_unless_ticks_are_missing():
    for lost in (None, 2, 3, 5, 6, 7):  # an episode's last, its first, a trial's last, its first, within
        env = FakeVectorEnv(2, lengths=(3, 5), spec=SPEC, episodes_per_trial=2)
        buffer = RolloutBuffer(13, 2, 6, 2, STATES)
        for tick, batch in enumerate(remembered(env, 13 + (lost is not None))):
            if tick != lost:
                buffer.add(batch)
        ticks = np.array([tick for tick in range(13 + (lost is not None)) if tick != lost])
        expected = np.stack([ticks % 6 == 5, ticks % 10 == 9], axis=1)
        expected[-1] = True
        if lost is not None:
            expected[lost - 1] = True
        assert np.array_equal(buffer.trial_cuts(), expected), lost


def test_a_saved_rollout_with_states_goes_on():
    env = FakeVectorEnv(2, lengths=(3, 5), spec=SPEC, episodes_per_trial=2)
    whole, begun, other = (RolloutBuffer(9, 2, 6, 2, STATES) for _ in range(3))
    for tick, batch in enumerate(remembered(env, 9)):
        whole.add(batch)
        (begun if tick < 4 else other).add(batch)
        if tick == 3:
            saved = begun.save()
            other.restore(saved)
    assert set(saved) >= {"rollout_trial_first", "rollout_previous_done", "rollout_state_0", "rollout_state_1"}
    for name, array in whole.save().items():
        assert np.array_equal(other.save()[name], array), name
    with pytest.raises(ValueError, match=r"must have state_0 of shape \[4\], found \[3\]: it is of another actor"):
        RolloutBuffer(9, 2, 6, 2, [(4,)]).restore(saved)
    plain = RolloutBuffer(9, 2, 6, 2)
    plain.restore(saved)  # keeps nothing of it
    beside = ("previous", "state", "trial", "log_prob", "task")
    assert plain.size == 4 and plain.save().keys() == {name for name in saved if not any(map(name.count, beside))}
    with pytest.raises(ValueError, match="must have trial_first of shape .*, found none: it is of another actor"):
        whole.restore(plain.save())
    assert whole.size == 9


def test_a_rollout_refuses_transitions_without_the_states_it_keeps():
    buffer = RolloutBuffer(2, 2, 6, 2, STATES)
    with pytest.raises(ValueError, match="2 states of the actor, found no trial_first, no previous and 0 states"):
        buffer.add(numbered(0, 2))
    assert buffer.size == 0 and not RolloutBuffer(2, 2, 6, 2).states


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

GAMMA = 0.9


class Recorded:
    """All that went into a buffer, row by row; n-step sums are taken term by term from the definition."""

    def __init__(self, rows):
        self.rows = [[] for _ in range(rows)]

    def add(self, batch):
        for row, ticks in enumerate(self.rows):
            ticks.append({name: getattr(batch, name)[row].copy() for name in (
                "observation", "action", "reward", "terminated", "truncated", "next_observation")})

    def newest(self, ticks):
        """The last of them by what tells them apart: row, episode and step."""
        return {tuple(one["observation"][:3]): (row, len(all_ticks) - 1 - back)
                for row, all_ticks in enumerate(self.rows) for back, one in enumerate(all_ticks[:-ticks - 1:-1])}

    def ahead(self, row, at, n_step):
        """Reward, discount and next observation of up to n steps from here, and why they ended."""
        ticks, reward = self.rows[row], 0.0
        for k in range(n_step):
            one = ticks[at + k]
            reward += GAMMA**k * float(one["reward"])
            if one["terminated"]:
                return reward, 0.0, one["next_observation"], "terminated"
            if one["truncated"]:
                why = "truncated"
            elif at + k + 1 == len(ticks):
                why = "newest"
            elif not np.array_equal(ticks[at + k + 1]["observation"], one["next_observation"]):
                why = "gap"
            else:
                why = "whole"
                continue
            break
        return reward, GAMMA**(k + 1), one["next_observation"], why


def check_draws(batch, recorded, ticks, n_step):
    """Each draw is one of the newest ticks, and is what the record says; returns how the steps ended."""
    newest = recorded.newest(ticks)
    assert {tuple(observation[:3]) for observation in batch.observation} == set(newest), "all that is stored is drawn"
    index, first = np.unique(batch.index, return_index=True)
    assert len(index) == len(newest), "each has its own index"
    reasons = set()
    for i in first:
        row, at = newest[tuple(batch.observation[i, :3])]
        one = recorded.rows[row][at]
        assert np.array_equal(batch.observation[i], one["observation"])
        assert np.array_equal(batch.action[i], one["action"])
        reward, discount, following, why = recorded.ahead(row, at, n_step)
        assert batch.reward[i] == pytest.approx(reward, rel=1e-6)
        assert batch.discount[i] == pytest.approx(discount, rel=1e-6)
        assert np.array_equal(batch.next_observation[i], following), why
        reasons.add(why)
    return reasons


def replay(capacity=12, rows=2, seed=0, **options):
    return ReplayBuffer(capacity, rows, 6, 2, seed, discount=GAMMA, **options)


def fill(buffer, ticks, lengths=(3, 5), lost=()):
    """Add ticks of a fake environment, those lost apart."""
    for tick, batch in enumerate(transitions(FakeVectorEnv(buffer.num_envs, lengths, SPEC), ticks)):
        if tick not in lost:
            buffer.add(batch)


@pytest.mark.parametrize("priority_exponent", [None, 0.6])
@pytest.mark.parametrize("n_step", [1, 3, 40])
@pytest.mark.parametrize("rows", [1, 3, 4, 7, 10])
def test_replay_draws_the_last_ticks_as_they_were_observed(rows, n_step, priority_exponent):
    env, ticks = FakeVectorEnv(rows, (7, 3, 1, 50), SPEC), 31 // rows
    buffer = ReplayBuffer(31, rows, 6, 2, seed=1, n_step=n_step, discount=GAMMA, priority_exponent=priority_exponent)
    assert buffer.capacity == ticks * rows
    recorded, reasons = Recorded(rows), set()
    for tick, batch in enumerate(transitions(env, 3 * ticks + 4)):
        if tick % 11 in (1, 6, 7):  # lost on the way
            continue
        buffer.add(batch)
        recorded.add(batch)
        assert buffer.size == min(len(recorded.rows[0]), ticks) * rows
        reasons |= check_draws(buffer.sample(600), recorded, ticks, n_step)
    assert reasons >= {"terminated", "truncated", "gap", "newest"} | ({"whole"} if n_step == 3 < ticks else set())
    batch = buffer.sample(5)
    assert {getattr(batch, name).dtype for name in (
        "observation", "action", "reward", "discount", "next_observation", "weight")} == {np.dtype(np.float32)}
    assert batch.index.dtype == np.int64 and batch.next_observation.shape == (5, 6) and batch.reward.shape == (5,)


def test_a_batch_stays_as_it_was_drawn():
    buffer = replay(capacity=4)
    fill(buffer, 2)
    batch = buffer.sample(50)
    before = [getattr(batch, name).copy() for name in ("observation", "action", "reward", "next_observation")]
    fill(buffer, 9, lengths=(2,))
    for name, array in zip(("observation", "action", "reward", "next_observation"), before, strict=True):
        assert np.array_equal(getattr(batch, name), array), name


def test_replay_draws_uniformly():
    buffer = replay(capacity=50, rows=5, seed=4)
    fill(buffer, 13)
    draws = np.bincount(buffer.sample(50_000).index, minlength=50)
    chi_square = np.sum((draws - 1000) ** 2 / 1000)
    assert draws.sum() == 50_000 and len(draws) == 50
    assert 23.98 < chi_square < 85.35  # 0.1 % and 99.9 % of the distribution with 49 degrees of freedom


def test_a_million_transitions_of_the_ant_take_less_than_a_gigabyte():
    buffer = ReplayBuffer(1_000_000, 1, ANT.observation_size, ANT.action_size, seed=0, priority_exponent=0.6)
    assert buffer.capacity == 1_000_000
    held = [*vars(buffer).values(), *vars(buffer._tree).values()]
    arrays = [array for array in held if isinstance(array, np.ndarray)]
    assert 0.4e9 < sum(array.nbytes for array in arrays) < 0.6e9


def test_only_the_successors_of_stored_cuts_are_kept_aside():
    buffer = replay(capacity=12, rows=2)
    for ticks in (4, 40):
        fill(buffer, ticks, lengths=(1, 5))
        saved = buffer.save()
        assert set(saved["aside_index"]) <= set(np.flatnonzero(saved["cut"]))
        assert len(saved["aside"]) == len(set(saved["aside_index"])) > 0


@pytest.mark.parametrize(("capacity", "rows", "options", "text"), [
    (3, 4, {}, "capacity must be at least num_envs = 4, found 3"),
    (0, 1, {}, "capacity must be at least num_envs = 1, found 0"),
    (3, 0, {}, "capacity must be at least num_envs = 0"),
    (3, 1, {"n_step": 0}, "n_step must be at least 1, found 0")])
def test_replay_refuses_sizes_that_hold_nothing(capacity, rows, options, text):
    with pytest.raises(ValueError, match=text):
        replay(capacity, rows, **options)


def test_replay_refuses_draws_from_nothing_and_another_number_of_rows():
    buffer = replay(rows=2)
    with pytest.raises(ValueError, match="empty"):
        buffer.sample(1)
    with pytest.raises(ValueError, match="each of 2 rows, found 3"):
        buffer.add(numbered(0, 3))


# -- priorities --------------------------------------------------------------------------------------------------------

def prioritized(priority, alpha=0.7, seed=3):
    """A buffer of as many transitions as there are priorities, by index."""
    buffer = replay(len(priority), 2, seed, priority_exponent=alpha)
    fill(buffer, len(priority) // 2 + 3)
    buffer.update_priorities(np.arange(len(priority)), np.asarray(priority, float))
    return buffer


def test_draws_are_in_proportion_to_the_priorities():
    priority = np.random.default_rng(0).exponential(1.0, 20) + 0.05
    probability = priority**0.7 / np.sum(priority**0.7)
    buffer = prioritized(priority)
    draws = np.bincount([int(buffer.sample(1).index[0]) for _ in range(10_000)], minlength=20)
    chi_square = np.sum((draws - 10_000 * probability) ** 2 / (10_000 * probability))
    assert 4.9 < chi_square < 43.8  # 0.05 % and 99.9 % of the distribution with 19 degrees of freedom
    # In a batch they are spread evenly: one from each m-th part of the probability.
    drawn = np.bincount(buffer.sample(1000).index, minlength=20)
    assert np.all(np.abs(drawn - 1000 * probability) <= 2)


@pytest.mark.parametrize("beta", [0.0, 0.4, 1.0])
def test_importance_weights_undo_the_probabilities(beta):
    priority = np.random.default_rng(1).exponential(1.0, 20) + 0.05
    probability = priority**0.7 / np.sum(priority**0.7)
    batch = prioritized(priority).sample(64, beta)
    expected = (20 * probability[batch.index])**-beta
    np.testing.assert_allclose(batch.weight, expected / expected.max(), rtol=1e-6)
    assert batch.weight.dtype == np.float32 and batch.weight.max() == 1.0
    assert np.array_equal(replay_of_ones().sample(7, beta).weight, np.ones(7))


def replay_of_ones():
    buffer = replay()
    fill(buffer, 3)
    return buffer


def test_weights_in_a_buffer_that_is_not_full():
    buffer = replay(capacity=100, rows=2, priority_exponent=1.0)
    fill(buffer, 2)
    buffer.update_priorities(np.arange(4), np.array([1.0, 1.0, 2.0, 4.0]))
    batch = buffer.sample(200, 1.0)
    assert set(batch.index) == {0, 1, 2, 3}
    np.testing.assert_allclose(batch.weight, np.array([1.0, 1.0, 0.5, 0.25])[batch.index], rtol=1e-6)


def test_new_transitions_enter_with_the_largest_priority_until_it_is_reset():
    buffer = replay(capacity=8, rows=2, priority_exponent=0.5)
    fill(buffer, 4)
    assert buffer.save()["leaves"].tolist() == [1.0] * 8
    buffer.update_priorities(np.array([0, 5, 7]), np.array([9.0, 4.0, 0.25]))
    fill(buffer, 1)  # over the first two
    assert buffer.save()["leaves"].tolist() == [3.0, 3.0, 1.0, 1.0, 1.0, 2.0, 1.0, 0.5]
    buffer.update_priorities(np.array([0, 1]), np.array([1.0, 1.0]))
    fill(buffer, 1)  # the largest ever set, though none stored has it
    assert buffer.save()["leaves"].tolist() == [1.0, 1.0, 3.0, 3.0, 1.0, 2.0, 1.0, 0.5]
    buffer.update_priorities(np.array([2, 3]), np.array([1.0, 1.0]))
    buffer.reset_max_priority()
    assert buffer.max_priority == pytest.approx(4.0)
    fill(buffer, 1)
    np.testing.assert_allclose(buffer.save()["leaves"], [1.0, 1.0, 1.0, 1.0, 2.0, 2.0, 1.0, 0.5])


# -- saved and restored ------------------------------------------------------------------------------------------------

def saved_copy(buffer):
    return {name: np.array(array) for name, array in buffer.save().items()}


def assert_same(first, second):
    assert first.keys() == second.keys()
    assert all(np.array_equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("used", [False, True])
@pytest.mark.parametrize("priority_exponent", [None, 0.6])
@pytest.mark.parametrize("added", [0, 1, 5, 6, 13])
def test_replay_continues_its_draws_exactly_after_restore(added, priority_exponent, used):
    def made(seed):
        return replay(13, 2, seed, n_step=3, priority_exponent=priority_exponent)

    batches = list(transitions(FakeVectorEnv(2, (3, 5), SPEC), added + 20))
    unbroken, other = made(5), made(99)
    for batch in batches[:added]:
        unbroken.add(batch)
        drawn = unbroken.sample(3, 0.5)
        if priority_exponent is not None:
            unbroken.update_priorities(drawn.index, drawn.reward % 7 + 0.1)
    if used:  # nothing of what was in it before is left
        fill(other, 9, lengths=(2,))
    saved = saved_copy(unbroken)
    other.restore(saved)
    kept = {name: array.copy() for name, array in saved.items()}
    for batch in batches[added:]:
        for buffer in (unbroken, other):
            buffer.add(batch)
        first, second = unbroken.sample(4, 0.5), other.sample(4, 0.5)
        assert_same(vars(first), vars(second))
        if priority_exponent is not None:
            for buffer in (unbroken, other):
                buffer.update_priorities(first.index, first.reward % 7 + 0.1)
    assert_same(saved_copy(unbroken), saved_copy(other))
    assert_same(saved, kept)


@pytest.mark.parametrize(("capacity", "rows", "options", "text"), [
    (14, 2, {}, "expected a replay buffer of 7 ticks of 2 rows, found one of 6 of 2$"),
    (12, 3, {}, "expected a replay buffer of 4 ticks of 3 rows, found one of 6 of 2$"),
    (12, 2, {"priority_exponent": 0.5}, "of 6 ticks of 2 rows with priorities, found one of 6 of 2$")])
def test_the_state_of_another_buffer_is_refused_and_changes_nothing(capacity, rows, options, text):
    small, other = replay_of_ones(), replay(capacity, rows, **options)
    fill(other, 2)
    before = saved_copy(other)
    with pytest.raises(ValueError, match=text):
        other.restore(small.save())
    assert_same(before, saved_copy(other))


def test_without_an_exponent_all_priorities_count_the_same():
    buffer = ReplayBuffer(8, 1, 2, 1, seed=0, priority_exponent=0.0)
    for i in range(4):
        row = np.full((1, 2), i, np.float32)
        no = np.zeros(1, bool)
        buffer.add(Transition(row, row[:, :1], row[:, 0], no, no, row + 1))
    buffer.update_priorities(np.array([0]), np.array([50.0]))
    buffer.reset_max_priority()
    assert buffer.sample(64, 1.0).weight.min() == 1.0
