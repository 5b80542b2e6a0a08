"""Robots that are told their task: the numbers stand behind the observation, and change when the task does."""

import numpy as np
import pytest

from ant_env_node.make import make
from ant_env_node.shaping import ShapingConfig
from ant_env_node.tasks.distribution import TaskDistribution
from ant_env_node.tasks.presets import PRESETS
from ant_env_node.tasks.settings import TaskSettings
from ant_env_node.tasks.task import VECTOR_SIZE, Task
from ant_rl_core.settings import ArgumentError


def tasks(**more):
    return TaskDistribution("some", "of the test", tuple(Task(f"d{i}", heading=0.1 * i) for i in range(30)), **more)


def test_it_is_the_environment_with_the_task_behind_its_observations():
    plain, told = (make(3, 4, tasks=tasks(hazard=0.1), max_episode_steps=6, told=told) for told in (False, True))
    assert told.observation_size == plain.observation_size + VECTOR_SIZE == 105 + VECTOR_SIZE
    a, b = plain.reset(4), told.reset(4)
    assert (b.observation == np.concatenate([a.observation, a.task], axis=1)).all()
    ended_in = changed = 0
    for _ in range(20):
        task = a.task
        a, b = plain.step(np.zeros((3, 8), np.float32)), told.step(np.zeros((3, 8), np.float32))
        assert (b.observation == np.concatenate([a.observation, a.task], axis=1)).all()
        assert (b.final_observation[:, :105] == a.final_observation).all()
        assert (b.reward == a.reward).all() and (b.trial_id == a.trial_id).all()
        # The end of an episode is still in its own task; where none ended, nothing else is final.
        assert (b.final_observation[:, 105:] == np.where(a.done[:, None], task, a.task)).all()
        ended_in += int(a.done.sum())
        changed += int((~a.done & (a.task != task).any(axis=1)).sum())
    assert ended_in == 9 and changed > 2
    plain.close()
    told.close()


def test_it_goes_on_from_what_was_saved_bit_for_bit_with_a_shaped_reward_too():
    def made(seed):
        return make(2, seed, shaping=ShapingConfig(), tasks=tasks(episodes_per_trial=2), max_episode_steps=7, told=True)
    first, moves = made(1), np.random.default_rng(0).uniform(-1, 1, (20, 2, 8)).astype(np.float32)
    first.reset(1)
    for move in moves[:10]:
        first.step(move)
    saved = first.save()
    second = made(9)
    assert (second.restore(saved).observation == first.restore(saved).observation).all()
    for move in moves[10:]:
        theirs, ours = first.step(move), second.step(move)
        assert (theirs.observation == ours.observation).all()
        assert (theirs.final_observation == ours.final_observation).all() and (theirs.reward == ours.reward).all()
    first.close()
    second.close()


def test_without_tasks_there_is_nothing_to_tell():
    env = make(1, 0, told=True)
    with pytest.raises(ValueError, match="expected an environment whose robots have tasks, found one without"):
        env.reset(0)
    env.close()


def test_the_vector_names_its_places():
    task = Task("t", heading=1.0, gear=(0.5,) * 8, mass=2.0, delay=3)
    places = Task.places()
    assert list(places.values())[0].start == 0 and list(places.values())[-1].stop == VECTOR_SIZE
    assert task.vector()[places["heading"]] == pytest.approx([np.cos(1.0), np.sin(1.0)])
    assert (task.vector()[places["gear"]] == -0.5).all() and task.vector()[places["delay"]] == [3]
    assert task.vector()[places["mass"]] == pytest.approx(np.log(2.0)) and not task.vector()[places["goal"]].any()


def test_settings_say_more_than_the_preset():
    assert TaskSettings().distribution() is None
    assert TaskSettings(tasks="wired").distribution() == PRESETS["wired"]()
    found = TaskSettings(tasks="wired", episodes_per_trial=2, hazard=0.01).distribution()
    assert (found.episodes_per_trial, found.hazard, found.train) == (2, 0.01, PRESETS["wired"]().train)
    assert TaskSettings(tasks="wired", hazard=0.0).distribution().hazard == 0
    for more in ({"hazard": 0.1}, {"episodes_per_trial": 2}):
        with pytest.raises(ArgumentError, match="tasks must be named where episodes_per_trial or hazard is given, such "
                                                "as tasks:=wired, found 'none'"):
            TaskSettings(**more)
    with pytest.raises(ArgumentError, match="hazard must be from -1 to 1, found 1.5"):
        TaskSettings(tasks="wired", hazard=1.5)
