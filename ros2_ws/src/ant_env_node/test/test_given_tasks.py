"""Tasks of a running stepper: drawn ones are told, given ones act from the next tick on, and nothing else changes."""

import json

import numpy as np
import pytest
from stepper_stage import Stage, torque_of

from ant_env_node.settings import EnvSettings
from ant_env_node.tasks.ant import TaskAnt
from ant_env_node.tasks.lookup import find_task
from ant_env_node.tasks.presets import PRESETS
from ant_env_node.tasks.task import Task
from ant_env_node.vec_env import VectorAnt
from ant_rl_core.settings import ArgumentError
from ant_rl_core.step import TimeStepEnv

FIELDS = ("observation", "reward", "terminated", "truncated", "final_observation", "episode_id", "step", "trial_id")
LOST, LATE = find_task("leg 3 lost"), Task("late", delay=2, mass=2.0)


def steps_of(ant, ticks, given):
    """Time steps of robots that are given tasks, {tick: (task, rows)}, and do what a `Stage` does."""
    env = TimeStepEnv(ant)
    steps = [env.reset(5)]
    for tick in range(ticks):
        for task, rows in given.get(tick, ()):
            for row in rows:
                ant.set_task(row, task)
        steps.append(env.step(torque_of(tick, ant.num_envs)))
    env.close()
    return steps


def played(stage, ticks, given):
    """Time steps of a stage of the same."""
    steps = []
    for tick in range(ticks + 1):
        for task, rows in given.get(tick, ()):
            stage.stepper.set_task(task, rows)
        stage.send()
        steps.append(stage.tick.time_step)
        stage.answer()
    return steps


def assert_equal(found, expected, rows):
    for tick, (one, other) in enumerate(zip(found, expected, strict=True)):
        for name in FIELDS:
            assert getattr(one, name)[rows].tobytes() == getattr(other, name)[rows].tobytes(), (tick, name)


@pytest.mark.parametrize("shaping", [False, True])
def test_robots_without_tasks_can_be_given_some_in_mid_episode(shaping):
    """Others go on as if nothing had been; those that have some, as if all had been able to have some all the time."""
    given = {7: [(LATE, [1])], 20: [(LOST, [1]), (Task("strong", gear=(1.5,) * 8), [0])],
             30: [(Task("later", delay=3), [1])]}
    with Stage(num_envs=3, shaping=shaping) as stage:
        found = played(stage, 60, given)
        assert stage.tick.tasks_told == 4 and stage.stepper.tasks.newest.names == ("strong", "later", "nominal")
        told = stage.stepper.tasks.newest
        assert told.since.tolist() == [20, 30, 0] and told.given.tolist() == [True, True, False]
        assert Task.from_dict(json.loads(told.definitions[1])) == Task("later", delay=3)
        assert told.vectors.tobytes() == np.stack([task.vector() for task in stage.stepper.ant.tasks]).tobytes()
        unshaped = [step.info.get("unshaped_reward", step.reward) for step in found]
    rows = slice(None)
    expected = steps_of(TaskAnt(3, None, seed=5), 60, given)
    assert [step.tobytes() for step in unshaped] == [step.reward.tobytes() for step in expected]
    if not shaping:
        assert_equal(found, expected, rows)
    plain = steps_of(VectorAnt(3, 5), 60, {})
    assert all((one.observation[2] == other.observation[2]).all() for one, other in zip(found, plain, strict=True))
    assert not (found[-1].observation[1] == plain[-1].observation[1]).all()


def test_a_given_task_holds_from_episode_to_episode_until_the_reset():
    with Stage(num_envs=2) as stage:
        assert stage.tick.tasks_told == 0 and stage.tick.time_step.task is None
        stage.stepper.set_task(Task("heavy", mass=10.0), [0])
        ended = 0
        while not ended:
            for episode in stage.send():
                ended += episode.row == 0
                assert episode.task == ("heavy", "nominal")[episode.row]
            stage.answer(action=np.ones((2, 8), np.float32) * (-1) ** (stage.tick.step_id // 10))
        assert stage.stepper.ant.tasks[0].name == "heavy" and stage.tick.tasks_told == 1
        assert (stage.tick.time_step.trial_id == stage.tick.time_step.episode_id).all()
        stage.stepper.begin_session(5)
        assert stage.stepper.tasks.fresh and stage.stepper.tasks.newest.names == ("nominal", "nominal")
        assert stage.tick.tasks_told == 1 and not stage.stepper.tasks.newest.given.any()


def test_drawn_tasks_are_told_with_the_tick_since_which_they_are_so():
    with Stage(num_envs=8, tasks="velocities", hazard=0.02) as stage:
        stepper, changes, names, ended = stage.stepper, 0, None, 0
        stepper.ant.max_episode_steps = 40
        for _ in range(150):
            record = stepper.tasks
            if record.fresh:
                record.fresh, changes = False, changes + 1
                assert record.newest.step_id == stage.tick.step_id
            newest = record.newest
            assert stage.tick.tasks_told == newest.number == changes and newest.session == stage.tick.session
            assert newest.names == tuple(task.name for task in stepper.ant.tasks)
            assert newest.vectors.tobytes() == stage.tick.time_step.task.tobytes()
            assert names is None or all(newest.since[row] == stage.tick.step_id for row in range(8)
                                        if names[row] != newest.names[row])
            for episode in stage.send():
                assert episode.task == names[episode.row]
                ended += episode.task != newest.names[episode.row]
            names = newest.names
            stage.answer(action=np.ones((8, 8), np.float32) * (-1) ** (stage.tick.step_id // 10))
        assert 10 < changes < 60 and ended > 10 and (newest.since <= newest.step_id).all() and not newest.given.any()


@pytest.mark.parametrize("text, task", [
    ("leg 3 lost", PRESETS["lost_leg"]().held_out[0]), (" nominal ", Task()),
    ("wired +-+-++++", Task("wired +-+-++++", gear=(1.0, -1.0, 1.0, -1.0, 1.0, 1.0, 1.0, 1.0))),
    ('{"friction": 2, "name": "rough"}', Task("rough", friction=2)),
    ('{"delay": 1, "tilt": [0.1, 0]}', Task("custom", delay=1, tilt=(0.1, 0))),
])
def test_a_task_is_found_by_name_or_made_of_json(text, task):
    assert find_task(text) == task


@pytest.mark.parametrize("text, sentence", [
    ("leg 4 lost", "unknown task 'leg 4 lost'; the nearest one is 'leg [0-3] lost', and ./run tasks NAME lists"),
    ("", "unknown task ''; the nearest one is"),
    ("{'friction': 2}", r'a task must be a name, or JSON such as {"friction": 2}, found {\'friction\': 2} \('),
    ('{"frictoin": 2}', "a task must have armature, .*, found frictoin"),
    ('{"friction": 20}', "friction of a task must be from 0.05 to 5, found 20"),
    ('{"friction": NaN}', "friction of a task must be from 0.05 to 5, found nan"),
    ('{"friction": "2"}', 'friction of a task must be a number, found "2"'),
    ('{"friction": [2]}', r"friction of a task must be a number, found \[2\]"),
    ('{"friction": null}', "friction of a task must be a number, found null"),
    ('{"delay": 1.5}', "delay of a task must be a whole number, found 1.5"),
    ('{"delay": true}', "delay of a task must be a whole number, found true"),
    ('{"gear": 0}', "gear of a task must be numbers, found 0"),
    ('{"gear": [0, 1]}', "gear of a task must have 8 numbers, found 2"),
    ('{"goal": [1, 2, 3]}', "goal of a task must have 2 numbers, found 3"),
    ('{"name": 3}', "name of a task must be a text, found 3"),
])
def test_what_is_no_task_is_refused_in_a_sentence(text, sentence):
    with pytest.raises(ValueError, match=sentence) as refused:
        find_task(text)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("settings, sentence", [
    ({"tasks": "wird"}, "tasks must be none or directions2 or .*, found 'wird'"),
    ({"tasks": "wired", "task_part": "heldout"}, "task_part must be train or held_out"),
    ({"tasks": "latency", "task_part": "held_out"},
     "task_part must be train, since of the tasks latency none are held out, found 'held_out'"),
    ({"task_part": "held_out"}, "task_part must be train where there are no tasks, found 'held_out'"),
    ({"hazard": 0.1}, "hazard must be below 0 where there are no tasks, found 0.1"),
    ({"episodes_per_trial": 2}, "episodes_per_trial must be 0 where there are no tasks, found 2"),
])
def test_settings_of_tasks_that_say_nothing_are_refused(settings, sentence):
    with pytest.raises(ArgumentError, match=sentence):
        EnvSettings(**settings)
