"""Tasks against Gymnasium and MuJoCo."""

import json
import math
import xml.etree.ElementTree as ElementTree
from dataclasses import fields

import gymnasium
import mujoco
import numpy as np
import pytest
from gymnasium.envs.mujoco.mujoco_env import expand_model_path

from ant_env_node.tasks.ant import TaskAnt
from ant_env_node.tasks.body import model_of
from ant_env_node.tasks.distribution import TaskDistribution
from ant_env_node.tasks.names import NAMES
from ant_env_node.tasks.presets import PRESETS, distribution, leg_actuators
from ant_env_node.tasks.task import Task
from ant_env_node.vec_env import VectorAnt, load_model
from ant_env_node.verbs import TASKS
from ant_rl_core.settings import ArgumentError
from ant_rl_core.step import TimeStepEnv

NOMINAL = TaskDistribution("nominal", "the stock Ant", (Task(),))


def of(*tasks, **words):
    return TaskDistribution("some", "some tasks", tasks, **words)


def actions(ticks, num_envs=1, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (ticks, num_envs, 8)).astype(np.float32)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_disjoint_and_go_through_json(name):
    tasks = PRESETS[name]()
    ids = [{task.name for task in part} for part in (tasks.train, tasks.held_out)]
    assert not ids[0] & ids[1] and len(ids[0]) == len(tasks.train) and len(ids[1]) == len(tasks.held_out)
    assert TaskDistribution.from_dict(json.loads(json.dumps(tasks.as_dict()))) == tasks
    vectors = np.array([task.vector() for task in (*tasks.train, *tasks.held_out)])
    assert np.isfinite(vectors).all()
    told_nothing = name in ("terrain", "obstacle")  # of a ground, and of balls to come
    assert len(np.unique(vectors, axis=0)) == (1 if told_nothing else len(vectors))


def test_the_names_are_those_of_the_presets():
    assert NAMES == ("none", *PRESETS) and distribution("none") is None


def test_sizes_of_presets():
    sizes = {name: (len(make().train), len(make().held_out)) for name, make in PRESETS.items()}
    assert sizes["wired"] == (192, 64) and sizes["lost_leg"] == (4, 1) and sizes["directions4"] == (4, 0)
    assert Task().has_stock_body and PRESETS["lost_leg"]().train[0] == Task()


def test_a_nominal_row_is_gymnasiums_bit_for_bit():
    """Over 200 steps with resets, beside rows of other tasks."""
    tasks = of(Task(), Task("strong", gear=(1.5,) * 8), Task("late", delay=2))
    moves = actions(200, 3)
    with TaskAnt(3, tasks, seed=5, max_episode_steps=60) as ant:
        ant.reset(seed=5)
        ant.set_task(0, Task())
        reference = gymnasium.make("Ant-v5", max_episode_steps=60)
        expected, _ = reference.reset(seed=5)
        for tick in range(200):
            found, rewards, terminated, truncated, infos = ant.step(moves[tick])
            expected, reward, ended, cut, _ = reference.step(moves[tick, 0])
            assert rewards[0] == reward and (terminated[0], truncated[0]) == (ended, cut)
            if ended or cut:
                assert (infos["final_obs"][0] == expected).all()
                expected, _ = reference.reset()
                ant.set_task(0, Task())
            assert (found[0] == expected).all()


def test_a_dead_leg_is_that_of_a_plain_env_with_that_leg_dead():
    dead = leg_actuators(2)
    gear = [0.0 if i in dead else 1.0 for i in range(8)]
    plain = gymnasium.make("Ant-v5")
    plain.unwrapped.model.actuator_gear[list(dead), 0] = 0
    with TaskAnt(1, of(Task("lost", gear=tuple(gear))), seed=3) as ant:
        found, _ = ant.reset(seed=3)
        expected, _ = plain.reset(seed=3)
        assert (found[0] == expected).all()
        for move in actions(200):
            found, rewards, *_ = ant.step(move)
            expected, reward, ended, _, _ = plain.step(move[0])
            if ended:
                break
            assert (found[0] == expected).all() and rewards[0] == reward


def test_mass_and_armature_are_those_of_a_recompiled_model(tmp_path):
    """A torso of three times the mass and twice the armature, in the XML: derived constants and 200 steps."""
    stock = load_model()
    tree = ElementTree.parse(expand_model_path("ant.xml"))
    for joint in tree.iter("joint"):
        if "armature" in joint.attrib:
            joint.set("armature", str(2 * float(joint.get("armature"))))
    torso = next(body for body in tree.iter("body") if body.get("name") == "torso")
    of_torso = stock.body("torso")
    inertia = {"pos": of_torso.ipos, "quat": of_torso.iquat, "mass": 3 * of_torso.mass,
               "diaginertia": 3 * of_torso.inertia}
    ElementTree.SubElement(torso, "inertial", {name: " ".join(map(str, value)) for name, value in inertia.items()})
    tree.find("compiler").set("inertiafromgeom", "auto")  # else the torso's would be computed of its geom again
    tree.write(tmp_path / "heavy.xml")
    expected = mujoco.MjModel.from_xml_path(str(tmp_path / "heavy.xml"))
    found = model_of(Task("heavy", mass=3, armature=2), stock, mujoco.MjData(stock))
    for name in ("body_mass", "body_subtreemass", "body_inertia", "dof_armature", "dof_invweight0", "body_invweight0",
                 "dof_M0"):
        assert getattr(found, name) == pytest.approx(getattr(expected, name), rel=1e-9), name
    assert stock.body_subtreemass[0] == load_model().body_subtreemass[0]  # the stock one stays as it was
    ends = []
    for model in (found, expected):
        data = mujoco.MjData(model)
        for move in actions(200):
            data.ctrl[:] = move[0]
            mujoco.mj_step(model, data, 5)
        ends.append(data.qpos.copy())
    assert ends[0] == pytest.approx(ends[1], abs=1e-6)


def test_multiples_are_of_the_stock_model_after_a_thousand_resets():
    tasks = of(Task("a", gear=(0.5,) * 8, mass=2), Task("b", friction=2.0))
    with TaskAnt(1, tasks, seed=0) as ant:
        stock = load_model()
        for _ in range(1000):
            ant.reset()
        task = ant.tasks[0]
        assert ant._models[0].actuator_gear[:, 0] == pytest.approx(stock.actuator_gear[:, 0] * task.gear)
        torso = stock.body("torso").id
        assert ant._models[0].body_mass[torso] == stock.body_mass[torso] * task.mass


def test_a_delay_is_of_ticks_and_begins_with_nothing():
    """What a row does with two ticks of delay, one without does with its actions shifted; costs are of those given."""
    moves = actions(30)
    shifted = np.concatenate([np.zeros((2, 1, 8), np.float32), moves])
    with TaskAnt(1, of(Task("late", delay=2)), seed=1) as late, VectorAnt(1, seed=1) as plain:
        late.reset(seed=1)
        plain.reset(seed=1)
        for tick in range(30):
            found, _, _, _, info = late.step(moves[tick])
            expected, *_ = plain.step(shifted[tick])
            assert (found == expected).all()
            assert info["reward_ctrl"][0] == pytest.approx(-0.5 * np.sum(np.square(moves[tick]), dtype=np.float32))


def test_wires_that_are_crossed_and_uncrossed_by_the_action_are_none():
    rng = np.random.default_rng(0)
    order, signs = rng.permutation(8), rng.choice([-1.0, 1.0], 8)
    task = Task("crossed", gear=tuple(signs.tolist()), wiring=tuple(order.tolist()))
    with TaskAnt(1, of(task), seed=2) as crossed, VectorAnt(1, seed=2) as plain:
        crossed.reset(seed=2)
        plain.reset(seed=2)
        for move in actions(50):
            uncrossed = np.zeros_like(move)
            uncrossed[:, order] = move * signs.astype(np.float32)
            found, *_ = crossed.step(uncrossed)
            expected, *_ = plain.step(move)
            assert (found == expected).all()


@pytest.mark.parametrize("task, wanted", [
    (Task("up", heading=math.pi / 2), lambda v, xy: v[1]),
    (Task("goal", goal=(3.0, -4.0)), lambda v, xy: -math.dist(xy, (3, -4))),
    (Task("near", goal=(0.0, 0.0), goal_radius=5.0), lambda v, xy: 1.0),
    (Task("far", goal=(50.0, 0.0), goal_radius=1.0), lambda v, xy: 0.0),
    (Task("slow", speed=1.5), lambda v, xy: -abs(v[0] - 1.5)),
    (Task("random", weights=(0.5, -2.0, 0.0, 0.0)), lambda v, xy: 0.5 * v[0] - 2 * v[1]),
])
def test_a_reward_stands_in_for_forward_velocity_and_all_else_stays(task, wanted):
    moves = actions(40)
    with TaskAnt(1, of(task), seed=4) as ant, VectorAnt(1, seed=4) as plain:
        ant.reset(seed=4)
        plain.reset(seed=4)
        for move in moves:
            _, rewards, _, _, info = ant.step(move)
            _, expected, _, _, reference = plain.step(move)
            velocity = reference["x_velocity"][0], reference["y_velocity"][0]
            xy = plain.data(0).body("torso").xpos[:2]
            assert rewards[0] == pytest.approx(expected[0] - velocity[0] + wanted(velocity, xy), abs=1e-9)
            assert info["reward_forward"][0] == pytest.approx(wanted(velocity, xy), abs=1e-9)


def test_tasks_reward_one_trajectory_differently():
    """Two directions that are the same by mistake would not."""
    returns = []
    for task in PRESETS["directions4"]().train:
        with TaskAnt(1, of(task), seed=6) as ant:
            ant.reset(seed=6)
            returns.append(sum(float(ant.step(move)[4]["reward_forward"][0]) for move in actions(60)))
    assert returns[0] == pytest.approx(-returns[2]) and returns[1] == pytest.approx(-returns[3])
    assert min(abs(a - b) for a in returns for b in returns if a is not b) > 1e-3


def test_the_same_seed_gives_the_same_tasks_whatever_the_number_of_rows():
    drawn = []
    for num_envs in (2, 5):
        with TaskAnt(num_envs, PRESETS["wired"](), seed=9) as ant:
            names = []
            for _ in range(6):
                ant.reset()
                names.append([task.name for task in ant.tasks[:2]])
            ant.reset(seed=9)
            assert [task.name for task in ant.tasks[:2]] == names[0]
        drawn.append(names)
    assert drawn[0] == drawn[1] and len({name for row in drawn[0] for name in row}) > 6


def test_trials_of_two_episodes_and_their_ids():
    tasks = of(*(Task(f"d{i}", heading=0.1 * i) for i in range(30)), episodes_per_trial=2)
    env = TimeStepEnv(TaskAnt(3, tasks, seed=0, max_episode_steps=5))
    step = env.reset(0)
    assert step.trial_first.all() and (step.task == [task.vector() for task in env.env.tasks]).all()
    firsts, names = [], [[task.name for task in env.env.tasks]]
    for _ in range(20):
        step = env.step(np.zeros((3, 8), np.float32))
        firsts.append(step.trial_first.tolist())
        names.append([task.name for task in env.env.tasks])
        assert (step.task == [task.vector() for task in env.env.tasks]).all()
    assert [i + 1 for i, first in enumerate(firsts) if any(first)] == [10, 20] and all(firsts[9])
    assert names[0] == names[9] != names[10] == names[19] != names[20]
    env.close()


def test_a_hazard_changes_tasks_within_an_episode_and_no_trial():
    tasks = of(*(Task(f"d{i}", heading=0.1 * i) for i in range(30)), hazard=0.1)
    env = TimeStepEnv(TaskAnt(8, tasks, seed=0))
    before = env.reset(0)
    changes = 0
    for _ in range(100):
        step = env.step(np.zeros((8, 8), np.float32))
        assert not step.trial_first.any()
        changes += int((step.task != before.task).any(axis=1).sum())
        before = step
    assert 800 * 0.1 * 0.6 < changes < 800 * 0.1 * 1.4  # 77 expected, as one in 30 draws the same again
    env.close()


def test_saved_in_mid_trial_it_goes_on_bit_for_bit():
    tasks = TaskDistribution("all", "everything at once", PRESETS["everything"]().train, episodes_per_trial=2,
                             hazard=0.02)
    moves = actions(150, 4)

    def run(env, ticks):
        return [(step.observation, step.reward, step.trial_id, step.task) for step in map(env.step, ticks)]
    first = TimeStepEnv(TaskAnt(4, tasks, seed=3, max_episode_steps=40))
    first.reset(3)
    run(first, moves[:70])
    saved = first.save()
    expected = run(first, moves[70:])
    second = TimeStepEnv(TaskAnt(4, tasks, seed=99, max_episode_steps=40))
    second.restore(saved)
    for theirs, ours in zip(expected, run(second, moves[70:]), strict=True):
        assert all((a == b).all() for a, b in zip(theirs, ours, strict=True))
    plain = TimeStepEnv(VectorAnt(4))
    plain.reset(0)
    with pytest.raises(ValueError, match="saved with tasks, such as all, found none"):
        second.restore(plain.save())
    for env in (first, second, plain):
        env.close()


def test_a_model_that_is_written_over_is_as_one_that_was_made_for_the_task():
    """Also back at the stock task, and where what MuJoCo derives of masses changed in between."""
    tasks = (Task("a", gear=(0.5,) * 8, friction=2.0, tilt=(0.1, 0.0)), Task("b", damping=3.0), Task("c", mass=2.0),
             Task("d", armature=2.0, friction=0.5), Task("e", delay=1), Task("f", gear=(-1.0,) * 8), Task())
    moves = actions(20)
    with TaskAnt(1, of(Task()), seed=3) as worn:
        for task in tasks:
            with TaskAnt(1, of(task), seed=3) as fresh:
                worn.reset(seed=3)
                fresh.reset(seed=3)
                worn.set_task(0, task)
                for move in moves:
                    (ours, _, ended, _, _), theirs = worn.step(move), fresh.step(move)[0]
                    if ended[0]:  # the stock task is drawn
                        break
                    assert (ours == theirs).all(), task.name


def test_the_list_has_every_preset_and_every_number(capsys):
    assert TASKS.run([]) == 0
    said = capsys.readouterr().out
    assert all(f"  {name} " in said for name in PRESETS)
    assert all(f"  {each.name} = " in said for each in fields(Task) if each.name != "name")
    assert TASKS.run(["lost_leg"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[said.index("held_out:") + 1:] == ["  leg 3 lost           gear = 0.0,0.0,1.0,1.0,1.0,1.0,1.0,1.0"]
    with pytest.raises(ArgumentError, match="unknown tasks 'wierd'; the nearest ones are 'wired'"):
        TASKS.run(["wierd"])


@pytest.mark.parametrize("make, sentence", [
    (lambda: Task(gear=(1.0,) * 7), "gear of a task must have 8 numbers, found 7"),
    (lambda: Task(gear=(3.0,) + (1.0,) * 7), r"gear of a task must be from -2 to 2, found \(3.0, "),
    (lambda: Task(friction=float("nan")), "friction of a task must be from 0.05 to 5, found nan"),
    (lambda: Task(hit_radius=-0.1), "hit_radius of a task must be from 0 to 5, found -0.1"),
    (lambda: Task(ball_speed=(1.0, float("inf"))), r"ball_speed of a task must be from 0.1 to 30, found \(1.0, inf\)"),
    (lambda: Task(ball_speed=(1.0,)), "ball_speed of a task must have 2 numbers, found 1"),
    (lambda: Task(ball_speed=(2.0, 1.0)), r"ball_speed of a task must be the lowest and the highest, found \(2.0, 1.0"),
    (lambda: Task(hit_radius=2.0, ball_distance=2.0),
     "ball_distance of a task must be above its hit_radius, 2, found 2"),
    (lambda: Task.from_dict({"name": "x", "ball_seed": 0.5}), "ball_seed of a task must be a whole number, found 0.5"),
    (lambda: Task(delay=11), "delay of a task must be from 0 to 10, found 11"),
    (lambda: Task(wiring=(0, 0, 2, 3, 4, 5, 6, 7)), "wiring of a task must name each of 0 to 7 once"),
    (lambda: Task(heading=0.0, speed=1.0), "a task must have one reward, found heading and speed"),
    (lambda: Task.from_dict({"name": "x", "gears": []}), "a task must have armature, .*, found gears"),
    (lambda: TaskDistribution("t", "", (Task("a"),), (Task("a", delay=1),)),
     "the tasks t must all be different, found a in train and in held_out"),
    (lambda: TaskDistribution("t", "", (Task("a"),), (Task("b"),)),
     "the tasks t must all be different, found b in train and in held_out"),
    (lambda: TaskDistribution("t", "", ()), "must have one to train on, found none"),
    (lambda: of(Task("bumpy", terrain=0.1), hazard=0.1), "hazard must be 0 with terrain, which would rise under"),
    (lambda: TaskAnt(1, of(Task())).set_task(0, Task("bumpy", terrain=0.1)), "a task with terrain needs robots whose"),
    (lambda: of(Task(), hazard=1.5), "hazard must be from 0 to 1, found 1.5"),
    (lambda: of(Task(), episodes_per_trial=0), "episodes_per_trial must be at least 1, found 0"),
    (lambda: TaskAnt(1, of(Task()), part="held_out"), "the tasks some have none that are held_out"),
])
def test_what_can_not_be_is_refused_with_a_sentence(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()
