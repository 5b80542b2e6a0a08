"""TD7 against mathematics: a float64 reference of its updates, and what it exports."""

import copy
from dataclasses import replace

import numpy as np
import pytest
from by_hand import (
    ELU,
    RELU,
    Adam,
    act,
    disturb,
    embedding,
    flat,
    headed,
    in_float64,
    learned_encoder,
    observe,
    prediction,
    recorded,
    slope,
)

from ant_rl_core import bundle as policy_bundle
from ant_rl_core.files import write_atomically
from policy_node.actor import load_actor
from trainer.algorithms.off_policy.td3 import TD3, TD3Config
from trainer.algorithms.off_policy.td7 import METRICS, TD7, TD7Config

SMALL = TD7Config(total_steps=200, learning_starts=6, updates_per_step=1.5, batch_size=8, replay_capacity=100,
                  discount=0.9, encoder_learning_rate=0.01, actor_learning_rate=0.02, critic_learning_rate=0.03,
                  target_interval=4, actor_interval=2, target_noise_std=0.6, target_noise_clip=0.5, width=2)


# -- updates, computed by hand -----------------------------------------------------------------------------------------

class Reference:
    """TD7 in numpy float64, written from the paper's algorithms 2 and 4 and its appendices A and B, no code shared.

    Two observations, one action, every width two; no checkpoints of the policy.
    """

    def __init__(self, config, learner):
        self.config, self.steps = config, 0
        self.encoder, self.fixed, self.target_fixed = ([flat(part) for part in pair] for pair in (
            learner.encoder, learner.fixed_encoder, learner.target_encoder))
        self.actor, self.target_actor = flat(learner.actor), flat(learner.target_actor)
        self.critics = [flat(critic) for critic in learner.critics]
        self.targets = [flat(critic) for critic in learner.target_critics]
        self.encoder_adams = [Adam(len(part), config.encoder_learning_rate) for part in self.encoder]
        self.actor_adam = Adam(len(self.actor), config.actor_learning_rate)
        self.critic_adams = [Adam(len(critic), config.critic_learning_rate) for critic in self.critics]
        self.seen, self.bounds = [], (0.0, 0.0)
        self.tried = {"noise": [], "smaller": [], "bounds": [], "loss": []}

    @staticmethod
    def value(critic, encoder, x, action):
        state = embedding(encoder, x)
        return headed(critic, np.column_stack([x, action]), prediction(encoder, state, action), state,
                      sizes=(2, 2, 1), activation=ELU)[:, 0]

    @staticmethod
    def action(actor, encoder, x):
        return np.tanh(headed(actor, x, embedding(encoder, x), sizes=(2, 2, 1), activation=RELU)[:, 0])

    @staticmethod
    def lap_huber(error):
        return np.where(np.abs(error) < 1.0, 0.5 * error**2, np.abs(error))

    def update(self, batch, noise):
        """One gradient step; returns the priorities [m] of its rows before the exponent, and the metrics."""
        c = self.config
        x, taken, reward, discount, x_next, weight = in_float64(batch)
        self.encoder, loss = learned_encoder(self.encoder, self.encoder_adams, x, taken, x_next)
        metrics = {"encoder_loss": loss}

        noise = c.target_noise_std * noise[:, 0].astype(np.float64)
        self.tried["noise"] += list(np.abs(noise) > c.target_noise_clip)
        noise = np.minimum(np.maximum(noise, -c.target_noise_clip), c.target_noise_clip)
        action = self.action(self.target_actor, self.target_fixed, x_next) + noise
        action = np.minimum(np.maximum(action, -1.0), 1.0)
        values = [self.value(critic, self.target_fixed, x_next, action) for critic in self.targets]
        self.tried["smaller"] += list(np.argmin(values, axis=0))
        value = np.min(values, axis=0)
        bounded = np.minimum(np.maximum(value, self.bounds[0]), self.bounds[1])
        self.tried["bounds"] += list(bounded != value)
        target = reward + discount * bounded
        self.seen += list(target)
        values = np.array([self.value(critic, self.fixed, x, taken) for critic in self.critics])
        errors = values - target
        self.tried["loss"] += list(np.abs(errors).ravel() < 1.0)
        metrics.update(critic_loss=np.mean(weight * self.lap_huber(errors), axis=1).sum(), q_value=values[0].mean())
        for i, critic in enumerate(self.critics):
            gradient = slope(lambda theta: np.mean(weight * self.lap_huber(
                self.value(theta, self.fixed, x, taken) - target)), critic)
            self.critics[i] = self.critic_adams[i].step(critic, gradient)
        self.steps += 1
        if self.steps % c.actor_interval == 0:
            def loss(theta):
                action = self.action(theta, self.fixed, x)
                return -np.mean([self.value(critic, self.fixed, x, action) for critic in self.critics])
            metrics["actor_loss"] = loss(self.actor)
            self.actor = self.actor_adam.step(self.actor, slope(loss, self.actor))
        if self.steps % c.target_interval == 0:
            self.target_actor, self.targets = self.actor, list(self.critics)
            self.target_fixed, self.fixed = self.fixed, self.encoder
            self.bounds = min(self.seen), max(self.seen)
        return np.maximum(np.abs(errors).max(axis=0), 1.0), metrics

    def pairs(self, learner):
        """Each network of the learner with what its weights should be."""
        return [(learner.actor, self.actor), (learner.target_actor, self.target_actor),
                *zip(learner.critics, self.critics, strict=True),
                *zip(learner.target_critics, self.targets, strict=True),
                *zip(learner.encoder, self.encoder, strict=True), *zip(learner.fixed_encoder, self.fixed, strict=True),
                *zip(learner.target_encoder, self.target_fixed, strict=True)]


@pytest.mark.parametrize(("prioritized", "importance", "compiled"), [
    (True, 0.0, True), (True, 0.5, False), (False, 0.0, False)])
def test_updates_equal_those_computed_by_hand_in_float64(prioritized, importance, compiled, request):
    if not compiled:
        request.getfixturevalue("eager")
    config = replace(SMALL, prioritized=prioritized, importance_exponent=importance,
                     importance_exponent_end=importance)
    learner, rng = TD7(config, 2, 2, 1, seed=6), np.random.default_rng(3)
    # All nine apart, as they are once the copies are older than what is learned.
    disturb([network for network, _ in Reference(config, learner).pairs(learner)], rng)
    reference = Reference(config, learner)
    noise, batches, ends, steps = copy.deepcopy(learner.rng), recorded(learner), [], 0
    for _ in range(12):
        observe(learner, rng)
        if not learner.ready():
            continue
        metrics, expected_figures = learner.update(), []
        for batch in batches[steps:]:
            priority, found = reference.update(batch, noise.standard_normal(batch.action.shape, np.float32))
            expected_figures.append(found)
            steps += 1
            ends += list(batch.discount == 0.0)
        for network, expected in reference.pairs(learner):
            np.testing.assert_allclose(flat(network), expected, atol=5e-5, err_msg=network.name)
        for name in METRICS:
            expected = np.mean([one[name] for one in expected_figures])
            assert metrics[name] == pytest.approx(expected, rel=1e-3, abs=1e-3), name
        if prioritized:
            leaves = learner.save()["replay_leaves"]
            for index, expected in zip(batch.index, priority, strict=True):
                assert leaves[index] == pytest.approx(expected**config.priority_exponent, rel=2e-3)
    assert steps == 27 and learner.version == 10
    for name, tried in {**reference.tried, "ends": ends}.items():  # both sides of each
        assert 0.02 < np.mean(tried) < 0.98, name
    weights = np.concatenate([batch.weight for batch in batches])
    assert (weights.min() < 0.95) == (importance > 0)


def test_copies_start_equal_and_critics_differ():
    learner = TD7(SMALL, 1, 2, 1, seed=0)
    for network, copied in [(learner.actor, learner.target_actor),
                            *zip(learner.critics, learner.target_critics, strict=True),
                            *zip(learner.encoder, learner.fixed_encoder, strict=True),
                            *zip(learner.encoder, learner.target_encoder, strict=True)]:
        assert np.array_equal(flat(network), flat(copied))
    assert not np.array_equal(*map(flat, learner.critics))


# -- acting ------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("backend", ["litert", "keras"])
def test_the_exported_policy_is_the_live_one(backend, eager):
    config = replace(SMALL, normalize_observations=True, observation_clip=1.0, exploration_std=0.3)
    learner, rng = TD7(config, 2, 2, 1, seed=6), np.random.default_rng(1)
    for _ in range(8):
        observe(learner, rng)
        if learner.ready():
            learner.update()
    bundle = policy_bundle.unpack(learner.policy({"note": "here"}))
    assert bundle.manifest.provenance["note"] == "here" and bundle.manifest.provenance["env_steps"] == 16
    assert (bundle.manifest.algorithm, bundle.manifest.version) == ("td7", learner.version)
    observation = rng.normal(0, 3, (500, 2)).astype(np.float32)
    x = learner.experience.normalize(observation).astype(np.float64)
    expected = Reference.action(flat(learner.actor), [flat(part) for part in learner.fixed_encoder], x)[:, None]
    best = act(load_actor(bundle, backend), observation)[0]
    np.testing.assert_allclose(best, expected, atol=1e-5)
    noise = copy.deepcopy(learner.noise).standard_normal((500, 1), np.float32)
    np.testing.assert_allclose(act(learner, observation)[0], np.clip(expected + 0.3 * noise, -1, 1), atol=2e-5)
    encoder = [flat(part) for part in learner.fixed_encoder]
    values = [Reference.value(flat(critic), encoder, x, expected[:, 0]) for critic in learner.critics]
    np.testing.assert_allclose(learner.value(observation), np.min(values, axis=0), atol=1e-4)


# -- going on from a policy --------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def policy(tmp_path_factory):
    """Path of the bundle of a small TD7, and the learner that made it."""
    learner = TD7(SMALL, 2, 2, 1, seed=6)
    rng = np.random.default_rng(3)
    disturb([learner.actor, learner.fixed_encoder[0]], rng)
    path = tmp_path_factory.mktemp("policies") / "small.zip"
    write_atomically(path, learner.policy())
    return path, learner


def test_a_given_policy_acts_from_the_start_and_the_actor_waits_for_the_critics(policy, eager):
    path, given = policy
    config = replace(SMALL, initial_policy=str(path), actor_starts=6)
    learner, rng = TD7(config, 2, 2, 1, seed=1), np.random.default_rng(4)
    observation = rng.normal(0, 3, (50, 2)).astype(np.float32)
    best = load_actor(policy_bundle.read(path))
    expected = act(best, observation)[0]
    # No random actions, though learning has not started.
    noise = copy.deepcopy(learner.noise).standard_normal((50, 1), np.float32)
    np.testing.assert_allclose(act(learner, observation)[0], np.clip(expected + config.exploration_std * noise, -1, 1),
                               atol=1e-5)
    first = policy_bundle.unpack(learner.policy())
    assert first.manifest.exploration.kind == "gaussian"
    np.testing.assert_array_equal(act(load_actor(first), observation)[0], expected)
    for encoder in (learner.encoder, learner.fixed_encoder, learner.target_encoder):
        assert np.array_equal(flat(encoder[0]), flat(given.fixed_encoder[0]))
    assert np.array_equal(flat(learner.target_actor), flat(given.actor))

    predictor, critics = flat(learner.encoder[1]), list(map(flat, learner.critics))
    while learner.experience.updates < config.actor_starts:
        observe(learner, rng)
        learner.ready() and learner.update()
    assert learner.experience.updates == 6  # the next one moves the actor, which learns from every second
    assert np.array_equal(flat(learner.actor), flat(given.actor))
    assert not np.array_equal(flat(learner.encoder[1]), predictor)
    assert all(not np.array_equal(flat(critic), before)
               for critic, before in zip(learner.critics, critics, strict=True))
    while learner.experience.updates < 12:
        observe(learner, rng)
        learner.ready() and learner.update()
    assert not np.array_equal(flat(learner.actor), flat(given.actor))
    assert np.array_equal(flat(learner.encoder[0]), flat(given.fixed_encoder[0]))  # stays as it is


def test_a_restored_run_does_not_depend_on_what_the_policy_has_become(policy, tmp_path, eager):
    path, given = policy
    copy_of_it = tmp_path / "policy.zip"
    copy_of_it.write_bytes(path.read_bytes())
    config = replace(SMALL, initial_policy=str(copy_of_it))

    def go_on(learner, ticks, rng):
        for _ in range(ticks):
            observe(learner, rng)
            learner.ready() and learner.update()
        return flat(learner.actor), flat(learner.encoder[0]), flat(learner.encoder[1])

    unbroken = TD7(config, 2, 2, 1, seed=1)
    rng = np.random.default_rng(4)
    go_on(unbroken, 8, rng)
    state, later = copy.deepcopy((unbroken.save(), rng))
    expected = go_on(unbroken, 8, rng)
    write_atomically(copy_of_it, TD7(SMALL, 2, 2, 1, seed=8).policy())
    resumed = TD7(config, 2, 2, 1, seed=1)
    assert not np.array_equal(flat(resumed.encoder[0]), flat(given.fixed_encoder[0]))
    resumed.restore(state)
    for found, value in zip(go_on(resumed, 8, later), expected, strict=True):
        assert np.array_equal(found, value)


@pytest.mark.parametrize(("change", "sizes", "text"), [
    ({"width": 3}, (2, 1), "initial_policy must be one of td7 with width 3 and observations as they come, found .*"
                           "small.zip, of td7 with other layers"),
    ({}, (3, 1), "the robot has 3 observations and 1 actions, but the bundle was made for 2 and 1")])
def test_a_policy_of_other_sizes_is_refused(change, sizes, text, policy):
    with pytest.raises(ValueError, match=text):
        TD7(replace(SMALL, initial_policy=str(policy[0]), **change), 1, *sizes, seed=0)


def test_a_policy_of_another_method_is_refused(tmp_path):
    path = tmp_path / "td3.zip"
    write_atomically(path, TD3(TD3Config(embedding_size=0, actor_hidden=(2,)), 1, 2, 1, seed=0).policy())
    with pytest.raises(ValueError, match="initial_policy must be one of td7 .*, of td3 with other layers"):
        TD7(replace(SMALL, initial_policy=str(path)), 1, 2, 1, seed=0)


# -- settings ----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("change", "text"), [
    ({"encoder_learning_rate": 0.0}, "encoder_learning_rate must be positive"),
    ({"actor_learning_rate": -1.0}, "actor_learning_rate must be positive"),
    ({"critic_learning_rate": float("nan")}, "critic_learning_rate must be positive, found nan"),
    ({"target_interval": 0}, "target_interval must be at least 1"),
    ({"actor_interval": 0}, "actor_interval must be at least 1"),
    ({"exploration_std": -0.1}, "exploration_std must be at least 0"),
    ({"target_noise_std": -0.1}, "target_noise_std must be at least 0"),
    ({"target_noise_clip": -0.1}, "target_noise_clip must be at least 0"),
    ({"width": 0}, "width must be at least 1, found 0"),
    ({"actor_starts": -1}, "actor_starts must be at least 0"),
    ({"initial_policy": "default", "normalize_observations": True},
     "normalize_observations must be false with initial_policy, found True")])
def test_settings_out_of_range_are_refused(change, text):
    with pytest.raises(ValueError, match=f"^{text}"):
        replace(SMALL, **change)
