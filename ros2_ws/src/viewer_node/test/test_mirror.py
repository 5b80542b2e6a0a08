"""A simulation's state, sent as its topics and put back: the same bodies, the same contacts."""

import json
from dataclasses import replace

import mujoco
import numpy as np
import pytest
from builtin_interfaces.msg import Time
from nav_msgs.msg import Odometry
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import JointState

from ant_env_node.codec import encode_joint_state, encode_odometry
from ant_env_node.robot_state import StateReader
from ant_env_node.tasks.ant import TaskAnt
from ant_env_node.tasks.task import Task
from ant_env_node.vec_env import VectorAnt, load_model
from ant_rl_core.spec import ACTUATOR_NAMES
from ant_rl_core.tick import RowTasks
from ant_rl_ros.messages import encode_tasks
from viewer_node.codec import decode_motion, decode_task
from viewer_node.mirror import Mirror

STAMP = Time(sec=12, nanosec=500_000_000)


def topics(ant):
    """What the environment publishes of its first robot, as others receive it."""
    reader = StateReader(ant.model)
    state = reader.read(ant.data(0))
    messages = (encode_odometry(state, "torso", STAMP), encode_joint_state(state, reader.joint_names, STAMP))
    return [deserialize_message(serialize_message(message), type(message)) for message in messages]


def up_to_date(ant):
    """The simulation's own data with everything made from its present state: a step leaves that of its last stage."""
    data = mujoco.MjData(ant.model)
    mujoco.mj_copyData(data, ant.model, ant.data(0))
    mujoco.mj_forward(ant.model, data)
    return data


def test_bodies_and_contacts_are_those_of_the_simulation():
    mirror = Mirror(load_model())
    rng = np.random.default_rng(0)
    touched, strongest = 0, 0.0
    with VectorAnt(1, 5) as ant:
        ant.reset()
        for _ in range(120):
            ant.step(rng.uniform(-1.0, 1.0, (1, 8)).astype(np.float32))
            mirror.show(decode_motion(*topics(ant)))
            expected = up_to_date(ant)
            for name in ("xpos", "xquat", "qvel", "geom_xpos", "actuator_force"):
                np.testing.assert_allclose(getattr(mirror.data, name), getattr(expected, name), rtol=0, atol=1e-9)
            found = mirror.contacts()
            assert [contact.geoms for contact in found] == [tuple(c.geom) for c in expected.contact]
            for contact, theirs in zip(found, expected.contact, strict=True):
                np.testing.assert_allclose(contact.position, theirs.pos, rtol=0, atol=1e-9)
                assert contact.distance == pytest.approx(theirs.dist, abs=1e-9)
            # What the contacts do to the whole robot; the solver is iterative and begins elsewhere.
            total = sum((contact.force for contact in found if 0 in contact.geoms), np.zeros(3))
            # The free joint's linear part: the sum of all forces from outside.
            np.testing.assert_allclose(total, expected.qfrc_constraint[:3], atol=1e-3 * (1 + np.abs(total).max()))
            touched, strongest = touched + len(found), max(strongest, total[2])
    assert touched > 30 and strongest > 50


def test_feet_are_the_ends_of_the_legs():
    mirror = Mirror(load_model())
    assert list(mirror.feet) == ["ankle_1", "ankle_2", "ankle_3", "ankle_4"]
    geoms = {mirror.model.geom(int(mirror.model.body_geomadr[body])).name for body in mirror.feet.values()}
    assert geoms == {"left_ankle_geom", "right_ankle_geom", "third_ankle_geom", "fourth_ankle_geom"}


def test_what_a_dead_or_reversed_motor_moves_has_another_color():
    mirror, stock = Mirror(load_model()), load_model()
    assert (stock.geom_rgba[1:] == np.float32((0.8, 0.6, 0.4, 1.0))).all()
    tasks = RowTasks(1, 1, 2, ("a", "b"), ("{}", "{}"), np.zeros(2, np.int64), np.zeros(2, bool),
                     np.zeros((2, 3), np.float32))
    task = Task("a", gear=tuple({"hip_4": 0.0, "ankle_1": -1.0}.get(name, 1.0) for name in ACTUATOR_NAMES))
    told = replace(tasks, definitions=(json.dumps(task.as_dict()), "{}"))
    shown = decode_task(encode_tasks(told, STAMP))
    assert shown.name == "a" and shown.ball is None
    mirror.show_gear(shown.gear)
    moved = {stock.geom(int(geom)).name for geom in np.flatnonzero((mirror.model.geom_rgba != stock.geom_rgba).any(1))}
    assert moved == {"rightback_leg_geom", "left_ankle_geom"}
    mirror.show_gear(Task().gear)
    assert (mirror.model.geom_rgba == stock.geom_rgba).all()
    with pytest.raises(ValueError, match="a task must have"):
        decode_task(encode_tasks(replace(told, definitions=('{"wings": 2}', "{}")), STAMP))


def test_a_ball_is_where_the_task_tells():
    mirror = Mirror(load_model())
    with TaskAnt(1, None, seed=3) as ant:
        ant.reset(seed=3)
        ant.set_task(0, Task("balls", hit_radius=0.5))
        for tick in range(20):
            ant.step(np.zeros((1, 8)))
            shown = decode_task(encode_tasks(RowTasks(
                1, 1, tick, ("balls",), (json.dumps(ant.tasks[0].as_dict()),), np.zeros(1, np.int64),
                np.zeros(1, bool), ant.task_vectors), STAMP))
            mirror.data.qpos[:] = ant.data(0).qpos
            mirror.show_ball(shown.ball)
            if ant.ball(0) is None:
                assert mirror.ball is None and tick < 9
            else:
                assert mirror.ball == pytest.approx(ant.ball(0), abs=0.01)
        assert mirror.ball is not None


def test_a_state_of_another_robot_is_refused():
    mirror = Mirror(load_model())
    with VectorAnt(1, 5) as ant:
        ant.reset()
        odometry, joints = topics(ant)
    joints.name[3] = "elbow"
    with pytest.raises(ValueError, match="expected the joints hip_1, .* found .*elbow"):
        mirror.show(decode_motion(odometry, joints))
    with pytest.raises(ValueError, match="effort of joint_states must have 8 values, found 0"):
        decode_motion(odometry, JointState(name=joints.name, position=joints.position, velocity=joints.velocity))
    assert isinstance(odometry, Odometry)
