"""Policies that find out their task by a formula: against motors and directions that are known."""

import numpy as np
import pytest

from ant_env_node.tasks import symmetry
from ant_env_node.tasks.moving import seen as moving
from ant_env_node.tasks.presets import PRESETS
from ant_env_node.tasks.task import VECTOR_SIZE, Task
from ant_env_node.vec_env import load_model
from ant_rl_core.spec import ACTUATOR_NAMES, JOINT_NAMES
from ant_rl_core.step import Previous
from trainer.analytic.direction import DirectionFilter
from trainer.analytic.dodge import Dodger, wanted_direction
from trainer.analytic.expert import Expert
from trainer.analytic.signs import SignFilter
from trainer.analytic.told import ToldExpert

N = 5


class Pusher:
    """An actor that looks at all that a turn or a relabeling changes."""

    version = 4

    def initial_state(self, num_envs):
        return ()

    def act(self, observation, previous, state, reset_mask):
        mix = np.random.default_rng(0).normal(size=(105, 8)).astype(np.float32)
        return np.tanh(0.1 * observation @ mix).astype(np.float32), {}, ()


def observations(seed=0, n=N):
    rng = np.random.default_rng(seed)
    seen = rng.normal(size=(n, 105)).astype(np.float32)
    seen[:, symmetry.ORIENTATION] = [1, 0, 0, 0]
    seen[:, symmetry.CONTACTS] = 0
    seen[:, symmetry.JOINTS] = load_model().jnt_range[1:].mean(axis=1)
    return seen


def test_signs_are_found_where_the_torque_is_what_turns_the_joint():
    rng = np.random.default_rng(2)
    actor = SignFilter(Expert(Pusher()))
    signs = rng.choice([-1, 1], (N, 8)).astype(np.float32)
    joint = [JOINT_NAMES.index(name) for name in ACTUATOR_NAMES]
    state, previous, seen = actor.initial_state(N), Previous.none(N, 8), observations()
    fresh = np.ones(N, bool)
    for tick in range(4):
        action, _, state = actor.act(seen, previous, state, fresh)
        plain, _, _ = Pusher().act(seen, previous, (), fresh)
        assert np.allclose(action, plain * (np.ones_like(signs) if tick == 0 else signs))
        moved = seen.copy()
        for motor in range(8):
            moved[:, symmetry.JOINT_VELOCITIES.start + joint[motor]] += 3 * signs[:, motor] * action[:, motor]
        seen, previous, fresh = moved, Previous(action, np.zeros(N, np.float32), np.zeros(N, bool)), np.zeros(N, bool)
    # The end of an episode tells nothing, and is no end of what was found out; a trial's is.
    apart = Previous(previous.action, previous.reward, np.ones(N, bool))
    action, _, kept = actor.act(observations(9), apart, state, np.zeros(N, bool))
    assert (np.sign(kept[1]) == np.sign(state[1])).all()
    _, _, anew = actor.act(observations(9), apart, state, np.ones(N, bool))
    assert not anew[1].any()


def test_a_joint_at_its_stop_tells_the_sign_where_its_velocity_tells_nothing():
    low, high = load_model().jnt_range[1:].T
    actor, sent = SignFilter(Expert(Pusher())), np.full((2, 8), 0.5, np.float32)
    seen = observations(n=2)
    seen[:, symmetry.JOINT_VELOCITIES] = 0
    _, _, state = actor.act(seen, Previous.none(2, 8), actor.initial_state(2), np.ones(2, bool))
    seen[:, symmetry.JOINTS] = [low, high]
    previous = Previous(sent, np.zeros(2, np.float32), np.zeros(2, bool))
    _, _, (_, score) = actor.act(seen, previous, state, np.zeros(2, bool))
    assert score == pytest.approx(np.array([[-2.0] * 8, [2.0] * 8]), rel=1e-5)


def test_the_direction_is_found_from_rewards():
    rng = np.random.default_rng(3)
    actor = DirectionFilter(Expert(Pusher()))
    angles = np.array([0.0, 1.0, 2.5, -1.2, -3.0])
    wanted = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    state, previous, fresh = actor.initial_state(N), Previous.none(N, 8), np.ones(N, bool)
    seen = observations()
    for _ in range(12):
        action, _, state = actor.act(seen, previous, state, fresh)
        before = seen[:, symmetry.VELOCITY][:, :2]
        seen = observations()
        seen[:, symmetry.VELOCITY] = rng.normal(size=(N, 3))
        seen[:, symmetry.CONTACTS] = rng.uniform(-1, 1, (N, 78))
        velocity = (before + seen[:, symmetry.VELOCITY][:, :2]) / 2
        reward = ((velocity * wanted).sum(axis=1) + 1 - 0.5 * (action**2).sum(axis=1)
                  - 5e-4 * (seen[:, symmetry.CONTACTS]**2).sum(axis=1))
        previous, fresh = Previous(action, reward.astype(np.float32), np.zeros(N, bool)), np.zeros(N, bool)
    action, _, (_, information, product, _) = actor.act(seen, previous, state, fresh)
    found = np.linalg.solve(information + np.eye(2), product[:, :, None])[:, :, 0]
    assert np.abs(found - wanted).max() < 0.05
    _, _, anew = actor.act(seen, previous, state, np.ones(N, bool))
    assert not anew[1].any() and not anew[2].any()


def test_who_is_told_a_direction_acts_as_if_the_world_had_turned():
    expert, seen = Expert(Pusher()), observations(n=1)
    first = np.full(1, -1)
    for angle in (0.3, -0.7, np.pi / 2, np.pi, -np.pi / 2):
        expected, _ = expert.along(seen, np.zeros(1), first)
        turned, _ = expert.along(symmetry.turn_world(seen, angle), np.full(1, angle), first)
        assert turned == pytest.approx(expected, abs=1e-5)
    # A robot that was not turned has another leg in front instead, and drives that one.
    action, quarters = expert.along(seen, np.full(1, np.pi / 2), first)
    assert quarters == [1]
    again = symmetry.turn_world(symmetry.relabel(seen, 1), -np.pi / 2)
    assert action == pytest.approx(symmetry.relabel_action(expert(again), -1), abs=1e-6)
    # Legs keep their names from 45 degrees on one side of the wanted direction to 135 on the other.
    for off, expected in ((0.7, 1), (0.9, 2), (-2.3, 1), (-2.4, 0)):
        _, kept = expert.along(seen, np.full(1, np.pi / 2 + off), np.array([1]))
        assert kept == [expected]


@pytest.mark.parametrize("name", ["wired", "swapped"])
def test_who_is_told_the_wires_drives_the_motors_as_the_expert_would(name):
    tasks = PRESETS[name]().held_out[:N]
    seen = observations()
    told = np.concatenate([seen, [task.vector() for task in tasks]], axis=1).astype(np.float32)
    actor = ToldExpert(Expert(Pusher()))
    action, _, _ = actor.act(told, Previous.none(N, 8), actor.initial_state(N), np.ones(N, bool))
    arrives = np.array([action[i, list(task.wiring)] * task.gear for i, task in enumerate(tasks)])
    assert arrives == pytest.approx(Expert(Pusher())(seen), abs=1e-6)
    nominal = np.concatenate([seen, np.tile(Task().vector(), (N, 1))], axis=1).astype(np.float32)
    action, _, _ = actor.act(nominal, Previous.none(N, 8), actor.initial_state(N), np.ones(N, bool))
    assert action == pytest.approx(Expert(Pusher())(seen), abs=1e-6)


def test_who_is_told_of_a_ball_steps_aside():
    """Out of the way of one that would pass on the right, to the left; others are left alone."""
    task = np.zeros((5, VECTOR_SIZE), np.float32)
    for row, (offset, velocity) in enumerate([((6, -0.5), (-4, 0)), ((6, 0.5), (-4, 0)), ((6, -2.0), (-4, 0)),
                                              ((-3, -0.5), (-4, 0))]):
        moving.write_ball(task[row], 0.75, np.array(offset), np.array(velocity))
    running = np.tile([5.0, 0.0], (5, 1))
    assert wanted_direction(task, running) == pytest.approx([np.pi / 2, -np.pi / 2, 0, 0, 0])
    # One from behind that is faster comes near, too; and at 9 m/s one from the side is met only if one goes on.
    task[0, :] = task[1, :] = 0
    moving.write_ball(task[0], 0.75, np.array((-3.0, -0.5)), np.array((9.0, 0)))
    moving.write_ball(task[1], 0.75, np.array((6.0, 5.0)), np.array((0.0, -5.0)))
    assert wanted_direction(task, running)[0] == pytest.approx(np.pi / 2)
    assert wanted_direction(task, 0 * running)[1] == 0 and wanted_direction(task, running)[1] != 0
    actor, seen = Dodger(Expert(Pusher())), observations()
    told = np.concatenate([seen, np.zeros((N, VECTOR_SIZE))], axis=1).astype(np.float32)
    action, _, state = actor.act(told, Previous.none(N, 8), actor.initial_state(N), np.ones(N, bool))
    expected, _ = Expert(Pusher()).along(seen, np.zeros(N), np.full(N, -1))
    assert (action == expected).all() and not state[2].any()
    told[:, 105:] = task[0]
    _, _, state = actor.act(told, Previous.none(N, 8), state, np.zeros(N, bool))
    assert (np.abs(state[2]) <= 0.25).all() and state[2].any()
