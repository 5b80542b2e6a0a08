"""Learning from what a model imagines: sums and gradients against closed forms, bookkeeping, repetition."""

from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
from scipy.linalg import solve_discrete_are

from ant_env_node.vec_env import VectorAnt
from ant_rl_core.spec import ANT
from ant_rl_core.step import TimeStepEnv
from trainer import loop
from trainer.algorithms.model_based.base import ModelBasedSAC
from trainer.algorithms.model_based.imagined_rows import ImaginedBatch, ImaginedRows
from trainer.algorithms.model_based.mbpo import MBPOConfig
from trainer.algorithms.model_based.svg import SVG, Dream, SVGConfig
from trainer.algorithms.table import ALGORITHMS
from trainer.models.interface import Moment, start

NAMES = [name for name, method in ALGORITHMS.items() if name in ("svg", "mbpo")]
SMALL = {"learning_starts": 60, "updates_per_step": 0.1, "batch_size": 8, "replay_capacity": 400, "actor_hidden": (8,),
         "critic_hidden": (8,), "members": 2, "model_hidden": (8,), "held_out_ticks": 5, "held_out_share": 0.34,
         "model_interval": 40, "model_batches": 4, "batches_per_look": 2, "model_batch_size": 8}
OWN = {"svg": {"horizon": 2}, "mbpo": {"branches": 8, "branch_length": 2, "branch_length_from": 50,
                                       "branch_length_until": 100, "branch_length_end": 3}}
ENVS = 4


def learner_of(name, seed=0, **settings):
    method = ALGORITHMS[name]
    return method.learner(method.config(**{**SMALL, **OWN[name], **settings}), ENVS, ANT.observation_size,
                          ANT.action_size, seed)


def train(learner, env, steps, begun=None):
    found = []
    last = loop.run(env, learner, learner, begun or env.reset(seed=0), lambda _: learner.env_steps >= steps,
                    lambda metrics: found.append(metrics) and False)
    return last, found


def test_what_imagined_steps_are_worth_by_hand():
    """Two steps and an end after the first one in the second row: that one is worth its reward alone."""
    log_prob, reward, alive = ([tf.constant(x) for x in rows] for rows in (
        ([0.5, 0.5], [1.0, 1.0], [-2.0, -2.0]), ([1.0, 2.0], [3.0, 0.0]), ([1.0, 1.0], [1.0, 0.0], [1.0, 0.0])))
    dream = Dream([], [], log_prob, reward, alive)
    first, second, last = dream.values(tf.constant([10.0, 10.0]), 0.1, 0.5)
    np.testing.assert_allclose(last, [10.0, 10.0])
    np.testing.assert_allclose(second, [3.0 + 0.5 * (10.0 + 0.2), 0.0], rtol=1e-6)
    np.testing.assert_allclose(first, [1.0 + 0.5 * (8.1 - 0.1), 2.0], rtol=1e-6)


class Linear:
    """s' = A s + B a with the reward -s Q s - a R a of the step, behind the interface of a learned model."""

    def __init__(self, a, b, q, r):
        self.a, self.b, self.q, self.r = (tf.constant(x, tf.float32) for x in (a, b, q, r))

    def begin(self, observation, branches=1):
        moment = start(observation, branches)
        return moment._replace(reward=tf.zeros_like(moment.contact))

    def step_in_turn(self, moment, action, turn, noise):
        cost = tf.reduce_sum((moment.state @ self.q) * moment.state, 1) + tf.reduce_sum((action @ self.r) * action, 1)
        return Moment(moment.state @ tf.transpose(self.a) + action @ tf.transpose(self.b), moment.place,
                      moment.displacement, moment.contact, -cost)


@pytest.mark.parametrize("horizon", [1, 3])
def test_the_gradient_through_the_model_is_that_of_the_linear_quadratic_regulator(horizon):
    rng, gamma, size = np.random.default_rng(0), 0.9, 27
    a, b = np.linalg.qr(rng.standard_normal((size, size)))[0], 0.3 * rng.standard_normal((size, 8))
    a[0], a[:, 0], b[0] = 0.0, 0.0, 0.0
    a[0, 0] = 1.0  # the height stays where it is, a healthy one
    q, r = np.diag(rng.uniform(0.5, 1.5, size)), np.diag(rng.uniform(0.5, 1.5, 8))
    q[0, 0] = 1e-9
    p = solve_discrete_are(np.sqrt(gamma) * a, np.sqrt(gamma) * b, q, r)
    best = -np.linalg.solve(r + gamma * b.T @ p @ b, gamma * b.T @ p @ a)
    states = rng.standard_normal((16, size))
    states[:, 0] = 0.6

    def worth(gain):
        """Mean worth of `horizon` steps and the optimal value after them, in float64."""
        state, total = states, np.zeros(len(states))
        for i in range(horizon):
            action = state @ gain.T
            total -= gamma**i * (np.sum((state @ q) * state, 1) + np.sum((action @ r) * action, 1))
            state = state @ a.T + action @ b.T
        return np.mean(total - gamma**horizon * np.sum((state @ p) * state, 1))

    learner = learner_of("svg", horizon=horizon)
    learner.model = Linear(a, b, q, r)

    def gradient(gain):
        variable = tf.Variable(gain, dtype=tf.float32)
        with tf.GradientTape() as tape:
            dream = learner._dream(tf.constant(states, tf.float32), lambda x, i: (
                x @ tf.transpose(variable), tf.zeros(len(states))), tf.zeros((horizon, len(states), 30)))
            last = dream.state[-1]
            worth_of_last = -tf.reduce_sum((last @ tf.constant(p, tf.float32)) * last, 1)
            total = tf.reduce_mean(dream.values(worth_of_last, 0.0, gamma)[0])
        return tape.gradient(total, variable).numpy()

    other = best + 0.1 * rng.standard_normal(best.shape)
    expected = np.zeros_like(other)
    for index in np.ndindex(*other.shape):
        moved = np.zeros_like(other)
        moved[index] = 1e-5
        expected[index] = (worth(other + moved) - worth(other - moved)) / 2e-5
    assert np.abs(gradient(other) - expected).max() < 1e-4 * np.abs(expected).max()
    assert np.abs(gradient(best)).max() < 1e-3 * np.abs(expected).max()


def test_without_imagined_steps_it_is_sac():
    """On states normalized likewise, from the same draws."""
    config = SVGConfig(**{**SMALL, "horizon": 0, "max_gradient_norm": 1e9})
    with closing(TimeStepEnv(VectorAnt(ENVS))) as env:
        through, plain = (cls(config, ENVS, ANT.observation_size, ANT.action_size, 3) for cls in (SVG, Plain))
        start_of_both, moves = env.reset(seed=0), []
        loop.run(env, through, through, start_of_both, lambda _: through.env_steps >= 120,
                 lambda metrics: moves.append(metrics) and False)
        with closing(TimeStepEnv(VectorAnt(ENVS))) as again:
            train(plain, again, 120)
    for left, right in zip(through._state(), plain._state(), strict=True):
        np.testing.assert_allclose(left.numpy(), right.numpy(), rtol=1e-4, atol=1e-6, err_msg=left.path)
    assert len(moves) > 5


class Plain(ModelBasedSAC):
    name = "plain"


@pytest.mark.parametrize("name", NAMES)
def test_a_restored_learner_goes_on_bit_for_bit_with_fits_of_the_model_on_the_way(name):
    with closing(TimeStepEnv(VectorAnt(ENVS))) as env:
        first = learner_of(name)
        last, found = train(first, env, 120)
        assert any("model_held_out" in metrics for metrics in found)
        saved, place = {key: np.copy(value) for key, value in first.save().items()}, env.save()
        _, unbroken = train(first, env, 200, last)
        assert any("model_held_out" in metrics for metrics in unbroken)
        second = learner_of(name, seed=9)
        second.restore(saved)
        train(second, env, 200, env.restore(place))
    left, right = first.save(), second.save()
    assert left.keys() == right.keys()
    for key in left:
        np.testing.assert_array_equal(left[key], right[key], err_msg=key)


@pytest.mark.parametrize("name", NAMES)
def test_the_policy_takes_whole_observations_and_looks_at_the_state_alone(name):
    learner = learner_of(name)
    observation = np.random.default_rng(0).standard_normal((3, ANT.observation_size)).astype(np.float32)
    other = observation.copy()
    other[:, 27:] += 1.0
    outputs = [learner._outputs(tf.constant(learner.experience.normalize(x)))["action"].numpy()
               for x in (observation, other)]
    np.testing.assert_array_equal(*outputs)
    with pytest.raises(ValueError, match=f"{name} imagines the Ant-v5 with its 8 joints, found a robot of 11 numbers"):
        ALGORITHMS[name].learner(ALGORITHMS[name].config(), 1, 11, 3, 0)
    with pytest.raises(ValueError, match="learning_starts must be at least 100 robots"):
        ALGORITHMS[name].learner(ALGORITHMS[name].config(), 100, 105, 8, 0)


def test_branches_grow_as_the_schedule_says_and_old_ones_go():
    config = MBPOConfig(branch_length=1, branch_length_end=25, branch_length_from=20_000, branch_length_until=100_000)
    assert [config.length_at(steps) for steps in (0, 20_000, 60_000, 100_000, 500_000)] == [1, 1, 13, 25, 25]
    rows = ImaginedRows(8)
    for i, count in enumerate((3, 2, 4)):
        rows.add_fit([ImaginedBatch(*(np.full((count, *shape), i, np.float32) for shape in ((27,), (8,), (27,), ())),
                                    np.zeros(count, bool))], kept=2)
    assert len(rows) == 6
    assert set(rows.sample(100, np.random.default_rng(0)).reward) == {1.0, 2.0}


def test_imagined_rows_are_counted_and_ends_are_ends():
    with closing(TimeStepEnv(VectorAnt(ENVS))) as env:
        learner = learner_of("mbpo")
        _, found = train(learner, env, 200)
    fits = [metrics for metrics in found if "imagined_rows" in metrics]
    assert [metrics["branch_length"] for metrics in fits] == [2, 3, 3, 3]
    assert all(8 <= metrics["imagined_rows"] <= 48 for metrics in fits)
    rows = learner._imagined.sample(500, np.random.default_rng(0))
    height = rows.next_state[:, 0]
    np.testing.assert_array_equal(rows.ended, (height < 0.2) | (height > 1.0))


@pytest.mark.parametrize("settings, said", [
    ({"embedding_size": 8}, "embedding_size must be 0"), ({"critic_batch_renorm": True}, "critic_batch_renorm must be"),
    ({"learning_starts": 100}, "learning_starts must be at least held_out_ticks"),
    ({"batch_size": 10}, "batch_size must be a multiple of members")])
def test_settings_that_do_not_go_together(settings, said):
    with pytest.raises(ValueError, match=said):
        replace(SVGConfig(), **settings)
