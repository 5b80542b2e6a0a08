"""The Ant's symmetries against MuJoCo: a turned, relabeled or mirrored start gives the same trajectory so changed."""

import math

import mujoco
import numpy as np
import pytest

from ant_env_node.tasks import symmetry
from ant_env_node.vec_env import VectorAnt
from ant_rl_core.spec import JOINT_NAMES

TICKS = 12


def trajectory(ticks=TICKS, warm=25):
    """Actions and observations of some ticks with contacts, and the state before them."""
    rng = np.random.default_rng(3)
    with VectorAnt(1, seed=8) as ant:
        ant.reset(seed=8)
        for _ in range(warm):
            ant.step(rng.uniform(-0.5, 0.5, (1, 8)).astype(np.float32))
        data = ant.data(0)
        start = data.qpos.copy(), data.qvel.copy()
        actions = rng.uniform(-0.6, 0.6, (ticks, 1, 8)).astype(np.float32)
        return start, actions, [run_from(start, actions[:k + 1]) for k in range(ticks)]


def run_from(start, actions):
    """What is seen after the actions, from positions and velocities in MuJoCo's own terms, and the torso's x and y."""
    with VectorAnt(1, seed=0) as ant:
        ant.reset(seed=0)
        data = ant.data(0)
        data.qpos[:], data.qvel[:] = start
        mujoco.mj_forward(ant.model, data)
        for action in actions:
            seen = ant.step(action)[0]
        return seen.astype(np.float32), data.qpos[:2].copy()


def quaternion(angle):
    return np.array([math.cos(angle / 2), 0, 0, math.sin(angle / 2)])


def times(a, b):
    out = np.empty(4)
    mujoco.mju_mulQuat(out, a, b)
    return out


def rotation(angle):
    return np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])


def by_leg(joints):
    """[4, (hip, ankle)]; the ankles of the two legs in the middle are built the other way round."""
    legs = np.array([[joints[JOINT_NAMES.index(f"{part}_{leg}")] for part in ("hip", "ankle")] for leg in (1, 2, 3, 4)])
    return legs * [[1, 1], [1, -1], [1, -1], [1, 1]]


def joints_of(legs):
    legs = legs * [[1, 1], [1, -1], [1, -1], [1, 1]]
    return np.array([legs[int(name[-1]) - 1, int(name.startswith("ankle"))] for name in JOINT_NAMES])


def test_a_turned_start_gives_the_turned_trajectory():
    (qpos, qvel), actions, expected = trajectory()
    assert np.abs(expected[-1][0][0, symmetry.CONTACTS]).max() > 0.1, "no contacts: nothing is tested of them"
    for angle in (math.pi / 2, math.pi, -math.pi / 2):
        turned = qpos.copy(), qvel.copy()
        turned[0][:2] = rotation(angle) @ qpos[:2]
        turned[0][3:7] = times(quaternion(angle), qpos[3:7])
        turned[1][:2] = rotation(angle) @ qvel[:2]
        for k, (seen, xy) in enumerate(expected):
            ours, at = run_from(turned, actions[:k + 1])
            assert np.abs(same_sign(ours) - symmetry.turn_world(seen, angle)).max() < 1e-6
            assert np.abs(at - rotation(angle) @ xy).max() < 1e-6


def test_legs_under_other_names_give_the_relabeled_trajectory():
    (qpos, qvel), actions, expected = trajectory()
    for quarters in (1, 2, 3):
        angle = quarters * math.pi / 2
        told = qpos.copy(), qvel.copy()
        told[0][3:7] = times(qpos[3:7], quaternion(angle))
        told[0][7:] = joints_of(np.roll(by_leg(qpos[7:]), -quarters, axis=0))
        told[1][3:5] = rotation(-angle) @ qvel[3:5]
        told[1][6:] = joints_of(np.roll(by_leg(qvel[6:]), -quarters, axis=0))
        renamed = np.array([symmetry.relabel_action(action, quarters) for action in actions])
        for k, (seen, xy) in enumerate(expected):
            ours, at = run_from(told, renamed[:k + 1])
            assert np.abs(same_sign(ours) - symmetry.relabel(seen, quarters)).max() < 1e-6
            assert np.abs(at - xy).max() < 1e-6


def test_a_mirrored_start_gives_the_mirrored_trajectory():
    (qpos, qvel), actions, expected = trajectory()
    mirrored = qpos.copy(), qvel.copy()
    mirrored[0][1] *= -1
    mirrored[0][[4, 6]] *= -1
    mirrored[0][7:] = joints_of(by_leg(qpos[7:])[::-1] * [-1, 1])
    mirrored[1][1] *= -1
    mirrored[1][[3, 5]] *= -1
    mirrored[1][6:] = joints_of(by_leg(qvel[6:])[::-1] * [-1, 1])
    moves = np.array([symmetry.mirror_action(action) for action in actions])
    for k, (seen, xy) in enumerate(expected):
        ours, at = run_from(mirrored, moves[:k + 1])
        assert np.abs(ours - symmetry.mirror(seen)).max() < 1e-6
        assert np.abs(at - xy * [1, -1]).max() < 1e-6


def same_sign(observation):
    """The quaternion with w >= 0, as the module has it."""
    if observation[0, 1] < 0:
        observation = observation.copy()
        observation[:, symmetry.ORIENTATION] *= -1
    return observation


def seen(n=7):
    rng = np.random.default_rng(1)
    observation = rng.normal(size=(n, 105)).astype(np.float32)
    observation[:, 1] = np.abs(observation[:, 1])
    observation[:, symmetry.ORIENTATION] /= np.linalg.norm(observation[:, symmetry.ORIENTATION], axis=1, keepdims=True)
    return observation, rng.uniform(-1, 1, (n, 8)).astype(np.float32)


def test_four_quarter_turns_and_two_mirrors_are_the_identity():
    observation, action = seen()
    turned, told, renamed = observation, observation, action
    for _ in range(4):
        turned = symmetry.turn_world(turned, math.pi / 2)
        told = symmetry.relabel(told, 1)
        renamed = symmetry.relabel_action(renamed, 1)
    for ours in (turned, told, symmetry.mirror(symmetry.mirror(observation)),
                 symmetry.turn_world(symmetry.turn_world(observation, 0.4), -0.4)):
        assert np.abs(ours - observation).max() < 1e-6 and ours.dtype == np.float32
    for ours in (renamed, symmetry.relabel_action(symmetry.relabel_action(action, 3), -3),
                 symmetry.mirror_action(symmetry.mirror_action(action))):
        assert (ours == action).all() and ours.dtype == np.float32
    assert (symmetry.turn_world(observation, 0.0) == observation).all()
    assert (symmetry.relabel(observation, 0) == observation).all()


def test_each_row_has_its_own_turn():
    observation, action = seen(4)
    angles, quarters = np.array([0.0, 1.0, -2.0, 3.0]), np.array([0, 1, 2, 3])
    turned, told = symmetry.turn_world(observation, angles), symmetry.relabel(observation, quarters)
    renamed = symmetry.relabel_action(action, quarters)
    for i in range(4):
        row = slice(i, i + 1)
        assert np.allclose(turned[row], symmetry.turn_world(observation[row], angles[i]), atol=1e-7)
        assert (told[row] == symmetry.relabel(observation[row], int(quarters[i]))).all()
        assert (renamed[row] == symmetry.relabel_action(action[row], int(quarters[i]))).all()


def test_the_heading_follows_turns_of_the_world_and_of_the_frame():
    observation, _ = seen(5)
    observation[:, symmetry.ORIENTATION] = [math.cos(0.1), 0, 0, math.sin(0.1)]
    assert symmetry.heading_of(observation) == pytest.approx(0.2, abs=1e-6)
    assert symmetry.heading_of(symmetry.turn_world(observation, 0.7)) == pytest.approx(0.9, abs=1e-6)
    assert symmetry.heading_of(symmetry.relabel(observation, 1)) == pytest.approx(0.2 + math.pi / 2, abs=1e-6)


def test_another_observation_is_refused():
    with pytest.raises(ValueError, match=r"observation must have shape \(n, 105\), found \(2, 139\)"):
        symmetry.turn_world(np.zeros((2, 139), np.float32), 0.0)
