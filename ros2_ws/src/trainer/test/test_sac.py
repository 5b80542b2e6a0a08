"""SAC against mathematics: a float64 reference of its updates, and what it exports."""

import copy
from dataclasses import replace

import numpy as np
import pytest
from by_hand import (
    Adam,
    EmbeddedNetworks,
    act,
    disturb,
    flat,
    in_float64,
    moments,
    moved_moments,
    observe,
    perceptron,
    recorded,
    renormed_perceptron,
    slope,
)

from ant_rl_core import bundle as policy_bundle
from policy_node.actor import load_actor
from trainer.algorithms.off_policy.sac import ACTOR_METRICS, CRITIC_METRICS, SAC, SACConfig

SMALL = SACConfig(total_steps=200, learning_starts=6, updates_per_step=1.5, batch_size=8, replay_capacity=100,
                  discount=0.9, actor_learning_rate=0.02, critic_learning_rate=0.03, temperature_learning_rate=0.05,
                  initial_temperature=0.4, target_entropy=-2.2, target_share=0.2, actor_hidden=(3,),
                  critic_hidden=(3,), embedding_size=0, actor_interval=1)


# -- updates, computed by hand -----------------------------------------------------------------------------------------

class Reference:
    """SAC in numpy float64, written from the paper's algorithm 1 and appendix C; no code is shared.

    Two joints, one hidden layer of three units in each network.
    """

    def __init__(self, config, actor, critics, inputs):
        self.config = config
        self.networks = EmbeddedNetworks(config, inputs, config.momentum) if config.embedding_size else None
        self.actor, self.critics = flat(actor), [flat(critic) for critic in critics]
        self.targets = [critic.copy() for critic in self.critics]
        self.log_temperature = np.log(np.array([config.initial_temperature]))
        self.actor_adam = Adam(len(self.actor), config.actor_learning_rate, momentum=config.momentum)
        self.critic_adams = [Adam(len(critic), config.critic_learning_rate, momentum=config.momentum)
                             for critic in self.critics]
        self.running = [moments(critic) for critic in critics]
        self.updates = 0
        self.temperature_adam = Adam(1, config.temperature_learning_rate)
        self.clipped, self.smaller, self.surplus = [], [], []
        self.normalized = (0,) if config.critic_layer_norm else ()

    def worth(self, i, theta, taken):
        """What critic i, with these weights, gives for observations beside actions."""
        if self.config.critic_batch_renorm:
            return renormed_perceptron(theta, taken, (3, 1), self.running[i])[0][:, 0]
        if self.networks:
            return self.networks.critic(theta, taken, 3, 1)[:, 0]
        return perceptron(theta, taken, (3, 1), self.normalized)[:, 0]

    def both(self, i, theta, taken, following):
        """The values that critic i learns with, and those that it learns from."""
        if not self.config.critic_batch_renorm:
            return self.worth(i, theta, taken), self.worth(i, self.targets[i], following)
        values = renormed_perceptron(theta, np.vstack([taken, following]), (3, 1))[0][:, 0]
        return values[:len(taken)], values[len(taken):]

    def sample(self, theta, x, noise):
        """Actions, and their log-densities by the change of variables."""
        outputs = self.networks.actor(theta, x, 3, 4) if self.networks else perceptron(theta, x, (3, 4))
        mean, log_std = outputs[:, :2], outputs[:, 2:]
        self.clipped += list(log_std.ravel() > 2.0)
        std = np.exp(np.minimum(np.maximum(log_std, -20.0), 2.0))
        u = mean + std * noise
        density = np.exp(-((u - mean) ** 2) / (2 * std**2)) / (std * np.sqrt(2 * np.pi))
        log_derivative = 2 * (np.log(2.0) - np.logaddexp(u, -u))  # of 1 - tanh^2 = 1 / cosh^2
        return np.tanh(u), (np.log(density) - log_derivative).sum(axis=1)

    def value(self, critics, x, action):
        values = [self.worth(i, critic, np.hstack([x, action])) for i, critic in enumerate(critics)]
        self.smaller += list(np.argmin(values, axis=0))
        return np.min(values, axis=0)

    def actor_loss(self, theta, x, noise, temperature):
        action, log_prob = self.sample(theta, x, noise)
        return np.mean(temperature * log_prob - self.value(self.critics, x, action))

    def update(self, batch, noise):
        """One gradient step; returns the errors of both critics [2, m] before it, and the metrics."""
        c = self.config
        x, taken_action, reward, discount, x_next, weight = in_float64(batch)
        noise_next, noise = noise.astype(np.float64)
        temperature = np.exp(self.log_temperature[0])
        encoder = {"encoder_loss": self.networks.learn(x, taken_action, x_next)} if self.networks else {}
        action, log_prob = self.sample(self.actor, x_next, noise_next)
        taken, following = np.hstack([x, taken_action]), np.hstack([x_next, action])
        pairs = [self.both(i, critic, taken, following) for i, critic in enumerate(self.critics)]
        values, next_values = (np.array([pair[side] for pair in pairs]) for side in (0, 1))
        self.smaller += list(np.argmin(next_values, axis=0))
        target = reward + discount * (next_values.min(axis=0) - temperature * log_prob)
        for i, critic in enumerate(self.critics):
            gradient = slope(lambda theta, i=i:
                             np.mean(weight * (self.both(i, theta, taken, following)[0] - target) ** 2), critic)
            if c.critic_batch_renorm:
                self.running[i] = moved_moments(self.running[i], critic, np.vstack([taken, following]), (3, 1))
            self.critics[i] = self.critic_adams[i].step(critic, gradient)
        self.targets = [(1 - c.target_share) * target + c.target_share * critic
                        for target, critic in zip(self.targets, self.critics, strict=True)]
        metrics = {"critic_loss": np.mean(weight * (values - target) ** 2, axis=1).sum(), "q_value": values[0].mean(),
                   **encoder}
        self.updates += 1
        if self.updates % c.actor_interval:
            return values - target, metrics
        entropy = -self.sample(self.actor, x, noise)[1].mean()
        metrics |= {"actor_loss": self.actor_loss(self.actor, x, noise, temperature), "entropy": entropy,
                    "temperature": temperature}
        gradient = slope(lambda theta: self.actor_loss(theta, x, noise, temperature), self.actor)
        self.actor = self.actor_adam.step(self.actor, gradient)
        self.surplus.append(entropy > 2 * c.target_entropy)
        gradient = slope(lambda log: log[0] * (entropy - 2 * c.target_entropy), self.log_temperature)
        self.log_temperature = self.temperature_adam.step(self.log_temperature, gradient)
        return values - target, metrics


@pytest.mark.parametrize(("change", "compiled"), [
    ({"critic_layer_norm": True}, True), ({"prioritized": True, "n_step": 2}, False),
    ({"critic_batch_renorm": True, "actor_interval": 2, "momentum": 0.5}, True),
    ({"embedding_size": 2, "actor_interval": 2, "momentum": 0.6}, True)],
    ids=["layer norm", "prioritized", "batch renorm", "embeddings"])
def test_updates_equal_those_computed_by_hand_in_float64(change, compiled, request):
    if not compiled:
        request.getfixturevalue("eager")
    config = replace(SMALL, **change)
    learner, rng = SAC(config, 2, 2, 2, seed=6), np.random.default_rng(2)
    encoders = [*learner.networks.encoder, *learner.networks.average] if config.embedding_size else []
    disturb([learner.actor, *learner.critics, *encoders], rng)
    learner.actor.layers[-1].bias.assign([0.3, -0.2, 2.2, -1.0])  # log_std is clipped to 2
    for target, critic in zip(learner.target_critics, learner.critics, strict=False):  # none with batch renorm
        target.set_weights(critic.get_weights())
    reference = Reference(config, learner.actor, learner.critics, learner.networks)
    noise, batches, ends, steps = copy.deepcopy(learner.rng), recorded(learner), [], 0
    for _ in range(12):
        observe(learner, rng)
        if not learner.ready():
            continue
        metrics, expected_figures = learner.update(), []
        for batch in batches[steps:]:
            errors, found = reference.update(batch, noise.standard_normal((2, *batch.action.shape), np.float32))
            expected_figures.append(found)
            steps += 1
            ends += list(batch.discount == 0.0)
        for network, expected in [(learner.actor, reference.actor),
                                  *zip(learner.critics, reference.critics, strict=True),
                                  # No targets with batch renorm, whose reference moves some all the same.
                                  *zip(learner.target_critics, reference.targets, strict=False),
                                  *(reference.networks.pairs(learner.networks) if encoders else [])]:
            np.testing.assert_allclose(flat(network), expected, atol=5e-5, err_msg=network.name)
        assert float(learner.log_temperature.numpy()) == pytest.approx(reference.log_temperature[0], abs=2e-5)
        assert set(metrics) == {*CRITIC_METRICS, *ACTOR_METRICS, *(["encoder_loss"] if encoders else [])}
        for name in metrics:
            expected = np.mean([one[name] for one in expected_figures if name in one])
            assert metrics[name] == pytest.approx(expected, rel=1e-3, abs=1e-3), name
        for critic, running in zip(learner.critics, reference.running, strict=True):
            for found, expected in zip(moments(critic), running, strict=True):
                np.testing.assert_allclose(found, expected, atol=1e-4)
        if config.prioritized:
            last = dict(zip(batch.index, np.abs(errors).max(axis=0) + 1e-6, strict=True))
            leaves = learner.save()["replay_leaves"]
            for index, priority in last.items():
                assert leaves[index] == pytest.approx(priority**config.priority_exponent, rel=2e-3, abs=1e-3)
    assert steps == 27 and learner.version == 10
    for tried in (reference.clipped, reference.smaller, reference.surplus, ends):  # both sides of each
        assert 0.02 < np.mean(tried) < 0.98
    weights = np.concatenate([batch.weight for batch in batches])
    assert (weights.min() < 0.9) == config.prioritized
    assert len(learner.target_critics) == (0 if config.critic_batch_renorm else 2)


def test_targets_start_as_copies_and_critics_differ():
    learner = SAC(SMALL, 1, 2, 1, seed=0)
    pairs = zip(learner.critics, learner.target_critics, strict=True)
    assert all(np.array_equal(flat(network), flat(target)) for network, target in pairs)
    assert not np.array_equal(*map(flat, learner.critics))


def test_running_moments_are_part_of_a_checkpoint():
    config, rng = replace(SMALL, critic_batch_renorm=True), np.random.default_rng(2)
    learner, restored = (SAC(config, 2, 2, 2, seed=seed) for seed in (6, 7))
    for _ in range(6):
        observe(learner, rng)
        if learner.ready():
            learner.update()
    restored.restore(learner.save())
    for critic, other in zip(learner.critics, restored.critics, strict=True):
        assert all(map(np.array_equal, moments(critic), moments(other))) and np.abs(moments(critic)[0]).min() > 0


@pytest.mark.parametrize("bias", [-300.0, 300.0])
def test_densities_far_outside_stay_finite(bias):
    learner, rng = SAC(SMALL, 2, 2, 2, seed=6), np.random.default_rng(2)
    learner.actor.layers[-1].bias.assign([bias, -bias, bias, bias])
    for _ in range(5):
        observe(learner, rng)
    metrics = learner.update()
    assert np.isfinite(list(metrics.values())).all()
    assert all(np.isfinite(variable.numpy()).all() for variable in learner.actor.trainable_variables)


# -- acting ------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("normalize", "embedding_size"), [(False, 0), (True, 0), (True, 2)])
def test_the_exported_policy_is_the_live_one(normalize, embedding_size, eager):
    config = replace(SMALL, normalize_observations=normalize, observation_clip=1.0, actor_hidden=(16, 8),
                     embedding_size=embedding_size)
    learner, rng = SAC(config, 2, 5, 2, seed=6), np.random.default_rng(1)
    for _ in range(8):
        observe(learner, rng)
        if learner.ready():
            learner.update()
    disturb([learner.actor], rng)
    learner.actor.layers[-1].bias.assign([0.3, -0.2, 1.9, -1.0])
    bundle = policy_bundle.unpack(learner.policy({"note": "here"}))
    assert bundle.manifest.provenance["note"] == "here" and bundle.manifest.provenance["env_steps"] == 16
    assert (bundle.manifest.algorithm, bundle.manifest.version) == ("sac", learner.version)
    assert bundle.manifest.stochastic and bundle.manifest.explores.kind == "squashed_gaussian"
    observation = rng.normal(0, 3, (500, 5)).astype(np.float32)
    x = learner.experience.normalize(observation)
    assert normalize != np.array_equal(x, observation)
    inputs = EmbeddedNetworks(config, learner.networks) if embedding_size else None
    outputs, exact = inputs.actor if inputs else lambda theta, x, *sizes: perceptron(theta, x, sizes), x.astype(float)
    mean, log_std = np.split(outputs(flat(learner.actor), exact, 16, 8, 4), 2, axis=1)
    best, extras, _ = act(load_actor(bundle), observation)
    np.testing.assert_allclose(best, np.tanh(mean), atol=1e-5)
    assert extras == {} and 0.02 < np.mean(log_std > 2.0) < 0.98
    explorer = load_actor(bundle, explore=True, seed=copy.deepcopy(learner.noise))
    noise = copy.deepcopy(learner.noise).standard_normal((500, 2), np.float32)
    expected = np.tanh(mean + np.exp(np.minimum(log_std, 2.0)) * noise)
    for actor in (explorer, learner):
        action, extras, _ = act(actor, observation)
        np.testing.assert_allclose(action, expected, atol=2e-5)
        assert action.dtype == np.float32 and extras["log_prob"].shape == (500,)
    taken = np.hstack([exact, np.tanh(mean)])
    values = [inputs.critic(flat(critic), taken, 3, 1, observation_size=5) if inputs else
              perceptron(flat(critic), taken, (3, 1)) for critic in learner.critics]
    np.testing.assert_allclose(learner.value(observation), np.min(values, axis=0)[:, 0], atol=1e-4)


def test_the_first_actions_are_random_whatever_is_observed():
    learner = SAC(replace(SMALL, learning_starts=50), 1, 2, 1, seed=0)
    action, _, _ = act(learner, np.zeros((4000, 2), np.float32))
    assert np.histogram(action, 4, (-1, 1))[0].min() > 900 and action.dtype == np.float32


# -- settings ----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("change", "text"), [
    ({"actor_learning_rate": 0.0}, "actor_learning_rate must be positive"),
    ({"critic_learning_rate": float("inf")}, "critic_learning_rate must be positive, found inf"),
    ({"temperature_learning_rate": -0.1}, "temperature_learning_rate must be at least 0, found -0.1"),
    ({"initial_temperature": 0.0}, "initial_temperature must be positive, found 0.0"),
    ({"actor_interval": 0}, "actor_interval must be at least 1"),
    ({"momentum": 1.0}, "momentum must be from 0 to below 1"),
    ({"target_entropy": float("nan")}, "target_entropy must be a finite number, found nan"),
    ({"target_share": 1.5}, "target_share must be above 0 and at most 1, found 1.5"),
    ({"discount": 1.0}, "discount must be from 0 to"),
    ({"actor_hidden": (3, 0)}, "actor_hidden must hold sizes of at least 1"),
    ({"critic_hidden": (0,)}, "critic_hidden must hold sizes of at least 1"),
    ({"embedding_size": -1}, "embedding_size must be at least 0, found -1"),
    ({"embedding_size": 2, "actor_hidden": ()}, "embedding_size must be 0 without hidden layers, found 2"),
    ({"embedding_size": 2, "critic_layer_norm": True}, "embedding_size must be 0 with critic_layer_norm"),
    ({"embedding_size": 2, "critic_batch_renorm": True}, "embedding_size must be 0 with critic_layer_norm or"),
    ({"precision": "float16"}, "precision must be float32 or bfloat16, found 'float16'")])
def test_settings_out_of_range_are_refused(change, text):
    with pytest.raises(ValueError, match=f"^{text}"):
        replace(SMALL, **change)
