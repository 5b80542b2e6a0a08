"""Robots that lose a leg: names under which it is the spare one, the expert that is told, the estimator."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from ant_env_node.make import ants
from ant_env_node.tasks import symmetry
from ant_env_node.tasks.presets import PRESETS, leg_actuators, lost_leg
from ant_env_node.tasks.task import Task
from ant_env_node.tasks.told import ToldTask
from ant_rl_core import bundle as policy_bundle
from ant_rl_core.shipped import resolve_policy
from ant_rl_core.spec import ANT
from ant_rl_core.step import Previous, TimeStepEnv
from policy_node.actor import load_actor
from trainer.algorithms.meta.guided import lost_leg as guided
from trainer.algorithms.meta.guided.choice import guide_for
from trainer.algorithms.meta.guided.turning import under_other_names
from trainer.algorithms.meta.guided_rl2 import GuidedRL2, GuidedRL2Config
from trainer.analytic.expert import Expert
from trainer.analytic.lost_leg import SPARE, LegFilter
from trainer.analytic.told import ToldExpert

TASKS = PRESETS["lost_leg"]()
LEGS = [*TASKS.train, *TASKS.held_out]  # none, 0, 1, 2, 3
SMALL = GuidedRL2Config(total_steps=1000, teacher="ppo", hidden=(8, 8), memory_size=6)
NAMES = np.array(list(itertools.product(range(-1, 4), range(4), (False, True))))


def moved(leg):
    """An action that moves one leg."""
    action = np.zeros((1, 8), np.float32)
    action[0, list(leg_actuators(leg))] = 0.5
    return action


def leg_of(action):
    """The leg that an action moves."""
    (leg,) = (leg for leg in range(4) if action[0, list(leg_actuators(leg))].any())
    return leg


@pytest.mark.parametrize("spare", range(4))
def test_the_lost_leg_is_called_the_spare_one_by_the_nearest_names(spare):
    for lost, quarters, mirrored in NAMES:
        turn, swapped = (each[0] for each in symmetry.names_for(*map(np.array, ([lost], spare, [quarters],
                                                                                [bool(mirrored)]))))
        if lost < 0:
            assert turn == 0 and swapped == mirrored
            continue

        before, after = (leg_of(symmetry.mirror_action(action) if swap else action) for action, swap in (
            (symmetry.relabel_action(moved(lost), quarters), mirrored),
            (symmetry.relabel_action(moved(lost), quarters + turn), swapped)))
        assert after == spare and abs(turn) <= 1
        assert (turn == 0 and swapped == mirrored) == (before == spare)


def test_the_lost_leg_is_read_from_the_task():
    assert lost_leg(np.array([task.vector() for task in LEGS])).tolist() == [-1, 0, 1, 2, 3]
    lame = Task("lame", gear=(0.0, 1.0) + 6 * (1.0,))
    assert lost_leg(lame.vector()[None]).tolist() == [-1]


def test_a_network_does_what_the_symmetries_say():
    rng = np.random.default_rng(0)
    observation = rng.normal(0, 1, (40, 105)).astype(np.float32)
    observation[:, 1:5] /= np.linalg.norm(observation[:, 1:5], axis=1, keepdims=True)
    observation[:, 1:5] *= np.sign(observation[:, 1:2])
    weights = rng.normal(0, 0.1, (105, 8)).astype(np.float32)
    quarters, mirrored, angle = np.arange(40) % 4, rng.random(40) < 0.5, rng.uniform(-3, 3, 40)
    seen = symmetry.turn_world(symmetry.relabel(observation, quarters), -angle)
    seen[mirrored] = symmetry.mirror(seen[mirrored])
    expected = np.tanh(seen @ weights)
    expected[mirrored] = symmetry.mirror_action(expected[mirrored])
    course = np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)
    found = under_other_names(lambda x: tf.tanh(x @ weights), tf.constant(observation), tf.constant(course),
                              tf.constant(np.eye(4, dtype=np.float32)[quarters]),
                              tf.constant(mirrored[:, None].astype(np.float32)))
    np.testing.assert_allclose(found, symmetry.relabel_action(expected, -quarters), atol=2e-6)


def test_course_and_names_are_those_of_the_expert_that_is_told():
    """Whatever is lost one after another, the robot is never seen to jump but by what mirrors, and ends along x."""
    rng = np.random.default_rng(1)
    course, names = np.zeros((30, 2), np.float32), np.zeros((30, 8), np.float32)
    quarters, mirrored = np.zeros(30, np.int64), np.zeros(30, bool)
    for t in range(150):
        if t % 50 == 0:
            lost = rng.integers(-1, 4, 30)
        belief = np.eye(5, dtype=np.float32)[1 + lost]
        before = np.arctan2(course[:, 1], course[:, 0])
        course, names = map(np.array, guided._renamed(course, names, belief))
        turn, mirrored = symmetry.names_for(lost, SPARE, quarters, mirrored)
        quarters = (quarters + turn) % 4
        assert np.array_equal(names.argmax(axis=1), quarters + 4 * mirrored) and (names.sum(axis=1) == 1).all()
        change = np.arctan2(course[:, 1], course[:, 0]) - before - turn * np.pi / 2
        assert np.abs(np.angle(np.exp(1j * change))).max() < 1.01 * np.arctan(guided.TURN)
        if t % 50 == 49:
            np.testing.assert_allclose(course, [[1.0, 0.0]] * 30, atol=1e-3)


def test_what_is_not_sure_renames_nothing():
    belief = np.array([[0.3, 0.7, 0, 0, 0], [0.1, 0.9, 0, 0, 0]], np.float32)
    _, names = guided._renamed(np.zeros((2, 2), np.float32), np.zeros((2, 8), np.float32), belief)
    assert np.array(names).argmax(axis=1).tolist() == [0, 3]


@pytest.mark.parametrize("leg", range(4))
@pytest.mark.parametrize("policy", [ToldExpert, LegFilter])
def test_by_other_names_it_runs_without_any_leg(policy, leg):
    """The policy as it is stumbles without three of the four."""
    actor = load_actor(policy_bundle.read(resolve_policy("default")))
    with ants(5, 5, 1, replace(TASKS, train=(LEGS[1 + leg],), held_out=())) as env:
        told = ToldTask(TimeStepEnv(env)) if policy is ToldExpert else TimeStepEnv(env)
        step, expert = told.reset(), policy(Expert(actor))
        state, fresh, previous = expert.initial_state(5), np.ones(5, bool), Previous.none(5, 8)
        for _ in range(200):
            action, _, state = expert.act(step.observation, previous, state, fresh)
            step = told.step(action)
            fresh, previous = step.trial_first, Previous(action, step.reward, step.done)
        assert np.median(step.observation[:, symmetry.VELOCITY.start]) > 4.0


def test_half_of_what_is_learned_from_is_a_mirror_image():
    """The leg that moved is the one that is labeled, and what is seen is as the symmetry says."""
    student = GuidedRL2(SMALL, 2, ANT.observation_size, ANT.action_size, 0, tasks=TASKS)._student
    rng = np.random.default_rng(0)
    legs = np.arange(50) % 5 - 1
    ticks = {"first": np.zeros((3, 50), bool), "reward": np.zeros((3, 50, 1), np.float32),
             "seen": rng.normal(0, 1, (3, 50, 27)).astype(np.float32),
             "action": np.tile(np.concatenate([moved(leg) if leg >= 0 else np.zeros((1, 8), np.float32)
                                               for leg in legs]), (3, 1, 1)),
             "task": np.tile(np.eye(5, dtype=np.float32)[1 + legs], (3, 1, 1))}
    given = {name: array.copy() for name, array in ticks.items()}
    found = student.varied(ticks, np.random.default_rng(1))
    assert all(np.array_equal(ticks[name], given[name]) for name in ticks)
    mirrored = found["first"][0]
    assert 15 < mirrored.sum() < 35 and not found["first"][1:].any()
    became = found["task"].argmax(axis=2) - 1
    assert np.array_equal(became, np.tile(np.where(mirrored & (legs >= 0), 3 - legs, legs), (3, 1)))
    for t, row in itertools.product(range(3), range(50)):
        action = found["action"][t, row:row + 1]
        assert (not action.any()) if became[t, row] < 0 else leg_of(action) == became[t, row]
        whole = np.concatenate([ticks["seen"][t, row], np.zeros(78, np.float32)])[None]
        expected = symmetry.mirror(whole)[0, :27] if mirrored[row] else whole[0, :27]
        assert np.array_equal(found["seen"][t, row], expected)


def test_the_policy_that_is_handed_over_renames_legs_as_the_learner_does(eager):
    learner = GuidedRL2(SMALL, 3, ANT.observation_size, ANT.action_size, 0, tasks=TASKS)
    learner._student._answer.bias.assign([0, 0, 0, 0, 10])  # as if the estimate were sure that leg 3 is lost
    actor = load_actor(policy_bundle.unpack(learner.policy()))
    rng = np.random.default_rng(0)
    state, own, first = actor.initial_state(3), learner._student.initial_state(3), np.zeros(3, bool)
    for _ in range(30):
        observation = 0.3 * rng.normal(0, 1, (3, 105)).astype(np.float32)
        previous = Previous(rng.uniform(-1, 1, (3, 8)).astype(np.float32), np.zeros(3, np.float32), first)
        found, extras, state = actor.act(observation, previous, state, first)
        expected, own = learner._student.act(observation, previous, own)
        np.testing.assert_allclose(found, expected, atol=2e-5)
        assert (extras["belief"].argmax(axis=1) == 4).all()
    assert np.array(own[-1]).argmax(axis=1).tolist() == 3 * [5]  # renamed by a quarter, and left for right


def test_tasks_choose_the_guide():
    assert isinstance(guide_for(TASKS), guided.LostLeg)
