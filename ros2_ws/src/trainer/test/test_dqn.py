"""Decoupled Q-learning against mathematics: a float64 reference of its updates, and what its settings promise."""

from dataclasses import replace

import numpy as np
import pytest
from by_hand import Adam, act, disturb, flat, in_float64, observe, perceptron, recorded, slope

from ant_rl_core import bundle as policy_bundle
from policy_node.actor import load_actor
from trainer.algorithms.off_policy.dqn import DQN, METRICS, DQNConfig

SMALL = DQNConfig(total_steps=200, learning_starts=8, updates_per_step=1.5, batch_size=8, replay_capacity=100,
                  prioritized=False, discount=0.9, n_step=2, levels=3, max_torque=1.0, learning_rate=0.03,
                  target_share=0.2, epsilon=0.25,
                  huber_threshold=1.5, max_gradient_norm=1.0, hidden=(4, 3))


# -- updates, computed by hand -----------------------------------------------------------------------------------------

class Reference:
    """Decoupled Q-learning in numpy float64, written from the docstrings; no code is shared.

    Two joints, two hidden layers of four and three units in both critics.
    """

    def __init__(self, config, critics):
        self.config = config
        self.theta = np.concatenate([flat(critic) for critic in critics])
        self.target = self.theta.copy()
        self.adam = Adam(len(self.theta), config.learning_rate)
        self.disagreed, self.smaller, self.linear, self.shortened, self.levels = [], [], [], [], []

    def values(self, theta, x):
        """Of two critics, each level of each joint: [2, m, joints, levels]."""
        sizes, normalized = (4, 3, 2 * self.config.levels), (0,) if self.config.layer_norm else ()
        found = [perceptron(part, x, sizes, normalized) for part in np.split(theta, 2)]
        return np.reshape(found, (2, len(x), 2, self.config.levels))

    def action_values(self, values, level):
        """Of an action, joint by joint and then averaged: [..., m]."""
        rows = np.arange(len(level))
        return (values[..., rows, 0, level[:, 0]] + values[..., rows, 1, level[:, 1]]) / 2

    def update(self, batch):
        """One gradient step; returns the mean error [m] of the two critics before it."""
        c = self.config
        x, action, reward, discount, x_next, weight = in_float64(batch)
        torques = [c.max_torque * (-1 + 2 * i / (c.levels - 1)) for i in range(c.levels)]
        level = np.abs(action[..., None] - torques).argmin(axis=2)
        best = self.values(self.theta, x_next).mean(axis=0).argmax(axis=2)
        following = self.values(self.target, x_next)
        self.disagreed += list((best != following.mean(axis=0).argmax(axis=2)).any(axis=1))
        both = self.action_values(following, best)
        self.smaller += list(both[0] < both[1])
        target = reward + discount * (both.min(axis=0) if c.clipped_double else both.mean(axis=0))

        def errors(theta):
            return np.abs(self.action_values(self.values(theta, x), level) - target)

        def loss(theta):
            e, bound = errors(theta), c.huber_threshold
            return (weight * np.where(e <= bound, e**2 / 2, bound * (e - bound / 2))).mean(axis=1).sum()

        gradient, before = slope(loss, self.theta), errors(self.theta)
        norm = np.sqrt(np.sum(gradient**2))
        self.linear += list((before > c.huber_threshold).ravel())
        self.shortened.append(norm > c.max_gradient_norm)
        self.levels += list(level.ravel())
        self.theta = self.adam.step(self.theta, gradient * min(1.0, c.max_gradient_norm / norm))
        self.target = (1 - c.target_share) * self.target + c.target_share * self.theta
        return before.mean(axis=0)


@pytest.mark.parametrize(("changes", "compiled"), [
    ({}, True), ({"prioritized": True, "layer_norm": False, "clipped_double": False}, False),
    ({"levels": 5, "prioritized": True, "max_torque": 0.6}, False)])
def test_updates_equal_those_computed_by_hand_in_float64(changes, compiled, request):
    if not compiled:
        request.getfixturevalue("eager")
    config = replace(SMALL, **changes)
    learner, rng = DQN(config, 2, 2, 2, seed=6), np.random.default_rng(6)
    disturb([learner.mean], rng)
    for target, critic in zip(learner.target_critics, learner.critics, strict=True):
        target.set_weights(critic.get_weights())
    reference = Reference(config, learner.critics)
    batches, ends, steps = recorded(learner), [], 0
    for _ in range(12):
        observe(learner, rng)
        if not learner.ready():
            continue
        metrics = learner.update()
        for batch in batches[steps:]:
            error = reference.update(batch)
            steps += 1
            ends += list(batch.discount == 0.0)
        np.testing.assert_allclose(flat(learner.mean), reference.theta, atol=3e-5)
        found = np.concatenate([flat(critic) for critic in learner.target_critics])
        np.testing.assert_allclose(found, reference.target, atol=3e-5)
        if config.prioritized:
            last = dict(zip(batch.index, error + 1e-6, strict=True))
            leaves = learner.save()["replay_leaves"]
            for index, priority in last.items():
                assert leaves[index] == pytest.approx(priority**config.priority_exponent, rel=2e-3, abs=1e-3)
    assert steps == 24 and learner.version == 9 and set(METRICS) == set(metrics)
    # Both sides of each:
    for tried in (reference.disagreed, reference.smaller, reference.linear, reference.shortened, ends):
        assert 0.03 < np.mean(tried) < 0.97
    assert set(reference.levels) == set(range(config.levels))
    weights = np.concatenate([batch.weight for batch in batches])
    assert (weights.min() < 0.9) == config.prioritized


def test_targets_start_as_copies_and_critics_differ():
    learner = DQN(SMALL, 1, 2, 2, seed=0)
    pairs = zip(learner.critics, learner.target_critics, strict=True)
    assert all(np.array_equal(flat(critic), flat(target)) for critic, target in pairs)
    assert not np.array_equal(*map(flat, learner.critics))


def test_the_value_is_that_of_the_best_level_of_each_joint():
    learner = DQN(SMALL, 1, 2, 2, seed=0)
    observation = np.random.default_rng(0).normal(0, 3, (50, 2)).astype(np.float32)
    values = Reference(SMALL, learner.critics).values(flat(learner.mean), observation).mean(axis=0)
    combinations = [(values[:, 0, i] + values[:, 1, j]) / 2 for i in range(3) for j in range(3)]
    np.testing.assert_allclose(learner.value(observation), np.max(combinations, axis=0), atol=1e-5)
    assert learner.value(observation).dtype == np.float32


# -- acting ------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("backend", "changes"), [
    ("litert", {}), ("keras", {"levels": 5, "layer_norm": False, "precision": "bfloat16"}),
    ("litert", {"max_torque": 0.5})])
def test_the_exported_policy_is_the_live_one(backend, changes, eager):
    config = replace(SMALL, normalize_observations=True, observation_clip=1.0, epsilon=0.0, hidden=(16, 8), **changes)
    learner, rng = DQN(config, 2, 2, 2, seed=6), np.random.default_rng(1)
    disturb([learner.mean], rng)
    for _ in range(8):
        observe(learner, rng)
        if learner.ready():
            learner.update()
    bundle = policy_bundle.unpack(learner.policy({"note": "here"}))
    assert bundle.manifest.provenance["note"] == "here" and bundle.manifest.provenance["env_steps"] == 16
    assert (bundle.manifest.algorithm, bundle.manifest.version) == ("dqn", learner.version)
    observation = rng.normal(0, 3, (1000, 2)).astype(np.float32)
    best = act(load_actor(bundle, backend), observation)[0]
    live = act(learner, observation)[0]
    limit = config.max_torque
    assert set(np.unique(live)) | set(np.unique(best)) <= set(np.linspace(-limit, limit, config.levels))
    assert np.abs(live).max() == limit
    assert (live != live[0]).any(axis=0).all()
    # Learning in bfloat16 rounds the values, so that levels of nearly the same value may change places.
    assert (live == best).mean() >= (0.98 if config.precision == "bfloat16" else 0.9995)


def test_now_and_then_a_joint_takes_a_random_level():
    learner = DQN(replace(SMALL, learning_starts=0, levels=5), 1, 2, 3, seed=0)
    observation = np.zeros((20000, 2), np.float32)
    best = learner._outputs(observation)["action"].numpy()
    other = act(learner, observation)[0] != best
    # A random level is another one in 4 of 5 draws.
    np.testing.assert_allclose(other.mean(axis=0), 0.25 * 0.8, atol=0.01)
    np.testing.assert_allclose(other.all(axis=1).mean(), (0.25 * 0.8)**3, atol=0.003)
    exploration = policy_bundle.unpack(learner.policy()).manifest.exploration
    assert (exploration.kind, exploration.scale, exploration.levels) == ("epsilon_greedy", 0.25, 5)
    assert exploration.limit == 1.0


@pytest.mark.parametrize("limit", [1.0, 0.25])
def test_the_first_actions_are_random_levels_whatever_is_observed(limit):
    learner = DQN(replace(SMALL, max_torque=limit), 1, 2, 2, seed=0)
    action = act(learner, np.zeros((6000, 2), np.float32))[0]
    found, counts = np.unique(action, return_counts=True)
    assert found.tolist() == [-limit, 0.0, limit] and counts.min() > 3800 and action.dtype == np.float32
    assert policy_bundle.unpack(learner.policy()).manifest.exploration.limit == limit


# -- numbers that are none ---------------------------------------------------------------------------------------------

def test_a_weight_that_is_no_number_ends_the_training_with_its_name(eager):
    learner, rng = DQN(SMALL, 2, 2, 2, seed=6), np.random.default_rng(1)
    for _ in range(5):
        observe(learner, rng)
    kernel = learner.critics[1].get_layer("critic_1_output").kernel
    kernel.assign(np.full(kernel.shape, np.nan))
    with pytest.raises(FloatingPointError, match=r"^critic_loss became nan \(and critic_\S+ with it\) at 10 env"):
        learner.update()
    assert learner.version == 1


# -- settings ----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("change", "text"), [
    ({"levels": 1}, "levels must be at least 2, found 1"),
    ({"max_torque": 0.0}, "max_torque must be above 0 and at most 1, found 0.0"),
    ({"learning_rate": 0.0}, "learning_rate must be positive"),
    ({"target_share": 0.0}, "target_share must be above 0 and at most 1, found 0.0"),
    ({"epsilon": 1.5}, "epsilon must be from 0 to 1, found 1.5"),
    ({"huber_threshold": 0.0}, "huber_threshold must be positive"),
    ({"max_gradient_norm": 0.0}, "max_gradient_norm must be positive"), ({"n_step": 0}, "n_step must be at least 1"),
    ({"hidden": (3, 0)}, "hidden must hold sizes of at least 1"),
    ({"precision": "float16"}, "precision must be float32 or bfloat16, found 'float16'")])
def test_settings_out_of_range_are_refused(change, text):
    with pytest.raises(ValueError, match=f"^{text}"):
        replace(SMALL, **change)
