"""What off-policy learners share: what is owed, what is drawn, how it is scaled, and that it can be continued."""

from dataclasses import replace

import numpy as np
import pytest

from ant_rl_core.step import Transition
from trainer.algorithms.off_policy.experience import Experience, OffPolicyConfig
from trainer.metrics import mean_metrics

SMALL = OffPolicyConfig(total_steps=100, learning_starts=0, batch_size=64, replay_capacity=1000)


def made(config=SMALL, num_envs=2, seed=0):
    return Experience(config, num_envs, 3, 1, np.random.SeedSequence(seed))


def tick(number, rows=2, **changes):
    """A tick that tells its number and goes on from the one before."""
    def observation(at):
        return np.repeat(at + 0.25 * np.arange(rows, dtype=np.float32)[:, None], 3, axis=1)

    no = np.zeros(rows, bool)
    return replace(Transition(observation(number), np.zeros((rows, 1), np.float32), np.ones(rows, np.float32), no, no,
                              observation(number + 1)), **changes)


@pytest.mark.parametrize(("num_envs", "per_step", "starts"), [
    (1, 1.0, 0), (1, 1.0, 10), (4, 1.0, 6), (3, 0.5, 0), (1, 0.25, 3), (2, 1.5, 5), (1, 3.0, 2)])
def test_gradient_steps_are_owed_for_what_was_observed_since_learning_started(num_envs, per_step, starts):
    experience = made(replace(SMALL, updates_per_step=per_step, learning_starts=starts), num_envs)
    for number in range(30):
        assert experience.warming_up == (number * num_envs < starts)
        experience.observe(tick(number, num_envs))
        owed = experience.owed()
        assert 0 <= owed <= np.ceil(num_envs * per_step)
        for _ in range(owed):
            experience.draw()
        assert experience.owed() == 0
        assert experience.updates == max(0, int((experience.env_steps - starts) * per_step))
    assert experience.env_steps == 30 * num_envs


def test_what_was_left_undone_is_made_up_for_in_pieces():
    experience = made(num_envs=2)
    for number in range(5):
        experience.observe(tick(number))
    assert experience.owed() == 2
    for _ in range(10):
        assert experience.owed() > 0
        experience.draw()
    assert experience.owed() == 0


@pytest.mark.parametrize("min_std", [0.01, 3.0])
def test_observations_are_scaled_by_what_was_observed_so_far(min_std):
    config = replace(SMALL, normalize_observations=True, observation_min_std=min_std, observation_clip=1.5)
    experience, rows = made(config), []
    rng = np.random.default_rng(3)
    for _ in range(20):
        arrays = rng.normal([5.0, -2.0, 0.0], [0.1, 30.0, 1.0], (2, 2, 3)).astype(np.float32)
        experience.observe(tick(0, observation=arrays[0], next_observation=arrays[1]))
        rows.append(arrays[0])
    seen = np.concatenate(rows).astype(np.float64)
    mean, std = seen.mean(axis=0), np.maximum(seen.std(axis=0), min_std)
    probe = rng.normal([5.0, -2.0, 0.0], [0.2, 60.0, 2.0], (50, 3)).astype(np.float32)
    expected = np.clip((probe - mean) / std, -1.5, 1.5)
    found = experience.normalize(probe)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
    assert found.dtype == np.float32 and (np.abs(expected) == 1.5).any() and (np.abs(expected) < 1.5).any()
    batch, replay = experience.draw(), experience.replay
    t, row = np.divmod(batch.index, 2)
    assert np.array_equal(batch.observation, experience.normalize(replay.observation[t, row]))
    assert np.abs(batch.next_observation).max() <= 1.5
    assert np.array_equal(np.concatenate([replay.observation[t] for t in range(20)]), np.concatenate(rows)), "as seen"


def test_observations_come_as_they_are_unless_they_are_to_be_scaled():
    experience = made()
    for number in range(5):
        experience.observe(tick(number))
    batch = experience.draw()
    np.testing.assert_array_equal(batch.next_observation, batch.observation + 1)
    assert "observation_mean" not in experience.save()


def test_the_importance_exponent_goes_from_one_end_to_the_other():
    experience = made(replace(SMALL, prioritized=True, priority_exponent=1.0, importance_exponent=0.2,
                              importance_exponent_end=0.8, replay_capacity=2))
    for number in range(70):
        experience.observe(tick(number))
        experience.replay.update_priorities(np.arange(2), np.array([1.0, 2.0]))
        batch = experience.draw()
        expected = 0.2 + 0.6 * min(1.0, experience.env_steps / 100)
        np.testing.assert_allclose(batch.weight, np.array([1.0, 2.0**-expected])[batch.index], rtol=1e-5)


def test_n_steps_discount_and_priorities_reach_the_buffer():
    config = replace(SMALL, n_step=3, discount=0.5, prioritized=True, priority_exponent=0.25)
    experience = made(config, num_envs=1)
    for number in range(8):
        experience.observe(tick(number, 1))
    batch = experience.draw()
    whole = batch.observation[:, 0] < 6
    assert np.all(batch.reward[whole] == 1.75) and np.all(batch.discount[whole] == 0.125)
    experience.replay.update_priorities(np.array([2]), np.array([16.0]))
    assert experience.save()["replay_leaves"][2] == 2.0
    assert "replay_leaves" not in made(replace(SMALL, priority_exponent=0.25)).save()


@pytest.mark.parametrize("config", [SMALL, replace(SMALL, prioritized=True, normalize_observations=True, n_step=2)])
@pytest.mark.parametrize("ticks", [0, 7])
def test_a_restored_one_goes_on_as_the_unbroken_one(config, ticks):
    unbroken, other = made(config, seed=1), made(config, seed=2)
    for number in range(ticks):
        unbroken.observe(tick(number))
        unbroken.draw()
    other.restore({name: np.array(array) for name, array in unbroken.save().items()})
    probe = np.array([[3.0, -1.0, 0.5]], np.float32)
    assert np.array_equal(unbroken.normalize(probe), other.normalize(probe))
    for number in range(ticks, ticks + 5):
        batches = []
        for experience in (unbroken, other):
            experience.observe(tick(number))
            assert experience.owed() == 2
            batches.append(experience.draw())
        assert all(np.array_equal(array, vars(batches[1])[name]) for name, array in vars(batches[0]).items())
    first, second = unbroken.save(), other.save()
    assert first.keys() == second.keys() and all(np.array_equal(first[name], second[name]) for name in first)


def test_what_is_not_a_number_is_neither_counted_nor_kept():
    experience = made()
    experience.observe(tick(0))
    with pytest.raises(FloatingPointError, match="^reward became nan at 2 environment steps"):
        experience.observe(tick(1, reward=np.full(2, np.nan, np.float32)))
    assert experience.env_steps == 2 and experience.replay.size == 2


@pytest.mark.parametrize(("change", "text"), [
    ({"total_steps": 0}, "total_steps must be at least 1, found 0"),
    ({"learning_starts": -1}, "learning_starts must be at least 0, found -1"),
    ({"updates_per_step": 0.0}, "updates_per_step must be positive, found 0.0"),
    ({"updates_per_step": float("nan")}, "updates_per_step must be positive, found nan"),
    ({"batch_size": 0}, "batch_size must be at least 1"), ({"replay_capacity": 0}, "replay_capacity must be at least"),
    ({"n_step": 0}, "n_step must be at least 1"), ({"discount": 1.0}, "discount must be from 0 to below 1, found 1.0"),
    ({"priority_exponent": 1.1}, "priority_exponent must be from 0 to 1"),
    ({"importance_exponent": -0.1}, "importance_exponent must be from 0 to 1, found -0.1"),
    ({"importance_exponent_end": 2.0}, "importance_exponent_end must be from 0 to 1"),
    ({"observation_clip": 0.0}, "observation_clip must be positive")])
def test_settings_out_of_range_are_refused(change, text):
    with pytest.raises(ValueError, match=f"^{text}"):
        replace(SMALL, **change)


def test_figures_are_averaged_over_the_steps_that_have_them():
    assert mean_metrics([{"a": 1.0}, {"a": 2.0, "b": 5.0}, {"a": 6.0}]) == {"a": 3.0, "b": 5.0}
