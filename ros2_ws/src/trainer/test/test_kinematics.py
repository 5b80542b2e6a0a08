"""What is known of the Ant without learning, against the Ant itself."""

import keras
import numpy as np
import pytest

from ant_env_node.episodes import of_transition
from ant_env_node.vec_env import VectorAnt
from ant_rl_core.step import TimeStepEnv
from trainer.models import kinematics

NUM_ENVS, TICKS = 32, 200


@pytest.fixture(scope="module")
def walked():
    """What random torques of changing strength did to robots: arrays [ticks, n, …] by name."""
    rng = np.random.default_rng(7)
    names = ("observation", "action", "reward", "terminated", "next_observation", "displacement", "qpos_displacement")
    found = {name: [] for name in names}
    with VectorAnt(NUM_ENVS, 3, 1) as ant:
        env = TimeStepEnv(ant)
        before = env.reset()
        for tick in range(TICKS):
            action = rng.uniform(-1, 1, (NUM_ENVS, 8)).astype(np.float32) * (tick % 4 > 0)
            place = np.array([ant.data(row).qpos[:2] for row in range(NUM_ENVS)])
            after = env.step(action)
            velocity = [of_transition(after.info, name, after.done) for name in ("x_velocity", "y_velocity")]
            position = [of_transition(after.info, name, after.done) for name in ("x_position", "y_position")]
            for name, value in zip(names, (before.observation, action, after.reward, after.terminated,
                                           after.final_observation, np.stack(velocity, 1) * ant.dt,
                                           np.stack(position, 1) - place), strict=True):
                found[name].append(value.copy())
            before = after
    return {name: np.stack(values) for name, values in found.items()}


def reward_of(walked, displacement):
    state = kinematics.state_of(walked["next_observation"].astype(np.float64))
    contact = kinematics.contact_of(walked["next_observation"].astype(np.float64))
    action = walked["action"].astype(np.float64)
    return kinematics.reward_of(kinematics.forward(displacement, state), action, state, contact)


def test_the_reward_of_its_parts_is_the_reward(walked):
    assert np.abs(reward_of(walked, walked["displacement"]) - walked["reward"]).max() < 1e-6
    # By where the robot is, which its reward lags behind a little:
    off = np.abs(reward_of(walked, walked["qpos_displacement"]) - walked["reward"])
    assert np.quantile(off, 0.99) < 0.05 and np.sqrt(np.square(off).mean()) < 0.02


def test_the_end_is_the_end(walked):
    assert walked["terminated"].sum() > 5
    assert (kinematics.terminated(kinematics.state_of(walked["next_observation"])) == walked["terminated"]).all()


@pytest.mark.parametrize(("height", "ends"), [
    (0.2, False), (np.nextafter(0.2, 0), True), (1.0, False), (np.nextafter(1.0, 2), True), (0.5, False),
    (np.nan, True), (np.inf, True), (-np.inf, True)])
def test_the_end_is_where_the_ant_has_it(height, ends):
    state = np.zeros((1, 27))
    state[0, 0] = height
    assert kinematics.terminated(state) == ends
    state[0, 0], state[0, 20] = 0.5, height
    assert kinematics.terminated(state) == (not np.isfinite(height))


def test_a_transition_tells_how_far_the_torso_moved(walked):
    found = kinematics.displacement_of(walked["reward"], walked["action"], walked["observation"],
                                       walked["next_observation"])
    off = np.abs(found - walked["displacement"]) / 0.05
    assert off[..., 0].max() < 1e-5  # [m/s]
    assert np.sqrt(np.square(off[..., 1]).mean()) < 0.15 < walked["displacement"][..., 1].std() / 0.05


def test_the_quaternion_keeps_its_length():
    rng = np.random.default_rng(0)
    state = rng.normal(size=(50, 27)).astype(np.float32)
    for _ in range(50):
        state = kinematics.advanced(state, 0.3 * rng.normal(size=(50, 27)).astype(np.float32))
    assert np.abs(np.linalg.norm(state[:, 1:5], axis=1) - 1).max() < 1e-6
    assert np.isfinite(kinematics.with_unit_quaternion(np.zeros((1, 27)))).all()


def test_tensors_give_what_arrays_give(walked):
    names = ("next_observation", "action", "displacement")
    observation, action, displacement = (walked[name][:20].astype(np.float32) for name in names)

    def everything(observation, action, displacement):
        state = kinematics.state_of(observation)
        reward = kinematics.reward_of(kinematics.forward(displacement, state, (0.5, 0.2, 0.1, 0.3)), action, state,
                                      kinematics.contact_of(observation))
        return reward, kinematics.terminated(state), kinematics.advanced(state, 0.1 * state)

    tensors = everything(*map(keras.ops.convert_to_tensor, (observation, action, displacement)))
    for array, tensor in zip(everything(observation, action, displacement), tensors, strict=True):
        np.testing.assert_allclose(tensor.numpy(), array, rtol=1e-5, atol=1e-5)
