"""VectorAnt against Gymnasium's own Ant-v5: equal bit for bit, with the same seeds and actions."""

import gc
import threading
from pathlib import Path

import gymnasium
import mujoco
import numpy as np
import pytest
from gymnasium.envs.mujoco.mujoco_env import expand_model_path
from gymnasium.error import ClosedEnvironmentError, ResetNeeded
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.wrappers.vector import ClipReward, RecordEpisodeStatistics

from ant_env_node.vec_env import ANT_DEFAULTS, VectorAnt

FALLS = {"healthy_z_range": (0.45, 0.9)}  # narrow enough that random actions end many episodes

KEYWORD_SETS = {
    "defaults": {},
    "falls": FALLS,
    "reward weights": {"forward_reward_weight": 0.7, "ctrl_cost_weight": 0.31, "contact_cost_weight": 3e-3,
                       "healthy_reward": 1.7},
    "integer weights": {"forward_reward_weight": 2, "ctrl_cost_weight": 1, "healthy_reward": 3, **FALLS},
    "unhealthy goes on": {"terminate_when_unhealthy": False, "healthy_z_range": (0.5, 0.7)},
    "contact forces": {"contact_force_range": (-3.0, 0.5), "contact_cost_weight": 0.02},
    "noise and positions": {"reset_noise_scale": 0.4, "exclude_current_positions_from_observation": False,
                            **FALLS},
    "no contact forces": {"include_cfrc_ext_in_observation": False, "main_body": 4, **FALLS},
    "short": {"include_cfrc_ext_in_observation": False, "exclude_current_positions_from_observation": False,
              "frame_skip": 2, "max_episode_steps": 25, "main_body": "front_left_leg"},
    "camera": {"default_camera_config": {"distance": 6.0}, "max_episode_steps": 7},
    "other model": {"xml_file": "changed.xml", **FALLS},
}


@pytest.fixture(scope="module")
def changed_xml(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The stock model with weaker motors and a shorter time step."""
    text = Path(expand_model_path("ant.xml")).read_text()
    changed = text.replace('gear="150"', 'gear="90"').replace('timestep="0.01"', 'timestep="0.008"')
    assert changed.count('gear="90"') == 8 and 'timestep="0.008"' in changed
    path = tmp_path_factory.mktemp("model") / "changed.xml"
    path.write_text(changed)
    return str(path)


def make_sync(num_envs: int, **keywords) -> SyncVectorEnv:
    def make():
        return gymnasium.make("Ant-v5", disable_env_checker=True, **keywords)

    return SyncVectorEnv([make] * num_envs, autoreset_mode=AutoresetMode.SAME_STEP)


def random_actions(seed: int, steps: int, num_envs: int, dtype: type = np.float32) -> np.ndarray:
    """Actions of which a third lie outside the bounds, which MuJoCo clamps and the control cost does not."""
    return np.random.default_rng(seed).uniform(-1.5, 1.5, (steps, num_envs, 8)).astype(dtype)


def assert_same(found, expected, where: str = "") -> None:
    """Equal to the last bit, in dtype, shape, keys and None."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys(), where
        for key in expected:
            assert_same(found[key], expected[key], f"{where}.{key}")
        return
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.dtype == expected.dtype, where
    assert found.shape == expected.shape, where
    if expected.dtype == object:
        for i, (a, b) in enumerate(zip(found, expected, strict=True)):
            assert (a is None) == (b is None), f"{where}[{i}]"
            if b is not None:
                assert_same(a, b, f"{where}[{i}]")
    else:
        assert np.array_equal(found, expected), f"{where}: found {found}, expected {expected}"


def assert_equals_single_envs(keywords: dict, seed: int, actions: np.ndarray) -> int:
    """Plays the actions in VectorAnt and in one Gymnasium env per row; returns how many episodes ended."""
    steps, num_envs, _ = actions.shape
    singles = [gymnasium.make("Ant-v5", disable_env_checker=True, **keywords) for _ in range(num_envs)]
    ended = 0
    with VectorAnt(num_envs, seed, 2, **keywords) as env:
        assert env.single_observation_space == singles[0].observation_space
        assert env.single_action_space == singles[0].action_space
        assert env.dt == singles[0].unwrapped.dt
        observations, infos = env.reset()
        for i, single in enumerate(singles):
            observation, info = single.reset(seed=seed + i)
            assert_same(observations[i], observation, f"reset row {i}")
            for key, value in info.items():
                assert_same(infos[key][i], value, f"reset row {i} {key}")
        for t in range(steps):
            observations, rewards, terminated, truncated, infos = env.step(actions[t])
            for i, single in enumerate(singles):
                where = f"step {t} row {i}"
                observation, reward, single_terminated, single_truncated, info = single.step(actions[t, i])
                assert_same(rewards[i], reward, where)
                assert (terminated[i], truncated[i]) == (single_terminated, single_truncated), where
                step_infos = infos
                if single_terminated or single_truncated:
                    ended += 1
                    assert_same(infos["final_obs"][i], observation, f"{where} final")
                    assert infos["_final_obs"][i] and infos["_final_info"][i]
                    step_infos = infos["final_info"]
                    observation, reset_info = single.reset()
                    for key, value in reset_info.items():
                        assert_same(infos[key][i], value, f"{where} {key}")
                assert_same(observations[i], observation, where)
                for key, value in info.items():
                    assert step_infos[f"_{key}"][i], f"{where} {key}"
                    assert_same(step_infos[key][i], value, f"{where} {key}")
    return ended


def resolve(keywords: dict, changed_xml: str) -> dict:
    return {**keywords, "xml_file": changed_xml} if "xml_file" in keywords else keywords


def test_keyword_sets_cover_every_keyword():
    assert set(ANT_DEFAULTS) == set().union(*KEYWORD_SETS.values()) - {"max_episode_steps"}
    assert len(ANT_DEFAULTS) == 14


@pytest.mark.parametrize("name", KEYWORD_SETS)
def test_equals_gymnasium_for_every_keyword(name, changed_xml):
    keywords = resolve(KEYWORD_SETS[name], changed_xml)
    ended = sum(assert_equals_single_envs(keywords, seed, random_actions(seed, 150, 3, dtype))
                for seed, dtype in ((3, np.float32), (2026, np.float64)))
    if "max_episode_steps" in keywords or keywords.get("healthy_z_range") == FALLS["healthy_z_range"]:
        assert ended >= 3


@pytest.mark.parametrize("seed", [0, 11, 12345])
def test_equals_gymnasium_over_many_resets(seed):
    assert assert_equals_single_envs(FALLS, seed, random_actions(seed, 300, 2)) >= 5


def test_full_episode_is_truncated_at_1000_steps():
    ended = assert_equals_single_envs({"terminate_when_unhealthy": False}, 7, random_actions(7, 1010, 1))
    assert ended == 1


@pytest.mark.parametrize("keywords", [FALLS, {**FALLS, "max_episode_steps": 9}, {"max_episode_steps": 4}],
                         ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_infos_equal_sync_vector_env(keywords, dtype):
    actions = random_actions(1, 60, 3, dtype)
    sync = make_sync(3, **keywords)
    with VectorAnt(3, 40, 2, **keywords) as env:
        assert_same(env.reset()[0], sync.reset(seed=40)[0], "first reset")
        for t, action in enumerate(actions):
            for name, found, expected in zip(("observations", "rewards", "terminated", "truncated", "infos"),
                                             env.step(action), sync.step(action), strict=True):
                assert_same(found, expected, f"step {t} {name}")
        for arguments in ({}, {"seed": 5}, {"seed": [9, None, 1]}, {}):
            for name, found, expected in zip(("observations", "infos"), env.reset(**arguments),
                                             sync.reset(**arguments), strict=True):
                assert_same(found, expected, f"reset({arguments}) {name}")
        assert env.np_random_seed == sync.np_random_seed
    sync.close()


def test_reset_mask_resets_only_the_marked_rows():
    sync, actions = make_sync(3), random_actions(2, 12, 3)
    mask = np.array([False, True, False])
    with VectorAnt(3, 8, 2, max_episode_steps=50) as env:
        env.reset()
        sync.reset(seed=8)
        for action in actions:
            env.step(action)
            sync.step(action)
        for seed in (None, 77):
            found = env.reset(seed=seed, options={"reset_mask": mask})
            expected = sync.reset(seed=seed, options={"reset_mask": mask.copy()})
            assert_same(found[0], expected[0], "observations")
            assert_same(found[1], expected[1], "infos")
        assert env.episode_step.tolist() == [12, 0, 12]
        for action in actions:
            assert_same(env.step(action)[0], sync.step(action)[0], "after")
    sync.close()


def test_results_do_not_depend_on_threads():
    actions = random_actions(4, 80, 5)
    played = []
    for num_threads in (1, 2, 5, 64):
        with VectorAnt(5, 1, num_threads, **FALLS) as env:
            assert env.num_threads == min(num_threads, 5)
            played.append([env.reset()] + [env.step(action) for action in actions])
    for other in played[1:]:
        for t, (found, expected) in enumerate(zip(other, played[0], strict=True)):
            for a, b in zip(found, expected, strict=True):
                assert_same(a, b, f"step {t}")


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_costs_of_a_large_batch_are_summed_as_for_one_row(order, dtype):
    with VectorAnt(70, 0) as env:
        env.reset()
        for action in random_actions(5, 2, 70, dtype):
            infos = env.step(np.asarray(action, order=order))[4]
            for i, row in enumerate(action):
                force = np.clip(env.data(i).cfrc_ext, -1.0, 1.0)
                assert_same(infos["reward_ctrl"][i], -(0.5 * np.sum(np.square(row))), f"row {i}")
                assert_same(infos["reward_contact"][i], -(5e-4 * np.sum(np.square(force))), f"row {i}")
                position = env.data(i).qpos[:2]
                assert_same(infos["distance_from_origin"][i], np.linalg.norm(position, ord=2), f"row {i}")


def test_infinite_velocity_at_a_healthy_height_terminates_as_in_gymnasium(monkeypatch):
    real = mujoco.mj_rnePostConstraint

    def spoiling(model, data):
        real(model, data)
        if data.time > 0.12 and data.qpos[0] > 0.0:
            data.qvel[13] = np.inf

    monkeypatch.setattr(mujoco, "mj_rnePostConstraint", spoiling)
    ended = assert_equals_single_envs({}, 0, random_actions(0, 12, 4))
    assert 4 <= ended < 16


def arrays_in(value) -> list[np.ndarray]:
    """Every numeric array in nested results and infos."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, np.ndarray) and value.dtype != object:
        return [value]
    return [] if value is None else [array for part in value for array in arrays_in(part)]


def test_what_step_returns_is_the_callers_to_keep():
    with VectorAnt(2, 0, max_episode_steps=3) as env:
        kept = arrays_in(env.reset())
        copies = [array.copy() for array in kept]
        for action in random_actions(6, 4, 2):
            arrays = arrays_in(env.step(action))
            kept += arrays
            copies += [array.copy() for array in arrays]
        for array, copy in zip(kept, copies, strict=True):
            assert_same(array, copy)
        for i, array in enumerate(kept):
            assert not any(np.shares_memory(array, other) for other in kept[:i])
            array[...] = 1
        env.step(np.zeros((2, 8)))
        assert env.episode_step.tolist() == [2, 2]


def test_bounds_of_the_healthy_height_are_healthy():
    action = random_actions(0, 1, 1)
    with VectorAnt(1, 0) as env:
        env.reset()
        env.step(action[0])
        z = float(env.data(0).qpos[2])
    assert assert_equals_single_envs({"healthy_z_range": (z, z)}, 0, action) == 0


def test_offers_gymnasiums_vector_interface():
    with VectorAnt(4, 0) as env:
        assert isinstance(env, VectorEnv)
        assert env.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
        assert env.spec.id == "Ant-v5" and env.spec.max_episode_steps == 1000
        assert env.observation_space.shape == (4, 105) and env.observation_space.dtype == np.float64
        assert env.action_space.shape == (4, 8) and env.action_space.dtype == np.float32
        observations, _ = env.reset(seed=1)
        assert observations in env.observation_space
        observations, rewards, terminated, truncated, _ = env.step(env.action_space.sample())
        assert observations in env.observation_space
        assert rewards.dtype == np.float64 and terminated.dtype == truncated.dtype == np.bool_
        assert env.episode_step.tolist() == [1, 1, 1, 1] and env.physics_seconds > 0.0
        assert np.array_equal(env.data(2).qpos[2:], observations[2, :13])
        assert env.dt == 0.05 and env.model.nu == 8


def test_gymnasiums_vector_wrappers_work():
    actions = random_actions(8, 80, 3)
    wrapped = [ClipReward(RecordEpisodeStatistics(env), -0.5, 0.5) for env in
               (VectorAnt(3, 21, 2, **FALLS), make_sync(3, **FALLS))]
    ended = 0
    for env in wrapped:
        env.reset(seed=21)
    for action in actions:
        found, expected = (env.step(action) for env in wrapped)
        for a, b in zip(found[:4], expected[:4], strict=True):
            assert_same(a, b)
        if found[2].any():
            ended += 1
            for key in ("r", "l"):
                assert_same(found[4]["episode"][key], expected[4]["episode"][key])
    assert ended
    for env in wrapped:
        env.close()


def test_unknown_keyword_names_the_nearest():
    with pytest.raises(TypeError, match="'ctrl_cost_wieght'.*'ctrl_cost_weight'"):
        VectorAnt(1, 0, ctrl_cost_wieght=0.1)
    with pytest.raises(TypeError, match="'max_steps'.*'max_episode_steps'"):
        VectorAnt(1, 0, max_steps=10)


@pytest.mark.parametrize("keywords", [{"num_envs": 0}, {"num_threads": 0}, {"max_episode_steps": 0}], ids=str)
def test_bad_arguments_are_refused(keywords):
    with pytest.raises(ValueError, match=next(iter(keywords))):
        VectorAnt(**{"num_envs": 2, "seed": 0, **keywords})


def test_missing_model_file_is_refused():
    with pytest.raises(OSError, match="no_such.xml"):
        VectorAnt(1, 0, xml_file="no_such.xml")


def test_bad_actions_are_refused_and_step_nothing():
    with VectorAnt(3, 0) as env:
        env.reset()
        for shape in ((8,), (3, 7), (2, 8), (3, 8, 1)):
            with pytest.raises(ValueError, match=r"expected actions of shape \(3, 8\), found"):
                env.step(np.zeros(shape))
        for bad in (np.nan, np.inf, -np.inf):
            action = np.zeros((3, 8), np.float32)
            action[1, 4] = action[2, 0] = bad
            with pytest.raises(ValueError, match=r"rows \[1, 2\]"):
                env.step(action)
        assert env.episode_step.tolist() == [0, 0, 0]
        assert all(env.data(i).time == 0.0 for i in range(3))


def test_bad_resets_are_refused():
    with VectorAnt(2, 0) as env:
        with pytest.raises(ResetNeeded):
            env.step(np.zeros((2, 8)))
        with pytest.raises(ResetNeeded):
            env.reset(options={"reset_mask": np.array([True, False])})
        env.reset()
        with pytest.raises(ValueError, match="expected 2 seeds"):
            env.reset(seed=[1, 2, 3])
        for mask in (np.zeros(2, bool), np.ones(3, bool)):
            with pytest.raises(ValueError, match="reset_mask"):
                env.reset(options={"reset_mask": mask})
        for mask in ([True, False], np.ones(2)):
            with pytest.raises(TypeError, match="reset_mask"):
                env.reset(options={"reset_mask": mask})


def physics_threads() -> int:
    return sum(thread.name.startswith("ant-physics") for thread in threading.enumerate())


def test_close_ends_the_threads():
    assert physics_threads() == 0
    env = VectorAnt(4, 0, 3)
    assert physics_threads() == 2  # the caller is the third
    env.reset()
    env.step(np.zeros((4, 8)))
    env.close()
    env.close()
    assert env.closed and physics_threads() == 0
    for use in (env.reset, lambda: env.step(np.zeros((4, 8)))):
        with pytest.raises(ClosedEnvironmentError):
            use()
    with VectorAnt(1, 0, 3), VectorAnt(3, 0, 1):
        assert physics_threads() == 0  # one row or one thread runs in the caller


def test_a_forgotten_environment_ends_its_threads():
    env = VectorAnt(4, 0, 3)
    env.reset()
    env.step(np.zeros((4, 8)))
    del env
    gc.collect()
    assert physics_threads() == 0


def test_an_error_in_a_thread_reaches_the_caller(monkeypatch):
    with VectorAnt(4, 0, 3) as env:
        env.reset()
        real = mujoco.mj_step

        def failing(model, data, nstep):
            if data is env.data(2):
                raise RuntimeError("row 2 failed")
            real(model, data, nstep)

        with monkeypatch.context() as patch:
            patch.setattr(mujoco, "mj_step", failing)
            with pytest.raises(RuntimeError, match="row 2 failed"):
                env.step(np.zeros((4, 8)))
        env.reset()
        env.step(np.zeros((4, 8)))
        assert physics_threads() == 2


@pytest.mark.parametrize("seed", [5, None])
def test_saved_and_restored_it_goes_on_bit_for_bit(seed):
    actions = np.random.default_rng(0).uniform(-1, 1, (750, 3, 8)).astype(np.float32)
    with VectorAnt(3, seed, **FALLS) as env, VectorAnt(3, 99, **FALLS) as other:
        env.reset()
        for action in actions[:150]:
            env.step(action)
        saved = env.save()
        falls = 0
        expected = []
        for action in actions[150:]:
            expected.append(env.step(action))
            falls += expected[-1][2].sum()
        assert falls > 3  # the rows' random streams are used; about 40 without a seed
        other.restore(saved)
        assert other.np_random_seed == env.np_random_seed
        for action, one in zip(actions[150:], expected, strict=True):
            for found, value in zip(other.step(action), one, strict=True):
                assert_same(found, value)


def test_a_state_of_another_number_of_robots_is_refused():
    with VectorAnt(2, 0) as env, VectorAnt(3, 0) as other:
        env.reset()
        with pytest.raises(ValueError, match=r"saved physics state of shape \(3, .*found \(2, "):
            other.restore(env.save())
