"""Rollouts in models of the environment: where each robot's are, what ends them, and models without networks."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from ant_env_node.episodes import of_transition
from ant_env_node.tasks.ant import TaskAnt
from ant_env_node.tasks.moving import seen
from ant_env_node.tasks.presets import PRESETS
from ant_env_node.tasks.task import VECTOR_SIZE, Task
from ant_env_node.vec_env import VectorAnt
from ant_rl_core.step import TimeStepEnv, transition
from trainer.models import kinematics
from trainer.models.copy import CopyModel
from trainer.models.data.rows import Rows
from trainer.models.ensemble import EnsembleConfig
from trainer.models.interface import Moment, start
from trainer.models.learned import LearnedModel
from trainer.models.perfect import PerfectModel
from trainer.models.poor import PoorModel
from trainer.models.rollout import imagine


class Falling:
    """A torso that sinks by what the first torque says, and what nobody may read where it lies."""

    begin = staticmethod(start)

    def step(self, moment, action):
        height = moment.state[:, :1] - 0.1 * action[:, :1]
        state = np.concatenate([height, moment.state[:, 1:] + 1], axis=1)
        state[height[:, 0] < 0.15] = np.nan
        displacement = 0.05 * np.ones((len(state), 2))
        return Moment(state, moment.place + displacement, displacement, np.where(height[:, 0] < 0.15, np.nan, 1.0))


def robots(n, seed=0):
    observation = np.random.default_rng(seed).normal(size=(n, 105)).astype(np.float32)
    observation[:, 0] = 0.5
    return observation


def policy(moment):
    return 0.1 * moment.state[:, 5:13]


def learned(**settings):
    model = LearnedModel(EnsembleConfig(members=2, model_hidden=(8,), **settings), 3)
    rng = np.random.default_rng(0)
    model.ensemble.normalize(rng.normal(size=(50, 35)), 0.1 * rng.normal(size=(50, model.ensemble.outputs)))
    return model


def arrays(imagined):
    return {name: np.stack([np.asarray(each) for each in getattr(imagined, name)]) for name in imagined._fields[:-1]}


@pytest.mark.parametrize("model", [CopyModel(), learned(), learned(reward_head=True), learned(gaussian=True)],
                         ids=["copy", "learned", "reward_head", "gaussian"])
def test_a_robots_rollouts_are_its_own(model):
    def roll(observation, first, branches=3):
        if not isinstance(model, CopyModel):
            observation, first = tf.constant(observation), tf.constant(first)
        return arrays(imagine(model, policy, observation, 4, branches=branches, first_action=first))

    observation, rng = robots(5), np.random.default_rng(2)
    first = rng.uniform(-1, 1, (3, 5, 8)).astype(np.float32)
    found = roll(observation, first)
    assert found["state"].shape == (4, 3, 5, 27) and found["reward"].shape == (4, 3, 5)
    for k in range(3):
        np.testing.assert_array_equal(found["state"][0, k], observation[:, :27])
        np.testing.assert_array_equal(found["action"][0, k], first[k])
    other = observation.copy()
    other[2, 13:27] += 0.5
    for name, values in roll(other, first).items():
        same = (values == found[name]).reshape(*values.shape[:3], -1).all(axis=(0, 1, 3))
        assert same[[0, 1, 3, 4]].all(), name
        assert not same[2] or not name.endswith("state"), name
    order = np.array([3, 0, 4, 1, 2])
    for name, values in roll(observation[order], first[:, order]).items():
        np.testing.assert_allclose(values, found[name][:, :, order], rtol=1e-5, atol=1e-6, err_msg=name)
    for k in range(3):  # each branch is the plain rollout from that action, for another number of robots too
        for name, values in roll(observation[:2], first[k:k + 1, :2], branches=1).items():
            np.testing.assert_allclose(values[:, 0], found[name][:, k, :2], rtol=1e-5, atol=1e-6, err_msg=name)


def test_nothing_that_follows_an_end_counts():
    observation = robots(3)
    sinking = np.array([0.0, 0.9, 2.0], np.float32)

    def act(moment):
        return np.stack([sinking, *np.zeros((7, 3), np.float32)], axis=1)

    found = arrays(imagine(Falling(), act, observation, 6))
    # From 0.5 m the second robot goes to 0.41, 0.32, 0.23 and 0.14 m, the third to 0.3 and 0.1 m.
    assert found["alive"][:, 0].T.tolist() == [[1] * 6, [1, 1, 1, 1, 0, 0], [1, 1, 0, 0, 0, 0]]
    assert found["terminated"][:, 0].T.tolist() == [[0] * 6, [0, 0, 0, 1, 0, 0], [0, 1, 0, 0, 0, 0]]
    for name, values in found.items():
        gone = found["alive"][:, 0] == 0
        assert (values[:, 0][gone] == 0).all(), name
    going = (found["alive"] == 1) & (found["terminated"] == 0)
    assert all(np.isfinite(values[going]).all() for values in found.values())
    last = imagine(Falling(), act, observation, 6).last
    assert np.isfinite(last.state).all() and last.state[2, 0] == np.float32(0.3)  # where it was before it fell


def test_gradients_go_through_the_model_and_stop_at_an_end():
    model, observation = learned(), robots(4)
    observation[1, 0] = 5.0  # ends at once

    @tf.function
    def gain(observation, first):
        with tf.GradientTape() as tape:
            tape.watch(first)
            found = imagine(model, policy, observation, 3, first_action=first)
            total = tf.reduce_sum(tf.stack(found.reward)[1:])
        return tape.gradient(total, first), tf.stack(found.alive)

    slope, alive = gain(tf.constant(observation), tf.zeros((1, 4, 8)))
    assert alive.numpy()[:, 0, 1].tolist() == [1, 0, 0]
    assert np.isfinite(slope.numpy()).all() and (slope.numpy()[0, 1] == 0).all()
    assert (np.abs(slope.numpy()[0, [0, 2, 3]]).max(axis=-1) > 0).all()


def test_a_model_that_diverges_stays_within_its_data():
    model = learned()
    for variable in model.ensemble.learned:
        variable.assign(100 * variable)
    found = arrays(imagine(model, lambda moment: 1e6 + 0 * moment.state[:, :8], robots(3), 20))
    assert all(np.isfinite(values).all() for values in found.values())
    mean, std = (scale.numpy()[:27] for scale in model.ensemble.input_scale)
    free = [0, *range(5, 27)]  # the quaternion has length 1
    off = np.abs(found["next_state"] - mean)[..., free] / std[free]
    assert off[found["alive"] == 1].max() < 10.001


def test_members_take_turns():
    model = learned()
    moment = model.begin(robots(4))
    action = tf.constant(np.random.default_rng(0).normal(size=(4, 8)), tf.float32)
    each = model.ensemble.predict(model.inputs(moment.state, action)).mean.numpy()[..., 27:29]
    for turn, members in ((0, [0, 0, 1, 1]), (1, [1, 1, 0, 0]), (2, [0, 0, 1, 1])):
        found = model.step_in_turn(moment, action, turn).displacement.numpy()
        np.testing.assert_allclose(found, each[members, np.arange(4)], rtol=1e-5, atol=1e-6)
    noisy = model.step_in_turn(moment, action, 0, tf.ones((4, 30))).displacement.numpy()
    std = model.ensemble.predict(model.inputs(moment.state, action)).std.numpy()[[0, 0, 1, 1], 0, 27:29]
    np.testing.assert_allclose(noisy - each[[0, 0, 1, 1], np.arange(4)], std, rtol=1e-4, atol=1e-6)


def test_a_poor_model_is_off_by_its_share():
    std = np.linspace(0.5, 2, 27)
    for observation in (robots(2000), tf.constant(robots(2000))):
        poor = PoorModel(CopyModel(), std, 0.3, seed=1)
        after = poor.step(poor.begin(observation), observation[:, :8])
        off = (np.asarray(after.state) - np.asarray(observation)[:, :27]).std(axis=0)
        np.testing.assert_allclose(off[5:], 0.3 * std[5:], rtol=0.1)
        np.testing.assert_allclose(np.linalg.norm(np.asarray(after.state)[:, 1:5], axis=1), 1, rtol=1e-5)


def fingerprint(ant):
    saved = ant.save()
    return hashlib.sha256(b"".join(saved[name].tobytes() for name in sorted(saved))).hexdigest()


@pytest.mark.parametrize("tasks", ["", "wired", "obstacle"])
def test_the_perfect_model_says_what_then_happens(tasks):
    """Bit for bit, 1,000 times, and what is imagined beside changes nothing."""
    rng, n = np.random.default_rng(5), 5
    ants = [TaskAnt(n, PRESETS[tasks](), seed=1, num_threads=1) if tasks else VectorAnt(n, 1, 1) for _ in range(2)]
    live, alone = map(TimeStepEnv, ants)
    before, alone_now = live.reset(), alone.reset()
    model, fell = PerfectModel(ants[0]), 0
    for tick in range(100):
        action = rng.uniform(-1, 1, (n, 8)).astype(np.float32) * (0.2 if tasks == "obstacle" else 1)  # hit, not fallen
        state = fingerprint(ants[0])
        imagined = imagine(model, lambda moment: 0 * moment.state[:, :8], before.observation, 1 + 2 * (tick % 20 == 0),
                           branches=2, first_action=np.stack([action, -action]), task=before.task)
        assert fingerprint(ants[0]) == state
        after, alone_now = live.step(action), alone.step(action)
        np.testing.assert_array_equal(imagined.next_state[0][0].astype(np.float32),
                                      kinematics.state_of(after.final_observation))
        np.testing.assert_array_equal(imagined.reward[0][0].astype(np.float32), after.reward)
        np.testing.assert_array_equal(imagined.terminated[0][0], after.terminated)
        assert (imagined.next_state[0][1] != imagined.next_state[0][0]).any()
        np.testing.assert_array_equal(after.observation, alone_now.observation)
        np.testing.assert_array_equal(after.reward, alone_now.reward)
        before, fell = after, fell + int(after.terminated.sum())
    assert fell > 0
    with pytest.raises(ValueError, match="found an observation that is not theirs"):
        model.begin(before.observation + 1)
    moment = model.begin(before.observation)
    model.step(moment, action)
    with pytest.raises(ValueError, match="found an older one"):
        model.step(moment, action)
    model.close()


REWARDED = (Task("up", heading=2.0), Task("far", goal=(4.0, -3.0)), Task("near", goal=(0.3, 0.0), goal_radius=0.3),
            Task("slow", speed=0.5), Task("odd", weights=(0.5, -2.0, 1.0, 3.0)), Task("stock"),
            Task("ball", hit_radius=0.75, ball_seed=5), Task("both", hit_radius=1.0, goal=(1.0, 1.0)))


def told_rolled():
    """Real transitions of robots with one of these tasks each: (before, action, after, displacement)."""
    rng, n, found = np.random.default_rng(3), len(REWARDED), []
    with TaskAnt(n, None, seed=1, num_threads=1, max_episode_steps=70) as ant:
        env = TimeStepEnv(ant)
        env.reset()
        for row, task in enumerate(REWARDED):
            ant.set_task(row, task)
        before = env.step(np.zeros((n, 8), np.float32))
        for _ in range(200):
            action = rng.uniform(-0.3, 0.3, (n, 8)).astype(np.float32)
            after = env.step(action)
            velocity = np.stack([of_transition(after.info, name, after.done)
                                 for name in ("x_velocity", "y_velocity")], 1)
            found.append((before, action, after, 0.05 * velocity))
            before = after
    return found


def joined(observation, task):
    return np.concatenate([observation, task], axis=1)


class Known:
    """A model that knows the next state, for one step."""

    begin = staticmethod(start)

    def __init__(self, after, displacement):
        self.after, self.displacement = after.final_observation, displacement

    def step(self, moment, action):
        observation = self.after if isinstance(moment.state, np.ndarray) else tf.constant(self.after)
        displacement = self.displacement if isinstance(moment.state, np.ndarray) else tf.constant(
            self.displacement, tf.float32)
        return Moment(kinematics.state_of(observation), moment.place + displacement, displacement,
                      kinematics.contact_of(observation))


def test_rewards_and_ends_of_told_tasks_are_the_environments():
    """On real transitions, with arrays and with tensors: headings, goals, speeds, weights, and balls that hit."""
    hits, falls, offs = 0, 0, []
    for i, (before, action, after, displacement) in enumerate(told_rolled()):
        for convert in (np.asarray, tf.constant) if i % 20 == 0 else (np.asarray,):
            found = imagine(Known(after, displacement), None, convert(before.observation), 1,
                            first_action=convert(action[None]), task=convert(before.task))
            np.testing.assert_allclose(found.reward[0][0], after.reward, atol=2e-5)
            np.testing.assert_array_equal(found.terminated[0][0], after.terminated)
            told = np.asarray(found.last.task)
            goes_on = ~after.done & (seen.ball_of(before.task)[0] == seen.ball_of(after.task)[0])
            np.testing.assert_allclose(told[goes_on], after.task[goes_on], atol=1e-6)
        hits, falls = hits + int(after.info["hit"].sum()), falls + int(after.terminated.sum())
        told = replace(transition(before, action, after, {}, 1), observation=joined(before.observation, before.task),
                       next_observation=joined(after.final_observation, after.info.get("final_task", after.task)))
        goal = seen.has_goal(before.task)
        off = np.abs(Rows.of(told).displacement - displacement)
        assert off[goal].max() < 1e-5 and off[5:7, 0].max() < 1e-5
        offs.append(off)
    assert hits > 5 and falls >= hits and np.sqrt(np.square(offs).mean()) < 0.2 * 0.05
    # Told nothing, it is Ant-v5's; and the end is whatever is given.
    found = imagine(Known(after, displacement), None, before.observation, 1, first_action=action[None],
                    terminated=lambda moment: moment.displacement[:, 0] > 0)
    assert (found.terminated[0][0] == (displacement[:, 0] > 0)).all() and found.last.task is None


def test_what_told_tasks_are_worth_has_a_slope_everywhere():
    """Where there is no goal too; towards one it is a meter per meter."""
    task = np.stack([task.vector() for task in REWARDED])
    with tf.GradientTape() as tape:
        displacement = tf.zeros((len(task), 2))
        tape.watch(displacement)
        moved = seen.moved(tf.constant(task), displacement)
        worth = kinematics.forward_of_task(moved, displacement, tf.zeros((len(task), 27)))
    slope = tape.gradient(worth, displacement).numpy()
    assert slope[1] == pytest.approx([0.8, -0.6]) and slope[5] == pytest.approx([20, 0])
    assert slope[0] == pytest.approx([20 * np.cos(2), 20 * np.sin(2)], rel=1e-5) and np.isfinite(slope).all()


def test_each_branch_has_the_ball_of_its_robot():
    observation = robots(3)
    task = np.zeros((3, VECTOR_SIZE), np.float32)
    for row in range(3):  # at 1, 2 and 3 m, nearer by 0.5 m with each tick
        seen.write_ball(task[row], 0.6, np.array([row + 1.0, 0.0]), np.array([-10.0, 0.0]))
    found = imagine(CopyModel(), policy, observation, 6, branches=2, task=task)
    ended = np.stack(found.terminated)
    assert ended.shape == (6, 2, 3) and (ended[:, 0] == ended[:, 1]).all()
    assert ended[:, 0].argmax(axis=0).tolist() == [0, 2, 4] and ended[:, 0].sum(axis=0).tolist() == [1, 1, 1]
