"""Balls that roll at robots, and goals seen from them, against geometry and Gymnasium."""

import json
import math

import numpy as np
import pytest
from stepper_stage import Stage
from test_given_tasks import assert_equal, played, steps_of
from test_tasks import NOMINAL, actions, of

from ant_env_node.episodes import of_transition
from ant_env_node.make import make
from ant_env_node.tasks.ant import TaskAnt
from ant_env_node.tasks.moving import seen
from ant_env_node.tasks.moving.ball import PAUSE, Balls
from ant_env_node.tasks.presets import PRESETS
from ant_env_node.tasks.task import MOVING, Task
from ant_env_node.vec_env import VectorAnt
from ant_rl_core.step import TimeStepEnv

DT = 0.05
BALL = Task("ball", hit_radius=0.75, ball_seed=3)


def test_a_ball_rolls_straight_at_where_a_robot_that_goes_on_will_be():
    """As a robot of constant velocity sees it: in from the distance at one speed, past at no more than the spread."""
    for seed in range(40):
        task = Task("t", hit_radius=0.01, ball_seed=seed, ball_speed=(2.0, 5.0), ball_distance=7.0, ball_spread=0.5)
        velocity, balls = np.array([3.0, -1.0]), Balls(1, DT)
        balls.begin(0, np.zeros(2))
        offsets, world = [], []
        for tick in range(1, 250):
            place = velocity * DT * tick
            assert not balls.step([task], [0], place[None]).any()
            assert balls.is_rolling(0) == (tick >= PAUSE) or offsets
            if not balls.is_rolling(0):
                if offsets:
                    break
                continue
            offsets.append(balls.position(0) - place)
            world.append(balls.position(0))
            # The closed form, from where it began.
            expected = world[0] + balls.velocity(0) * DT * (len(world) - 1)
            assert balls.position(0) == pytest.approx(expected, abs=1e-12)
        steps = np.diff(offsets, axis=0)
        assert np.ptp(steps, axis=0) == pytest.approx([0, 0], abs=1e-12)
        speed = np.hypot(*steps[0]) / DT
        assert 2 <= speed <= 5
        along = steps[0] / np.hypot(*steps[0])
        aside = abs(along[0] * offsets[0][1] - along[1] * offsets[0][0])
        assert aside <= 0.5 and offsets[0] @ along == pytest.approx(-7.0)
        # It is gone once it is past by the radius, and the next one comes after the pause.
        assert len(offsets) == math.floor((7.0 + 0.01) / (speed * DT)) + 1
        for _ in range(PAUSE):
            assert not balls.is_rolling(0)
            tick += 1
            balls.step([task], [0], velocity[None] * DT * tick)
        assert balls.is_rolling(0) and balls.save()[0, 0] == 2


def test_balls_come_from_all_sides_at_all_speeds():
    balls, found = Balls(400, DT), []
    tasks = [Task("t", hit_radius=0.5, ball_seed=seed) for seed in range(400)]
    for _ in range(PAUSE):
        balls.step(tasks, range(400), np.zeros((400, 2)))
    for row in range(400):
        x, y = balls.position(row)
        found.append((math.atan2(y, x), np.hypot(*balls.velocity(row))))
    angles, speeds = np.array(found).T
    assert (np.histogram(angles, 8, (-np.pi, np.pi))[0] > 25).all()
    assert 3 <= speeds.min() < 3.1 and 5.9 < speeds.max() <= 6


def test_a_robot_that_runs_away_is_rid_of_its_ball():
    task, balls = Task("t", hit_radius=0.5, ball_seed=1), Balls(1, DT)
    for _ in range(PAUSE):
        balls.step([task], [0], np.zeros((1, 2)))
    away = balls.velocity(0) / np.hypot(*balls.velocity(0))
    for tick in range(200):
        balls.step([task], [0], 9.0 * DT * tick * away[None])
        if not balls.is_rolling(0):
            break
    assert 20 < tick < 60


@pytest.fixture(scope="module")
def rolled():
    """What balls and goals did with robots in 300 ticks: (before, after, displacement, infos, places) of each."""
    tasks = of(BALL, Task("other", hit_radius=0.75, ball_seed=4, ball_speed=(6.0, 6.0)),
               Task("dense", goal=(3.0, -2.0)), Task("both", goal=(0.5, 0.0), goal_radius=1.0, hit_radius=1.0))
    found = []
    with TaskAnt(6, tasks, seed=2, num_threads=1, max_episode_steps=90) as ant:
        env = TimeStepEnv(ant)
        before = env.reset(2)
        for move in actions(300, 6):
            tasks_before = ant.tasks
            after = env.step(0.3 * move)
            velocity = np.stack([of_transition(after.info, name, after.done)
                                 for name in ("x_velocity", "y_velocity")], 1)
            places = np.array([ant._place(row) for row in range(6)])
            balls = np.array([ant._balls.position(row) for row in range(6)])
            found.append((before, after, velocity * ant.dt, tasks_before, ant.tasks, places, balls))
            before = after
    return found


def test_a_hit_is_a_ball_within_the_radius_and_ends_the_episode_as_a_fall_does(rolled):
    hits = near = 0
    for before, after, displacement, tasks, *_ in rolled:
        last = np.where(after.done[:, None], after.info.get("final_task", after.task), after.task)
        rolling, offset, velocity = seen.ball_of(before.task)
        distance = np.hypot(*(offset + velocity * DT - displacement).T)
        radius = np.array([task.hit_radius for task in tasks])
        # A ball may also begin in this tick, but never so near.
        assert (after.info["hit"] == (rolling & (distance <= radius))).all()
        assert (seen.hit(last) == after.info["hit"]).all()
        assert after.terminated[after.info["hit"]].all() and not after.truncated[after.info["hit"]].any()
        hits += int(after.info["hit"].sum())
        near += int((rolling & (distance <= radius + 0.5)).sum())
    assert near > hits > 10
    assert sum(int((after.terminated & ~after.info["hit"]).sum()) for _, after, *_ in rolled) < hits
    assert any(after.truncated.any() for _, after, *_ in rolled)


def test_what_is_told_is_seen_from_where_the_robot_is(rolled):
    for _, after, _, _, tasks, places, balls in rolled:
        rolling, offset, _ = seen.ball_of(after.task)
        assert (offset + places)[rolling] == pytest.approx(balls[rolling], abs=1e-5)
        assert not after.task[~rolling][:, Task.places()["ball"].start:].any()
        for row, task in enumerate(tasks):
            assert (after.task[row][~MOVING] == task.vector()[~MOVING]).all()
            if task.goal is not None:
                told = 10 * after.task[row, Task.places()["goal_offset"]]
                assert told + places[row] == pytest.approx(task.goal, abs=1e-5)


def test_a_displacement_says_what_is_told_next_and_what_is_earned(rolled):
    """Imagined from the vector alone, over a tick and over five: goal, ball, and the goal's reward."""
    checked = 0
    for before, after, displacement, tasks, *_ in rolled:
        last = np.where(after.done[:, None], after.info.get("final_task", after.task), after.task)
        imagined = seen.moved(before.task, displacement)
        same = (seen.ball_of(before.task)[0] == seen.ball_of(last)[0])
        assert imagined[same] == pytest.approx(last[same], abs=1e-6)
        has_goal = seen.has_goal(last)
        assert has_goal.tolist() == [task.goal is not None for task in tasks]
        forward = of_transition(after.info, "reward_forward", after.done)
        assert seen.reward(imagined)[has_goal] == pytest.approx(forward[has_goal], abs=1e-5)
        assert not seen.reached(imagined)[~has_goal].any()
        radius = np.array([task.goal_radius for task in tasks])
        assert (seen.reached(imagined) == (has_goal & (forward == 1) & (radius > 0)))[radius > 0].all()
        checked += int(same.sum())
    assert checked > 1500
    vector = rolled[40][0].task
    steps = [displacement for _, _, displacement, *_ in rolled[40:45]]
    one_by_one = vector
    for step in steps:
        one_by_one = seen.moved(one_by_one, step)
    assert seen.moved(vector, sum(steps), 5) == pytest.approx(one_by_one, abs=1e-6)


def test_a_nominal_row_beside_balls_is_gymnasiums_and_a_row_with_balls_too_until_it_is_hit():
    moves = 0.3 * actions(150, 2)
    with TaskAnt(2, NOMINAL, seed=5, num_threads=1) as ant, VectorAnt(2, seed=5, num_threads=1) as plain:
        ant.reset(seed=5)
        plain.reset(seed=5)
        ant.set_task(1, BALL)
        for tick in range(150):
            ours, theirs = ant.step(moves[tick]), plain.step(moves[tick])
            for one, other in zip(ours[:4], theirs[:4], strict=True):
                assert (one[0] == other[0]).all()
            if ours[2][1]:
                assert ours[4]["hit"].tolist() == [False, True] and not theirs[2][1]
                assert (ours[4]["final_obs"][1] == theirs[0][1]).all() and ours[1][1] == theirs[1][1]
                break
            assert (ours[0][1] == theirs[0][1]).all() and ours[1][1] == theirs[1][1]
    assert tick < 149


def test_saved_with_a_ball_on_its_way_it_goes_on_bit_for_bit_and_seeds_reproduce():
    moves = 0.3 * actions(120, 3)

    def run(env, ticks):
        return [(step.observation, step.reward, step.terminated, step.final_observation)
                for step in map(env.step, ticks)]
    first, again, other = (make(3, seed, 1, tasks=PRESETS["obstacle"](), told=True) for seed in (4, 4, 9))
    assert (first.reset(4).observation == again.reset(4).observation).all()
    for theirs, ours in zip(run(first, moves[:25]), run(again, moves[:25]), strict=True):
        assert all((a == b).all() for a, b in zip(theirs, ours, strict=True))
    saved = first.save()
    start = first.restore(saved)
    assert seen.ball_of(start.observation[:, 105:])[0].all()
    assert (other.restore(saved).observation == start.observation).all()
    expected = run(first, moves[25:])
    assert sum(int(step[2].sum()) for step in expected) > 2
    for theirs, ours in zip(expected, run(other, moves[25:]), strict=True):
        assert all((a == b).all() for a, b in zip(theirs, ours, strict=True))
    for env in (first, again, other):
        env.close()


def test_the_end_is_told_as_it_was():
    """Of an episode that ended the final observation has the ball that hit, and of one that was cut where it was."""
    env = make(2, 1, 1, tasks=of(BALL), max_episode_steps=30, told=True)
    env.reset(1)
    for _ in range(120):
        step = env.step(np.zeros((2, 8), np.float32))
        assert (seen.hit(step.final_observation[:, 105:]) == step.terminated).all()
        assert seen.ball_of(step.final_observation[:, 105:])[0][step.truncated].all()
        assert not seen.ball_of(step.observation[:, 105:])[0][step.done].any()
    env.close()


def test_an_env_node_tells_where_they_are_at_each_tick():
    """And since when the task itself is so; all else is as in one process."""
    given = {5: [(Task("goal", goal=(1.0, 1.0)), [0]), (BALL, [1])]}
    with Stage(num_envs=2, num_threads=1) as stage:
        found = played(stage, 60, given)
        newest = stage.stepper.tasks.newest
        assert newest.number == stage.tick.tasks_told >= 60 - 5
        assert newest.vectors.tobytes() == stage.tick.time_step.task.tobytes()
        assert newest.since.tolist() == [5, 5] and newest.given.all()
        assert Task.from_dict(json.loads(newest.definitions[1])) == BALL
    expected = steps_of(TaskAnt(2, None, seed=5), 60, given)
    assert_equal(found, expected, slice(None))
    for tick in range(6, 61):
        assert found[tick].task.tobytes() == expected[tick].task.tobytes(), tick
    with Stage(num_envs=2, num_threads=1, tasks="wired") as stage:
        played(stage, 20, {})
        assert stage.tick.tasks_told == 1, "what stays is told once"
