"""Sums of episodes against a plain Gymnasium loop, and robot states against MuJoCo."""

import gymnasium
import mujoco
import numpy as np
import pytest

from ant_env_node.episodes import EpisodeLedger
from ant_env_node.robot_state import StateReader
from ant_env_node.vec_env import VectorAnt
from ant_rl_core.step import TimeStepEnv
from ant_rl_core.telemetry import REWARD_PARTS


@pytest.mark.parametrize("num_envs, limit", [(1, 7), (3, 11)])
def test_episodes_are_those_of_gymnasium(num_envs, limit):
    rng = np.random.default_rng(0)
    actions = rng.uniform(-1, 1, (60, num_envs, 8)).astype(np.float32)
    found = []
    with VectorAnt(num_envs, 5, 1, max_episode_steps=limit) as ant:
        env = TimeStepEnv(ant)
        ledger = EpisodeLedger(env.reset(5), ant.np_random_seed, session=9)
        for action in actions:
            found += ledger.add(env.step(action), policy_version=4)
    expected = []
    for row in range(num_envs):
        single = gymnasium.make("Ant-v5", max_episode_steps=limit)
        _, info = single.reset(seed=5 + row)
        start, total, parts, length = info["x_position"], 0.0, dict.fromkeys(REWARD_PARTS, 0.0), 0
        for action in actions[:, row]:
            _, reward, terminated, truncated, info = single.step(action)
            total, length = total + float(np.float32(reward)), length + 1
            parts = {name: parts[name] + float(info[f"reward_{name}"]) for name in REWARD_PARTS}
            if terminated or truncated:
                expected.append((row, length, total, parts, info["x_position"] - start, terminated, truncated))
                _, info = single.reset()
                start, total, parts, length = info["x_position"], 0.0, dict.fromkeys(REWARD_PARTS, 0.0), 0
        single.close()
    assert len(found) == len(expected) >= 5 * num_envs
    key = [(e.row, e.length, e.episode_return, dict(e.reward_parts), e.distance, e.terminated, e.truncated)
           for e in sorted(found, key=lambda e: (e.row, e.episode_id))]
    for one, other in zip(key, expected, strict=True):
        assert one[:2] == other[:2] and one[5:] == other[5:]
        assert one[2] == pytest.approx(other[2], rel=1e-12)
        assert one[3] == pytest.approx(other[3], rel=1e-12)
        assert one[4] == pytest.approx(other[4], abs=1e-12)
    assert len({e.episode_id for e in found}) == len(found)
    assert {(e.row, e.seed) for e in found} == {(row, 5 + row) for row in range(num_envs)}
    assert {(e.session, e.policy_version, e.duration / e.length) for e in found} == {(9, 4, ant.dt)}


def test_forward_speed_is_the_first_robots_mean():
    with VectorAnt(2, 0, 1, max_episode_steps=4) as ant:
        env = TimeStepEnv(ant)
        first = env.reset(0)
        ledger = EpisodeLedger(first, ant.np_random_seed)
        for _ in range(4):
            step = env.step(np.full((2, 8), 0.5, np.float32))
            ledger.add(step)
        moved = step.info["final_info"]["x_position"][0] - first.info["x_position"][0]
        # x_velocity is of the torso's center, which lags a substep behind the position.
        assert ledger.take_speed() == pytest.approx(moved / (4 * ant.dt), abs=0.2)
        assert np.isnan(ledger.take_speed())


@pytest.fixture
def moving():
    with VectorAnt(1, 3, 1) as ant:
        ant.reset()
        rng = np.random.default_rng(3)
        for _ in range(30):
            ant.step(rng.uniform(-1, 1, (1, 8)).astype(np.float32))
        yield ant


def rotation(xyzw):
    x, y, z, w = xyzw
    return np.array([[1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
                     [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
                     [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)]])


def test_state_against_mujoco(moving):
    data = moving.data(0)
    before = data.qpos.copy(), data.qvel.copy(), data.cfrc_ext.copy(), data.time
    state = StateReader(moving.model).read(data)
    assert state.position.tolist() == data.qpos[:3].tolist()
    turn = rotation(state.orientation)
    body = mujoco.MjData(moving.model)
    body.qpos[:], body.qvel[:] = data.qpos, data.qvel
    mujoco.mj_forward(moving.model, body)
    np.testing.assert_allclose(turn, body.xmat[1].reshape(3, 3), atol=1e-12)
    velocity = np.zeros(6)  # rotational, then linear, in the body's frame
    mujoco.mj_objectVelocity(moving.model, body, mujoco.mjtObj.mjOBJ_XBODY, 1, velocity, 1)
    np.testing.assert_allclose(state.angular_velocity, velocity[:3], atol=1e-12)
    np.testing.assert_allclose(state.linear_velocity, velocity[3:], atol=1e-12)
    np.testing.assert_allclose(turn @ state.linear_velocity, data.qvel[:3], atol=1e-12)
    assert np.abs(state.linear_velocity - data.qvel[:3]).max() > 1e-3, "the robot must be turned for this test"
    for name, position, speed in zip(StateReader(moving.model).joint_names, state.joint_position,
                                     state.joint_velocity, strict=True):
        joint = data.joint(name)
        assert (position, speed) == (joint.qpos[0], joint.qvel[0])
    for i in range(moving.model.nu):
        joint = moving.model.joint(moving.model.actuator_trnid[i, 0]).name
        effort = dict(zip(StateReader(moving.model).joint_names, state.joint_effort, strict=True))[joint]
        assert effort == pytest.approx(150.0 * data.ctrl[i])
    for kept, now in zip(before, (data.qpos, data.qvel, data.cfrc_ext, data.time), strict=True):
        assert np.array_equal(kept, now), "reading must not change the simulation"


def test_the_imu_reads_what_an_accelerometer_does(moving):
    data, reader = moving.data(0), StateReader(moving.model)
    state = reader.read(data)
    ahead = mujoco.MjData(moving.model)
    model = moving.model.__copy__()
    model.opt.timestep = 1e-6
    ahead.qpos[:], ahead.qvel[:], ahead.ctrl[:] = data.qpos, data.qvel, data.ctrl
    mujoco.mj_step(model, ahead)
    acceleration = (ahead.qvel[:3] - data.qvel[:3]) / 1e-6  # in the world
    expected = rotation(state.orientation).T @ (acceleration - model.opt.gravity)
    np.testing.assert_allclose(state.acceleration, expected, rtol=1e-3, atol=0.05)


def test_the_imu_in_free_fall_and_at_rest():
    with VectorAnt(1, 0, 1, terminate_when_unhealthy=False, reset_noise_scale=0.0) as ant:
        ant.reset()
        reader, data = StateReader(ant.model), ant.data(0)
        data.qpos[2] = 500.0
        for _ in range(60):  # until the joints have come to rest
            ant.step(np.zeros((1, 8), np.float32))
        assert data.qvel[2] < -20
        np.testing.assert_allclose(reader.read(data).acceleration, 0.0, atol=0.1)
        data.qpos[2], data.qvel[:] = 0.75, 0.0
        for _ in range(200):
            ant.step(np.zeros((1, 8), np.float32))
        np.testing.assert_allclose(reader.read(data).acceleration, [0, 0, 9.81], atol=0.1)
