"""Trials, their figures, controls and probes, against numbers that are known. Without TensorFlow."""

import itertools

import numpy as np
import pytest

from ant_env_node.make import ants
from ant_env_node.tasks.distribution import TaskDistribution
from ant_env_node.tasks.presets import PRESETS
from ant_env_node.tasks.task import Task
from ant_rl_core.step import Previous, TimeStepEnv
from ant_rl_core.testing import FakeActor
from trainer.runs.evaluate import evaluate
from trainer.trials import controls, table
from trainer.trials.figures import by_task, change_figures, episode_figures
from trainer.trials.policies import Policy
from trainer.trials.probe import probe, told_by
from trainer.trials.record import Inside, Trials, joined, look_inside, run_trials
from trainer.trials.table import Result

HEADINGS = tuple(Task(f"d{i}", heading=0.3 * i) for i in range(10))


class Still:
    """An actor that does nothing."""

    version = 1

    def initial_state(self, num_envs):
        return ()

    def act(self, observation, previous, state, reset_mask):
        return np.zeros((len(observation), 8), np.float32), {}, state


def trials_of(tasks, n=3, seed=5, steps=30, actor=None):
    with ants(n, seed, 1, tasks, "train", steps) as ant:
        env = TimeStepEnv(ant)
        start = env.reset()
        return run_trials(env, actor or FakeActor(), start, [task.name for task in ant.tasks], ant.np_random_seed,
                          itertools.count())


def test_first_episodes_are_those_of_the_plain_evaluation():
    tasks = TaskDistribution("some", "of the test", HEADINGS)
    found = trials_of(tasks)
    expected = evaluate(FakeActor(), 3, 5, num_threads=1, tasks=tasks, steps=30)
    figures = episode_figures(found, 0)
    assert figures.returns == pytest.approx([episode.episode_return for episode in expected], rel=1e-5)
    assert figures.lengths.tolist() == [episode.length for episode in expected] and found.num_episodes == 1
    assert found.seeds == tuple(episode.seed for episode in expected)


def test_a_trial_has_all_its_episodes_and_speed_is_along_what_is_asked_for():
    tasks = TaskDistribution("some", "of the test", HEADINGS, episodes_per_trial=3)
    found = trials_of(tasks)
    assert found.num_episodes == 3 and found.ended.sum(axis=0).tolist() == [3, 3, 3]
    assert (found.task[found.episode >= 0].any(axis=1)).all() and not found.changed.any()
    alive = found.episode >= 0
    # What is rewarded of a direction is the speed along it; the rest of the reward is at most the 1 of survival.
    assert (found.reward[alive] - found.speed[alive] < 1).all() and (found.speed[alive] != 0).all()
    several = joined([found, trials_of(tasks, n=1, seed=8, steps=40)])
    assert several.reward.shape == (120, 4) and several.seeds == (5, 6, 7, 8)
    for place in range(3):
        assert episode_figures(several, place).returns[:3] == pytest.approx(episode_figures(found, place).returns)
        assert episode_figures(several, place).lengths.tolist() == [30, 30, 30, 40]


def made(length, n=1, **columns):
    """Trials of one episode each, by hand."""
    found = {"reward": np.zeros((length, n), np.float32), "speed": np.zeros((length, n), np.float32),
             "episode": np.zeros((length, n), np.int64), "ended": np.zeros((length, n), bool),
             "fell": np.zeros((length, n), bool), "hit": np.zeros((length, n), bool),
             "changed": np.zeros((length, n), bool), "task": np.zeros((length, n, 1), np.float32)}
    found["ended"][-1] = True
    return Trials(**{**found, **columns}, names=tuple("ab"[i % 2] for i in range(n)), seeds=tuple(range(n)))


def test_balls_and_hits_are_counted_and_neither_falls_nor_changes_of_the_task():
    tasks = TaskDistribution("some", "of the test", (Task("balls", hit_radius=0.75, goal=(1.0, 0.0)),),
                             episodes_per_trial=2)
    found = trials_of(tasks, n=4, steps=200, actor=Still())
    assert found.hit.any() and not found.fell.any() and not found.changed.any() and found.num_episodes == 2
    for place in range(2):
        figures = episode_figures(found, place)
        assert figures.hit.sum() >= 3 and (figures.balls >= figures.hit).all() and figures.falls == 0
        assert (figures.hit == (found.hit & (found.episode == place)).any(axis=0)).all()
        # A pause, and then at most 9 m at 3 m/s.
        assert (figures.balls * 70 >= figures.lengths).all() and (figures.balls * 20 <= figures.lengths).all()


def test_figures_of_episodes_and_of_their_first_steps():
    reward = np.arange(1.0, 7.0, dtype=np.float32)[:, None] * [[1, 10]]
    episode = np.array([[0, 0], [0, 0], [1, 0], [1, 1], [1, 1], [-1, 1]])
    fell = np.zeros((6, 2), bool)
    fell[1, 0] = True
    found = made(6, 2, reward=reward, speed=reward, episode=episode, fell=fell)
    first, second = episode_figures(found, 0), episode_figures(found, 1)
    assert first.returns.tolist() == [3, 60] and first.lengths.tolist() == [2, 3] and first.falls == 1
    assert second.returns.tolist() == [12, 150] and second.falls == 0
    assert first.speeds.tolist() == [1.5, 20]
    assert episode_figures(found, 1, steps=2).returns.tolist() == [7, 90]
    assert by_task(found) == {"a": [3], "b": [60]}


def test_figures_of_changes():
    """Speed 4 before; one robot stumbles and goes on at 3, one falls, of one the end is not seen."""
    changed, fell, speed = np.zeros((400, 3), bool), np.zeros((400, 3), bool), np.full((400, 3), 4.0, np.float32)
    changed[200] = True
    speed[200:250, 0], speed[250:, 0] = 0.5, 3.0
    speed[200:, 1] = 1.0
    fell[229, 1] = True
    episode, ended = np.zeros((400, 3), np.int64), np.zeros((400, 3), bool)
    episode[230:, 1], episode[260:, 2] = -1, -1
    ended[399, 0] = ended[229, 1] = ended[259, 2] = True
    found = made(400, 3, changed=changed, fell=fell, speed=speed, episode=episode, ended=ended, reward=speed)
    figures = change_figures(found)
    assert (figures.count, figures.fell, figures.recovered) == (2, 1, 1)
    assert figures.speeds["before"] == 4.0 and figures.reference == 4.0
    assert figures.speeds["0-50"] == pytest.approx((50 * 0.5 + 30 * 1.0) / 80)
    assert figures.speeds["50-100"] == figures.speeds["100+"] == 3.0 and figures.rewards == figures.speeds
    assert change_figures(found, reference=6.1).recovered == 0
    # A second change ends what is told of the first, and an episode's end what was before.
    again = changed.copy()
    again[320, 0] = True
    assert change_figures(made(400, 3, changed=again, fell=fell, speed=speed, episode=episode, ended=ended)).count == 2


def test_a_hazard_is_seen_as_changes():
    found = trials_of(TaskDistribution("some", "of the test", HEADINGS, hazard=0.2))
    assert 8 < found.changed.sum() < 28  # 90 ticks, nine in ten draws are another task
    assert not found.changed[0].any()


class Counter:
    """An actor whose action is its memory, in which it counts."""

    version = 1

    def initial_state(self, num_envs):
        return (np.zeros((num_envs, 2), np.float32),)

    def act(self, observation, previous, state, reset_mask):
        self.given = previous, state
        (count,) = state
        count = np.where(reset_mask[:, None], 0, count) + 1
        return np.zeros((len(count), 8), np.float32), {}, (count,)


def test_controls_take_the_memory_away():
    rows, mask = np.arange(6.0, dtype=np.float32), np.zeros(6, bool)
    previous = Previous(np.ones((6, 8), np.float32), np.ones(6, np.float32), rows > 4)
    state, inside = (np.stack([rows, rows], axis=1),), Counter()

    def given(control):
        control.act(np.zeros((6, 105), np.float32), previous, state, mask)
        return inside.given
    told, memory = given(controls.forgetful(inside))
    assert told is previous and not memory[0].any()
    orders = set()
    actor = controls.shuffled(inside, 3)
    for _ in range(20):
        told, memory = given(actor)
        assert told is previous and (memory[0][:, 0] != rows).all() and sorted(memory[0][:, 0]) == rows.tolist()
        orders.add(tuple(memory[0][:, 1]))
    assert len(orders) > 15
    told, memory = given(controls.uninformed(inside))
    assert memory is state and not told.action.any() and not told.reward.any() and (told.done == previous.done).all()


def test_memory_is_looked_at_after_so_many_ticks():
    tasks = TaskDistribution("some", "of the test", HEADINGS)
    with ants(3, 5, 1, tasks, "train", 4) as ant:
        env = TimeStepEnv(ant)
        found = look_inside(env, Counter(), env.reset(), (0, 1, 3, 6), itertools.count())
        assert (found.task == [task.vector() for task in ant.tasks]).all() or not found.there[-1].any()
    assert found.memory[:3, :, 0].tolist() == [[0] * 3, [1] * 3, [3] * 3]
    assert found.there.tolist() == [[True] * 3] * 3 + [[False] * 3]
    assert Inside.joined([found, found]).memory.shape == (4, 6, 2)


def test_a_probe_tells_what_is_linearly_there_and_nothing_else():
    rng = np.random.default_rng(0)
    signs = rng.choice([-2.0, 0.0], (300, 2))
    task = np.concatenate([signs, rng.normal(size=(300, 1)), np.full((300, 1), 7.0)], axis=1)
    mixed = task[:, :3] @ rng.normal(size=(3, 6)) + 3
    found = told_by(mixed[:200], task[:200], mixed[200:], task[200:])
    assert found.accuracy == 1 and found.r2 > 0.99 and 0.4 < found.chance < 0.65 and found.rows == 100
    noise = rng.normal(size=(300, 6))
    found = told_by(noise[:200], task[:200], noise[200:], task[200:])
    assert abs(found.accuracy - 0.5) < 0.12 and found.r2 < 0.1
    assert np.isnan(told_by(mixed[:, :0], task, mixed[:, :0], task).accuracy)


def test_one_observation_does_not_tell_the_task():
    """The first of a trial, of tasks of every kind of change to the body and to the reward."""
    def seen(name, seed):
        with ants(100, seed, 2, PRESETS[name](), "train") as ant:
            env = TimeStepEnv(ant)
            return look_inside(env, FakeActor(), env.reset(), (0,), itertools.count())
    for name in ("wired", "directions", "lost_leg"):
        (found,) = probe(seen(name, 0), seen(name, 1000), "observation")
        assert np.isnan(found.accuracy) or found.accuracy < found.chance + 0.06, name
        assert np.isnan(found.r2) or found.r2 < 0.1, name


def test_the_tables_read_well():
    found = made(300, 4, reward=np.ones((300, 4), np.float32))
    result = Result(Policy("mine", FakeActor), "train", found)
    lines = table.returns_table([result, Result(Policy("mine", FakeActor, control="memory zeroed"), "train", found)],
                                1000)
    assert [line.split() for line in lines] == [
        "policy trial first 200 steps falls in them 1,000 steps m/s falls".split(),
        "mine episode 1 200 ± 0 0 of 4 (0%) 300 ± 0 0.00 0 of 4 (0%)".split(),
        "memory zeroed episode 1 200 ± 0 0 of 4 (0%) 300 ± 0 0.00 0 of 4 (0%)".split()]
    assert table.tasks_table([result]) == ["task  mine", "a      300", "b      300"]
    assert "standing still earns 200" in table.reward_line(None, "train", 200)
    assert "velocity along the task's direction" in table.reward_line(PRESETS["directions"](), "held_out", 200)
    assert table.changes_table([result]) == table.probe_table(result, ()) == []
