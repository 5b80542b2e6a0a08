"""Shaped rewards against a plain loop over Gymnasium's Ant-v5 in float64, episode ends included."""

from dataclasses import fields

import gymnasium
import numpy as np
import pytest

from ant_env_node.episodes import EpisodeLedger
from ant_env_node.make import make, shape
from ant_env_node.settings import EnvSettings
from ant_env_node.shaping import ShapedEnv, ShapingConfig
from ant_env_node.vec_env import VectorAnt
from ant_rl_core.settings import settings_of
from ant_rl_core.step import TimeStepEnv

# Chosen so that each term acts in some steps of a random walk and rests in others.
CONFIG = ShapingConfig(forward_bonus=0.7, stall_speed=0.2, stall_penalty=0.11, low_body_height=0.6,
                       low_body_penalty=0.013)
FALLS = {"healthy_z_range": (0.45, 0.9)}


def random_actions(steps, num_envs, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (steps, num_envs, 8)).astype(np.float32)


def of_gymnasium(actions, seed, limit):
    """(default reward, shaped reward, stalled, low, done) of one robot, step by step, from qpos itself."""
    env = gymnasium.make("Ant-v5", max_episode_steps=limit, **FALLS)
    env.reset(seed=seed)
    found = []
    for action in actions:
        x_before = env.unwrapped.data.qpos[0]
        _, reward, terminated, truncated, _ = env.step(action)
        x, _, z = env.unwrapped.data.qpos[:3]
        speed = (x - x_before) / 0.05
        stalled, low = speed < 0.2, z < 0.6
        shaped = reward + 0.7 * speed
        if stalled:
            shaped -= 0.11
        if low:
            shaped -= 0.013
        found.append((reward, shaped, stalled, low, terminated or truncated))
        if terminated or truncated:
            env.reset()
    env.close()
    return found


@pytest.mark.parametrize("num_envs, limit", [(1, 9), (3, 40)])
def test_shaped_rewards_are_those_of_a_hand_computation(num_envs, limit):
    actions = random_actions(120, num_envs)
    env = shape(TimeStepEnv(VectorAnt(num_envs, 5, 1, max_episode_steps=limit, **FALLS)), CONFIG)
    env.reset(5)
    steps = [env.step(action) for action in actions]
    env.close()
    kinds = set()
    for row in range(num_envs):
        for step, (default, shaped, *kind) in zip(steps, of_gymnasium(actions[:, row], 5 + row, limit), strict=True):
            assert step.reward[row] == pytest.approx(shaped, rel=1e-6, abs=1e-6)
            assert step.info["unshaped_reward"][row] == np.float32(default)
            assert step.done[row] == kind[-1]
            kinds.add(tuple(map(bool, kind)))
    assert {kind[0] for kind in kinds} == {kind[1] for kind in kinds} == {kind[2] for kind in kinds} == {True, False}
    assert all(step.reward.dtype == step.info["unshaped_reward"].dtype == np.float32 for step in steps)


def test_a_reset_starts_the_next_step_from_its_own_x():
    env = make(2, 3, 1, CONFIG)
    env.reset(3)
    action = random_actions(1, 2)[0]
    first = env.step(action)
    for _ in range(30):
        env.step(action)
    assert "unshaped_reward" not in env.reset(3).info
    assert env.step(action).reward.tobytes() == first.reward.tobytes()
    env.close()


def test_each_constant_counts():
    speed, height = np.array([1.0, 0.0, -1.0]), np.array([0.5, 0.5, 0.3])
    np.testing.assert_allclose(ShapingConfig().addition(speed, height), [0.5, -0.5, -1.3])
    changed = {"forward_bonus": [2, -0.5, -2.8], "stall_speed": [0, -0.5, -1.3], "stall_penalty": [0.5, -2, -2.8],
               "low_body_height": [0.2, -0.8, -1.3], "low_body_penalty": [0.5, -0.5, -3]}
    assert set(changed) == {field.name for field in fields(ShapingConfig)}
    for name, expected in changed.items():
        np.testing.assert_allclose(ShapingConfig(**{name: 2.0}).addition(speed, height), expected, err_msg=name)


@pytest.mark.parametrize("name", [field.name for field in fields(ShapingConfig)])
@pytest.mark.parametrize("value", [-0.1, np.nan, np.inf])
def test_a_wrong_constant_is_refused(name, value):
    with pytest.raises(ValueError, match=f"{name} must be at least 0, found {value}"):
        ShapingConfig(**{name: value})


def test_another_observation_is_refused():
    with VectorAnt(1, exclude_current_positions_from_observation=False) as ant:
        with pytest.raises(ValueError, match="default observation of 105 numbers, found 107"):
            ShapedEnv(TimeStepEnv(ant), CONFIG)


def test_off_is_the_plain_environment_and_on_changes_the_reward_only():
    actions = random_actions(60, 2)
    plain, off, on = TimeStepEnv(VectorAnt(2, 7, 1)), make(2, 7, 1), make(2, 7, 1, ShapingConfig())
    assert type(off) is TimeStepEnv
    for env in (plain, off, on):
        env.reset()
    for action in actions:
        expected, found, shaped = plain.step(action), off.step(action), on.step(action)
        assert "unshaped_reward" not in found.info
        assert found.reward.tobytes() == expected.reward.tobytes() == shaped.info["unshaped_reward"].tobytes()
        assert (shaped.reward != expected.reward).all()
        for name in ("observation", "terminated", "truncated", "final_observation", "episode_id", "step"):
            one = getattr(expected, name).tobytes()
            assert getattr(found, name).tobytes() == one and getattr(shaped, name).tobytes() == one, name
    for env in (plain, off, on):
        env.close()


@pytest.mark.parametrize("before", [CONFIG, None])
def test_restored_it_goes_on_bit_for_bit(before):
    actions = random_actions(80, 2)
    env, other = make(2, 1, 1, CONFIG), make(2, 50, 1, CONFIG)
    saving = make(2, 1, 1, before)
    for used in (env, saving):
        used.reset()
        for action in actions[:40]:
            used.step(action)
    other.restore(saving.save())
    for action in actions[40:]:
        assert env.step(action).reward.tobytes() == other.step(action).reward.tobytes()
    for used in (env, other, saving):
        used.close()


def test_returns_of_episodes_are_those_of_the_default_reward():
    actions = random_actions(50, 2)
    found = []
    for config in (None, CONFIG):
        env = shape(TimeStepEnv(VectorAnt(2, 4, 1, max_episode_steps=13)), config)
        ledger = EpisodeLedger(env.reset(4), (4, 5))
        found.append([episode for action in actions for episode in ledger.add(env.step(action))])
        env.close()
    assert found[0] == found[1] and len(found[0]) == 6


def test_the_node_has_a_parameter_for_each_constant():
    parameters = {parameter.name: parameter.default for parameter in settings_of(EnvSettings)}
    assert parameters["shaping"] is False
    assert {field.name: field.default for field in fields(ShapingConfig)}.items() <= parameters.items()
