"""TD3 against mathematics: a float64 reference of its updates, and what its settings promise."""

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
from ant_rl_core.testing import EndlessRewardEnv
from policy_node.actor import load_actor
from trainer import loop
from trainer.algorithms.off_policy.td3 import METRICS, TD3, TD3Config

SMALL = TD3Config(total_steps=200, learning_starts=6, updates_per_step=1.5, batch_size=8, replay_capacity=100,
                  discount=0.9, embedding_size=0, actor_learning_rate=0.02, critic_learning_rate=0.03,
                  target_share=0.2, max_torque=1.0, actor_interval=2, target_noise_std=0.6, target_noise_clip=0.5,
                  actor_hidden=(3,), critic_hidden=(3,))


# -- updates, computed by hand -----------------------------------------------------------------------------------------

def number(theta, x, normalized=()):
    """What a network of three hidden units gives, [m]."""
    return perceptron(theta, x, (3, 1), normalized)[:, 0]


class Reference:
    """TD3 in numpy float64, written from the paper's algorithm 1; no code is shared.

    Two observations, one action, one hidden layer of three units in each network.
    """

    def __init__(self, config, actor, critics, inputs):
        self.config = config
        self.networks = EmbeddedNetworks(config, inputs, config.momentum) if config.embedding_size else None
        self.actor, self.critics = flat(actor), [flat(critic) for critic in critics]
        self.target_actor, self.target_critics = self.actor.copy(), [critic.copy() for critic in self.critics]
        self.actor_adam = Adam(len(self.actor), config.actor_learning_rate, momentum=config.momentum)
        self.critic_adams = [Adam(len(critic), config.critic_learning_rate, momentum=config.momentum)
                             for critic in self.critics]
        self.running = [moments(critic) for critic in critics]
        self.steps, self.clipped, self.limited, self.smaller = 0, [], [], []
        self.normalized = (0,) if config.critic_layer_norm else ()

    def value(self, theta, taken, i=0):
        """What critic i, with these weights, gives for observations beside actions."""
        if self.config.critic_batch_renorm:
            return renormed_perceptron(theta, taken, (3, 1), self.running[i])[0][:, 0]
        if self.networks:
            return self.networks.critic(theta, taken, 3, 1)[:, 0]
        return number(theta, taken, self.normalized)

    def action(self, theta, x):
        """What an actor with these weights does, [m]."""
        given = self.networks.actor(theta, x, 3, 1)[:, 0] if self.networks else number(theta, x)
        return self.config.max_torque * np.tanh(given)

    def both(self, i, theta, taken, following):
        """The values that critic i learns with, and those that it learns from."""
        if not self.config.critic_batch_renorm:
            return self.value(theta, taken), self.value(self.target_critics[i], following)
        values = renormed_perceptron(theta, np.vstack([taken, following]), (3, 1))[0][:, 0]
        return values[:len(taken)], values[len(taken):]

    def update(self, batch, noise):
        """One gradient step; returns the errors of both critics [2, m] before it."""
        c = self.config
        x, action, reward, discount, x_next, weight = in_float64(batch)
        if self.networks:
            self.networks.learn(x, action, x_next)
        taken = np.column_stack([x, action])
        noise = c.target_noise_std * noise[:, 0].astype(np.float64)
        self.clipped += list(np.abs(noise) > c.target_noise_clip)
        noise = np.minimum(np.maximum(noise, -c.target_noise_clip), c.target_noise_clip)
        action = self.action(self.target_actor, x_next) + noise
        self.limited += list(np.abs(action) > c.max_torque)
        action = np.minimum(np.maximum(action, -c.max_torque), c.max_torque)
        following = np.column_stack([x_next, action])
        pairs = [self.both(i, critic, taken, following) for i, critic in enumerate(self.critics)]
        values = [pair[1] for pair in pairs]
        self.smaller += list(np.argmin(values, axis=0))
        target = reward + discount * np.min(values, axis=0)
        errors = np.array([pair[0] - target for pair in pairs])
        for i, critic in enumerate(self.critics):
            gradient = slope(lambda theta, i=i:
                             np.mean(weight * (self.both(i, theta, taken, following)[0] - target) ** 2), critic)
            if c.critic_batch_renorm:
                self.running[i] = moved_moments(self.running[i], critic, np.vstack([taken, following]), (3, 1))
            self.critics[i] = self.critic_adams[i].step(critic, gradient)
        self.steps += 1
        if self.steps % c.actor_interval == 0:
            gradient = slope(lambda theta: -np.mean([
                self.value(critic, np.column_stack([x, self.action(theta, x)]), i)
                for i, critic in enumerate(self.critics[:c.actor_critics])]), self.actor)
            self.actor = self.actor_adam.step(self.actor, gradient)
            share = c.target_share
            self.target_actor = (1 - share) * self.target_actor + share * self.actor
            self.target_critics = [(1 - share) * target + share * critic
                                   for target, critic in zip(self.target_critics, self.critics, strict=True)]
        return errors


@pytest.mark.parametrize(("change", "compiled"), [
    ({"critic_layer_norm": True, "max_torque": 0.6, "actor_critics": 1}, True), ({"prioritized": True}, False),
    ({"prioritized": True, "actor_interval": 1, "critic_layer_norm": True}, False), ({"actor_interval": 3}, False),
    ({"critic_batch_renorm": True, "momentum": 0.5}, True), ({"embedding_size": 2, "momentum": 0.6}, True)],
    ids=["layer norm", "prioritized", "both", "interval", "batch renorm", "embeddings"])
def test_updates_equal_those_computed_by_hand_in_float64(change, compiled, request):
    if not compiled:
        request.getfixturevalue("eager")
    config = replace(SMALL, **change)
    # With its seed no hidden unit is always on: its bias has no gradient where its output is normalized, and Adam goes
    # by the sign of what rounding leaves. With either, each critic's value is the smaller one at times.
    rng = np.random.default_rng(3 if config.critic_batch_renorm else 2 if config.embedding_size else 1)
    learner = TD3(config, 2, 2, 1, seed=6)
    networks = [learner.actor, *learner.critics]
    encoders = [*learner.networks.encoder, *learner.networks.average] if config.embedding_size else []
    disturb([*networks, *encoders], rng)
    targets = [learner.target_actor, *learner.target_critics]  # of the actor alone with batch renorm
    for network, target in zip(networks, targets, strict=False):
        target.set_weights(network.get_weights())
    reference = Reference(config, learner.actor, learner.critics, learner.networks)
    noise, batches, ends = copy.deepcopy(learner.rng), recorded(learner), []
    steps = 0
    for _ in range(12):
        observe(learner, rng)
        if not learner.ready():
            continue
        metrics = learner.update()
        for batch in batches[steps:]:
            errors = reference.update(batch, noise.standard_normal(batch.action.shape, np.float32))
            steps += 1
            ends += list(batch.discount == 0.0)
        for network, expected in [(learner.actor, reference.actor), (learner.target_actor, reference.target_actor),
                                  *zip(learner.critics, reference.critics, strict=True),
                                  # No targets with batch renorm, whose reference moves some all the same.
                                  *zip(learner.target_critics, reference.target_critics, strict=False),
                                  *(reference.networks.pairs(learner.networks) if encoders else [])]:
            np.testing.assert_allclose(flat(network), expected, atol=3e-5, err_msg=network.name)
        for critic, running in zip(learner.critics, reference.running, strict=True):
            for found, expected in zip(moments(critic), running, strict=True):
                np.testing.assert_allclose(found, expected, atol=1e-4)
        if config.prioritized:
            last = dict(zip(batch.index, np.abs(errors).max(axis=0) + 1e-6, strict=True))
            leaves = learner.save()["replay_leaves"]
            for index, priority in last.items():
                assert leaves[index] == pytest.approx(priority**config.priority_exponent, rel=2e-3, abs=1e-3)
    assert steps == 27 and learner.version == 10
    assert set(metrics) == {*METRICS, "actor_loss", *(["encoder_loss"] if encoders else [])}
    limited = [reference.limited] if config.max_torque < 1 else []
    for tried in (reference.clipped, reference.smaller, ends, *limited):  # both sides of each
        assert 0.05 < np.mean(tried) < 0.95
    weights = np.concatenate([batch.weight for batch in batches])
    assert (weights.min() < 0.9) == config.prioritized
    assert len(learner.target_critics) == (0 if config.critic_batch_renorm else 2)


def test_targets_start_as_copies_and_critics_differ():
    learner = TD3(SMALL, 1, 2, 1, seed=0)
    pairs = [(learner.actor, learner.target_actor), *zip(learner.critics, learner.target_critics, strict=True)]
    assert all(np.array_equal(flat(network), flat(target)) for network, target in pairs)
    assert not np.array_equal(*map(flat, learner.critics))


# -- acting ------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("backend", "embedding_size", "limit"), [
    ("litert", 0, 0.4), ("keras", 0, 0.4), ("litert", 2, 1.0)])
def test_the_exported_policy_is_the_live_one(backend, embedding_size, limit, eager):
    config = replace(SMALL, normalize_observations=True, observation_clip=1.0, exploration_std=0.3, max_torque=limit,
                     actor_hidden=(16, 8), embedding_size=embedding_size)
    learner, rng = TD3(config, 2, 2, 1, seed=6), np.random.default_rng(1)
    for _ in range(8):
        observe(learner, rng)
        if learner.ready():
            learner.update()
    bundle = policy_bundle.unpack(learner.policy({"note": "here"}))
    assert bundle.manifest.provenance["note"] == "here" and bundle.manifest.provenance["env_steps"] == 16
    assert (bundle.manifest.algorithm, bundle.manifest.version) == ("td3", learner.version)
    observation = rng.normal(0, 3, (500, 2)).astype(np.float32)
    best = act(load_actor(bundle, backend), observation)[0]
    if not embedding_size:
        x = learner.experience.normalize(observation).astype(np.float64)
        np.testing.assert_allclose(best, limit * np.tanh(perceptron(flat(learner.actor), x, (16, 8, 1))), atol=1e-5)
    explorer = load_actor(bundle, backend, explore=True, seed=copy.deepcopy(learner.noise))
    noise = copy.deepcopy(learner.noise).standard_normal((500, 1), np.float32)
    for actor in (explorer, learner):
        action = act(actor, observation)[0]
        np.testing.assert_allclose(action, np.clip(best + 0.3 * noise, -limit, limit), atol=1e-5)


def test_the_first_actions_are_random_whatever_is_observed():
    learner = TD3(replace(SMALL, learning_starts=50, max_torque=0.5), 1, 2, 1, seed=0)
    action = act(learner, np.zeros((4000, 2), np.float32))[0]
    assert np.histogram(action, 4, (-0.5, 0.5))[0].min() > 900 and action.dtype == np.float32
    assert policy_bundle.unpack(learner.policy()).manifest.exploration.kind == "uniform"


# -- bfloat16 ----------------------------------------------------------------------------------------------------------

def test_learning_in_bfloat16_gives_the_same_value_and_a_policy_in_float32():
    env = EndlessRewardEnv(4, 10)
    config = TD3Config(total_steps=2000, learning_starts=100, updates_per_step=0.5, batch_size=32, replay_capacity=1000,
                       discount=0.8, actor_learning_rate=2e-3, critic_learning_rate=5e-3, target_share=0.1,
                       actor_hidden=(16,), critic_hidden=(16,), embedding_size=0, max_torque=1.0,
                       precision="bfloat16")
    learner = TD3(config, 4, env.observation_size, env.action_size, seed=0)
    loop.run(env, learner, learner, env.reset(), lambda _: learner.env_steps >= config.total_steps, lambda _: False)
    observation = env.reset().observation
    np.testing.assert_allclose(learner.value(observation), 5.0, rtol=0.03)
    bundle = policy_bundle.unpack(learner.policy())
    assert {member["precision"] for member in bundle.manifest.members.values()} == {"float32"}
    probe = np.random.default_rng(0).normal(0, 2, (200, 2)).astype(np.float32)
    exact = np.tanh(perceptron(flat(learner.actor), probe.astype(np.float64), (16, 1)))
    for backend in ("litert", "keras"):
        np.testing.assert_allclose(act(load_actor(bundle, backend), probe)[0], exact, atol=1e-5)
    noise = 0.1 * copy.deepcopy(learner.noise).standard_normal((200, 1), np.float32)
    np.testing.assert_allclose(act(learner, probe)[0], np.clip(exact + noise, -1, 1), atol=0.02)


# -- numbers that are none ---------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("network", "layer", "text"), [
    ("critic_1", "output", "critic_loss became nan (and critic_1_hidden_0/kernel with it)"),
    ("critic_0", "hidden_0", "critic_loss became nan (and critic_0_hidden_0/kernel with it)"),
    ("actor", "hidden_0", "actor_loss became nan (and actor_hidden_0/kernel with it)")])
def test_a_weight_that_is_no_number_ends_the_training_with_its_name(network, layer, text, eager):
    config = replace(SMALL, updates_per_step=0.5, actor_interval=1)
    learner, rng = TD3(config, 2, 2, 1, seed=6), np.random.default_rng(1)
    for _ in range(5):
        observe(learner, rng)
    found = {model.name: model for model in (learner.actor, *learner.critics)}[network].get_layer(f"{network}_{layer}")
    found.kernel.assign(np.full(found.kernel.shape, np.nan))
    with pytest.raises(FloatingPointError) as caught:
        learner.update()
    assert str(caught.value) == f"{text} at 10 environment steps; the last checkpoint is the last good one"
    assert learner.version == 1


def test_a_value_that_explodes_ends_the_training(eager):
    learner, rng = TD3(SMALL, 2, 2, 1, seed=6), np.random.default_rng(1)
    for _ in range(5):
        observe(learner, rng)
    learner.critics[0].get_layer("critic_0_output").bias.assign([3e9])
    with pytest.raises(FloatingPointError, match=r"^critic_loss became \S+ at 10 environment steps"):
        learner.update()


# -- settings ----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("change", "text"), [
    ({"actor_learning_rate": 0.0}, "actor_learning_rate must be positive"),
    ({"critic_learning_rate": float("inf")}, "critic_learning_rate must be positive, found inf"),
    ({"target_share": 0.0}, "target_share must be above 0 and at most 1, found 0.0"),
    ({"actor_interval": 0}, "actor_interval must be at least 1"),
    ({"actor_critics": 3}, "actor_critics must be 1 or 2, found 3"), ({"discount": 1.0}, "discount must be from 0 to"),
    ({"exploration_std": -0.1}, "exploration_std must be at least 0"),
    ({"target_noise_std": -0.1}, "target_noise_std must be at least 0"),
    ({"target_noise_clip": -0.1}, "target_noise_clip must be at least 0"),
    ({"actor_hidden": (3, 0)}, "actor_hidden must hold sizes of at least 1"),
    ({"critic_hidden": (0,)}, "critic_hidden must hold sizes of at least 1"),
    ({"max_torque": 1.5}, "max_torque must be above 0 and at most 1, found 1.5"),
    ({"precision": "float16"}, "precision must be float32 or bfloat16, found 'float16'")])
def test_settings_out_of_range_are_refused(change, text):
    with pytest.raises(ValueError, match=f"^{text}"):
        replace(SMALL, **change)
