"""Uneven ground: stock robots beside others do not notice it, bumps are where the heights say, each row has its own."""

import mujoco
import numpy as np
import pytest

from ant_env_node.tasks.ant import TaskAnt
from ant_env_node.tasks.distribution import TaskDistribution
from ant_env_node.tasks.presets import PRESETS
from ant_env_node.tasks.task import Task
from ant_env_node.tasks.terrain import model_with_terrain, write_terrain
from ant_env_node.vec_env import VectorAnt
from ant_rl_core.step import TimeStepEnv

BUMPY = tuple(Task(f"bumpy {i}", terrain=0.2, terrain_seed=i) for i in range(3))
MOVES = np.random.default_rng(0).uniform(-1, 1, (150, 2, 8)).astype(np.float32)


def test_a_stock_robot_beside_ones_on_bumps_is_vector_ants_bit_for_bit():
    tasks = TaskDistribution("some", "of the test", (Task(), *BUMPY))
    with TaskAnt(2, tasks, seed=4, max_episode_steps=60) as ant, VectorAnt(2, seed=4, max_episode_steps=60) as plain:
        ant.reset(seed=4)
        plain.reset(seed=4)
        for tick, move in enumerate(MOVES):
            ant.set_task(0, BUMPY[0] if tick % 50 == 20 else Task())  # and back, one tick later
            ant.set_task(0, Task())
            ant.set_task(1, BUMPY[1])
            ours, theirs = ant.step(move), plain.step(move)
            assert (ours[0][0] == theirs[0][0]).all() and ours[1][0] == theirs[1][0], tick


def test_bumps_are_where_the_heights_say():
    """A ray from above meets them there."""
    model = model_with_terrain("ant.xml")
    data = mujoco.MjData(model)
    terrain = model.geom("terrain").id
    for seed in (0, 1):
        write_terrain(model, 0.2, seed)
        mujoco.mj_forward(model, data)
        heights = model.hfield_data.reshape(400, 400) * 0.4 - 0.1
        assert np.isclose(heights.max(), 0.2, atol=0.01) and heights.min() == np.float32(-0.1)
        for row, column in ((30, 40), (210, 190), (200, 200), (350, 120)):
            x, y = np.linspace(-100, 100, 400)[[column, row]]
            far = mujoco.mj_rayHfield(model, data, terrain, np.array([x, y, 5.0]), np.array([0.0, 0.0, -1.0]), None)
            assert abs(5.0 - far - heights[row, column]) < 1e-3
    write_terrain(model, 0.0, 0)
    assert model.geom_conaffinity[terrain] == 0


def test_each_robot_has_a_ground_of_its_own_that_goes_on_when_it_is_saved():
    tasks = TaskDistribution("some", "of the test", BUMPY)
    first = TimeStepEnv(TaskAnt(2, tasks, seed=1, max_episode_steps=50))
    first.reset(1)
    for move in MOVES[:70]:
        first.step(move)
    saved = first.save()
    expected = [first.step(move).observation for move in MOVES[70:]]
    second = TimeStepEnv(TaskAnt(2, tasks, seed=7, max_episode_steps=50))
    second.restore(saved)
    assert all((a == second.step(move).observation).all() for a, move in zip(expected, MOVES[70:], strict=True))
    tasks, models = first.env.tasks, first.env._models
    assert (models[0].hfield_data == models[1].hfield_data).all() == (tasks[0] == tasks[1])
    for env in (first, second):
        env.close()


def test_bumps_are_felt_and_are_not_at_the_start():
    flat, rough = [], []
    for found, task in ((flat, Task()), (rough, BUMPY[0])):
        with TaskAnt(1, TaskDistribution("one", "of the test", (task,)), seed=3) as ant:
            ant.reset(seed=3)
            for _ in range(10):
                ant.step(np.zeros((1, 8), np.float32))
            found.append(ant.data(0).qpos.copy())
            ant.data(0).qpos[:2] = 20.0, 5.0
            for _ in range(20):
                ant.step(np.zeros((1, 8), np.float32))
            found.append(ant.data(0).qpos.copy())
    assert (flat[0] == rough[0]).all() and abs(flat[1][2] - rough[1][2]) > 0.02
    assert min(task.terrain for task in PRESETS["terrain"]().held_out) >= 0.05


def test_who_is_on_a_flat_floor_gets_none_and_keeps_its_task():
    with TaskAnt(2, None, seed=0) as ant:
        ant.reset(seed=0)
        strong = Task("strong", gear=(1.5,) * 8)
        ant.set_task(1, strong)
        ant.take_changed()
        for row in (0, 1):
            with pytest.raises(ValueError, match="a task with terrain needs robots whose tasks have some"):
                ant.set_task(row, Task("bumpy", terrain=0.1, gear=(2.0,) * 8))
        assert ant.tasks == (Task(), strong) and not ant.take_changed().any()
        assert (ant.row_model(1).actuator_gear[:, 0] == 225).all() and ant.row_model(0) is ant.model
