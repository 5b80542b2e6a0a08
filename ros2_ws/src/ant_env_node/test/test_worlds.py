"""Tasks without physics: what they pay, what they tell, and what is known of the best."""

import itertools
from dataclasses import dataclass

import numpy as np
import pytest

from ant_env_node.tasks.bandit import Bandit, bayes_optimal
from ant_env_node.tasks.point2d import Point2D
from ant_env_node.tasks.tiny import RowStreams
from ant_env_node.tasks.worlds import WORLDS, robot_of, with_settings
from ant_env_node.verbs import TASKS
from ant_rl_core.settings import Settings, setting

every = pytest.mark.parametrize("name", WORLDS)


def ran(env, ticks, seed=0, start=None):
    """Time steps under random actions; those of a row are the same whatever the number of rows."""
    steps = [env.reset() if start is None else start]
    rngs = [np.random.default_rng([seed, row]) for row in range(env.num_envs)]
    for _ in range(ticks):
        steps.append(env.step(np.array([rng.uniform(-1, 1, env.action_size) for rng in rngs], np.float32)))
    return steps


def arrays(step):
    return [step.observation, step.reward, step.terminated, step.truncated, step.final_observation, step.step,
            step.task, step.trial_first]


def pulls(arm, rows, arms=5):
    action = np.zeros((rows, arms), np.float32)
    action[:, arm] = 1.0
    return action


def test_row_streams_are_splitmix64_and_each_rows_own():
    streams = RowStreams([3], 0)
    streams._key[:] = 0  # whose first three numbers are published with the algorithm
    expected = np.array([0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F], np.uint64)
    assert np.array_equal(streams.uniform(np.array([0]), 3)[0], (expected >> np.uint64(11)) * 2.0**-53)
    many, few = RowStreams([3, 4, 5], 0), RowStreams([5], 0)
    many.uniform(np.array([0, 1]), 4)
    assert np.array_equal(many.uniform(np.array([2]), 6), few.uniform(np.array([0]), 6))
    drawn = RowStreams(list(range(2000)), 0).uniform(np.arange(2000), 20)
    assert abs(drawn.mean() - 0.5) < 0.005 and abs(drawn.var() - 1 / 12) < 0.002
    correlation = np.corrcoef(drawn.T)
    assert np.abs(correlation - np.eye(20)).max() < 0.1


@every
def test_a_row_depends_on_its_seed_alone_and_parts_have_other_tasks(name):
    make = WORLDS[name].make
    many, one, other = (ran(make(rows, seed, part), 120) for rows, seed, part in (
        (5, 7, "train"), (1, 7, "train"), (1, 7, "held_out")))
    for left, right in zip(many, one, strict=True):
        for found, expected in zip(arrays(left), arrays(right), strict=True):
            assert np.array_equal(found[:1], expected)
    assert not {tuple(step.task[0]) for step in one} & {tuple(step.task[0]) for step in other}


@every
def test_it_goes_on_bit_for_bit_from_the_middle_of_a_trial(name):
    env, again = (WORLDS[name].make(3, seed, "train") for seed in (1, 2))
    ran(env, 33)
    saved = {key: array.copy() for key, array in env.save().items()}
    kept = {key: array.copy() for key, array in saved.items()}
    start = env._start()
    expected = ran(env, 70, 9, start)
    found = ran(again, 70, 9, again.restore(saved))
    for left, right in zip(found, expected, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(arrays(left), arrays(right), strict=True))
        assert np.array_equal(left.episode_id, right.episode_id) and np.array_equal(left.trial_id, right.trial_id)
    assert all(np.array_equal(saved[key], kept[key]) for key in kept)
    with pytest.raises(ValueError, match="expected what was saved with 2 rows, found 3"):
        WORLDS[name].make(2, 1, "train").restore(saved)


@every
def test_trials_have_one_task_and_are_told_from_episodes(name):
    env = WORLDS[name].make(2, 3, "train")
    length = env.episode_steps * env.episodes_per_trial
    steps = ran(env, 2 * length)
    assert [bool(step.trial_first[0]) for step in steps] == [t % length == 0 for t in range(2 * length + 1)]
    assert [bool(step.done[0]) for step in steps[1:]] == [t % env.episode_steps == 0 for t in range(1, 2 * length + 1)]
    tasks = [tuple(step.task[0]) for step in steps]
    assert len(set(tasks[:length])) == 1 and len(set(tasks)) == 3
    for step in steps[1:]:
        within = ~step.done
        assert np.array_equal(step.final_observation[within], step.observation[within])


def test_an_arm_pays_with_its_chance_and_the_observation_tells_only_how_many_pulls_were_made():
    env = Bandit(4000, seed=5, arms=3, pulls=4)
    chance, paid = env.reset().task, np.zeros((3, 4000))
    for pull in range(1, 4):
        step = env.step(pulls(pull - 1, 4000, 3))
        assert set(np.unique(step.reward)) == {0.0, 1.0} and np.all(step.observation == np.float32(pull / 4))
        paid[pull - 1] = step.reward
    for arm in range(3):
        for low in (0.0, 0.25, 0.5, 0.75):
            rows = (chance[:, arm] >= low) & (chance[:, arm] < low + 0.25)
            expected = chance[rows, arm]
            error = np.sqrt((expected * (1 - expected)).sum()) / rows.sum()
            assert abs(paid[arm, rows].mean() - expected.mean()) < 4 * error
    step = env.step(pulls(0, 4000, 3))
    assert step.terminated.all() and not step.truncated.any()
    assert np.all(step.final_observation == 1.0) and np.all(step.observation == 0.0)
    assert not (step.task == chance).any()


def by_enumeration(arms, pulls):
    """The best of all policies that know what every pull paid, each tree of choices by itself."""
    def value(history, left):
        if not left:
            return 0.0
        best = 0.0
        for arm in range(arms):
            seen = [reward for pulled, reward in history if pulled == arm]
            chance = (1 + sum(seen)) / (2 + len(seen))
            best = max(best, chance * (1 + value([*history, (arm, 1)], left - 1))
                       + (1 - chance) * value([*history, (arm, 0)], left - 1))
        return best
    return value([], pulls)


def test_the_bayes_optimal_return_is_that_of_all_policies_and_the_published_one():
    for arms, count in itertools.product((2, 3), (1, 2, 3, 4)):
        assert bayes_optimal(arms, count) == pytest.approx(by_enumeration(arms, count))
    assert bayes_optimal(2, 10) == pytest.approx(6.0218, abs=1e-4)
    assert bayes_optimal(5, 10) == pytest.approx(6.660, abs=1e-3)


def test_who_forgets_makes_half_and_who_is_told_makes_more_than_anyone_who_is_not():
    def earned(choose):
        env = Bandit(4000, seed=1)
        step, total = env.reset(), 0.0
        for _ in range(10):
            step = env.step(choose(step))
            total += step.reward.mean()
        return total
    assert earned(lambda step: pulls(2, 4000)) == pytest.approx(5.0, abs=0.2)
    told = earned(lambda step: step.task)
    assert told == pytest.approx(10 * 5 / 6, abs=0.1) and told > bayes_optimal(5, 10) + 1.0


def test_the_point_is_rewarded_for_being_near_its_goal():
    env = Point2D(200, seed=2)
    step = env.reset()
    goal = step.task.astype(np.float64)
    np.testing.assert_allclose(np.hypot(*goal.T), 1.0, rtol=1e-6)
    assert np.abs(goal.mean(axis=0)).max() < 0.2 and not step.observation.any()
    position = velocity = np.zeros((200, 2))
    for t in range(40):
        action = np.clip(3.0 * (goal - position) - 1.5 * velocity, -1, 1).astype(np.float32)
        velocity = 0.8 * velocity + 0.4 * action
        position = position + 0.1 * velocity
        step = env.step(action)
        np.testing.assert_allclose(step.reward, -np.hypot(*(position - goal).T), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(step.final_observation, np.hstack([position, velocity]), rtol=1e-5, atol=1e-6)
        if t == 18:
            assert step.reward.min() > -0.2  # one can be there in time
        if t % 20 == 19:
            assert step.truncated.all() and not step.terminated.any() and not step.observation.any()
            position = velocity = np.zeros((200, 2))
        assert (t == 39) != np.array_equal(step.task, goal.astype(np.float32))


@dataclass(frozen=True)
class Few(Settings):
    head: str = setting("gaussian", "what is drawn")
    shaping: bool = setting(False, "another reward")


def test_a_world_brings_the_settings_that_a_method_has():
    assert with_settings([Few], {"tasks": "bandit"}) == {"tasks": "bandit", "head": "categorical"}
    assert with_settings([Few], {"tasks": "bandit", "head": "x"})["head"] == "x"
    assert with_settings([Few], {"tasks": "wired"}) == {"tasks": "wired"}
    assert robot_of(WORLDS["bandit"]).name == robot_of(WORLDS["bandit100"]).name == "bandit5"
    assert robot_of(None).name == "Ant-v5"


def test_worlds_are_listed_with_what_is_known_of_the_best(capsys):
    assert TASKS.run([]) == 0
    said = capsys.readouterr().out
    assert all(f"  {name} " in said for name in WORLDS)
    assert TASKS.run(["bandit"]) == 0
    said = capsys.readouterr().out
    assert "a trial is 1 episode of 10 ticks" in said and "6.660 in a trial" in said and "head:=categorical" in said
