"""DDPG against mathematics: a float64 reference of its updates, and what it exports."""

import copy
from dataclasses import replace

import numpy as np
import pytest
from by_hand import Adam, EmbeddedNetworks, act, disturb, flat, in_float64, observe, perceptron, recorded, slope

from ant_rl_core import bundle as policy_bundle
from policy_node.actor import load_actor
from trainer.algorithms.off_policy.ddpg import DDPG, METRICS, DDPGConfig

SMALL = DDPGConfig(total_steps=200, learning_starts=6, updates_per_step=1.5, batch_size=8, replay_capacity=100,
                   discount=0.9, n_step=1, max_torque=1.0, actor_learning_rate=0.02, critic_learning_rate=0.03,
                   target_share=0.2, actor_hidden=(3, 2), critic_hidden=(3, 2))


# -- updates, computed by hand -----------------------------------------------------------------------------------------

class Reference:
    """DDPG in numpy float64, written from the paper's algorithm 1; no code is shared.

    Two joints, two hidden layers in both networks, of three and two units in the actor.
    """

    def __init__(self, config, actor, critic, inputs):
        self.config, self.normalized = config, (0,) if config.network == "report" else ()
        self.normalized_critic = (0, 1) if config.network == "default" else self.normalized
        self.actor, self.critic = flat(actor), flat(critic)
        self.target_actor, self.target_critic = self.actor.copy(), self.critic.copy()
        self.actor_adam = Adam(len(self.actor), config.actor_learning_rate)
        self.critic_adam = Adam(len(self.critic), config.critic_learning_rate)
        self.networks = EmbeddedNetworks(config, inputs) if config.embedding_size else None

    def action(self, theta, x):
        given = (self.networks.actor(theta, x, 3, 2, 2) if self.networks else
                 perceptron(theta, x, (3, 2, 2), self.normalized))
        return self.config.max_torque * np.tanh(given)

    def value(self, theta, x, action):
        both = np.hstack([x, action])
        sizes = *self.config.critic_hidden, 1
        found = (self.networks.critic(theta, both, *sizes) if self.networks else
                 perceptron(theta, both, sizes, self.normalized_critic))
        return found[:, 0]

    def update(self, batch):
        """One gradient step; returns the critic's errors [m] before it, and the metrics."""
        x, taken, reward, discount, x_next, weight = in_float64(batch)
        encoder = {"encoder_loss": self.networks.learn(x, taken, x_next)} if self.networks else {}
        target = reward + discount * self.value(self.target_critic, x_next, self.action(self.target_actor, x_next))
        value = self.value(self.critic, x, taken)

        def critic_loss(theta):
            return np.mean(weight * (self.value(theta, x, taken) - target) ** 2)

        def actor_loss(theta):
            return -np.mean(self.value(self.critic, x, self.action(theta, x)))

        metrics = {"critic_loss": critic_loss(self.critic), "q_value": value.mean(), **encoder}
        self.critic = self.critic_adam.step(self.critic, slope(critic_loss, self.critic))
        metrics["actor_loss"] = actor_loss(self.actor)
        self.actor = self.actor_adam.step(self.actor, slope(actor_loss, self.actor))
        share = self.config.target_share
        self.target_critic = (1 - share) * self.target_critic + share * self.critic
        self.target_actor = (1 - share) * self.target_actor + share * self.actor
        return value - target, metrics


@pytest.mark.parametrize(("change", "compiled"), [
    ({"network": "report"}, True), ({"network": "report", "prioritized": True, "n_step": 2}, False),
    ({"network": "plain", "max_torque": 0.6}, False), ({"critic_hidden": (3, 4)}, False),
    ({"network": "plain", "embedding_size": 2}, True)],
    ids=["report", "prioritized", "smaller torques", "default", "embeddings"])
def test_updates_equal_those_computed_by_hand_in_float64(change, compiled, request):
    if not compiled:
        request.getfixturevalue("eager")
    config = replace(SMALL, **change)
    learner, rng = DDPG(config, 2, 2, 2, seed=6), np.random.default_rng(2)
    encoders = [*learner.networks.encoder, *learner.networks.average] if config.embedding_size else []
    disturb([learner.actor, learner.critic, *encoders], rng)
    learner.target_actor.set_weights(learner.actor.get_weights())
    learner.target_critic.set_weights(learner.critic.get_weights())
    reference = Reference(config, learner.actor, learner.critic, learner.networks)
    batches, ends, steps = recorded(learner), [], 0
    for _ in range(12):
        observe(learner, rng)
        if not learner.ready():
            continue
        metrics, expected_figures = learner.update(), []
        for batch in batches[steps:]:
            errors, found = reference.update(batch)
            expected_figures.append(found)
            steps += 1
            ends += list(batch.discount == 0.0)
        for model in (learner.actor, learner.critic, learner.target_actor, learner.target_critic):
            np.testing.assert_allclose(flat(model), getattr(reference, model.name), atol=5e-5, err_msg=model.name)
        for model, expected in reference.networks.pairs(learner.networks) if encoders else []:
            np.testing.assert_allclose(flat(model), expected, atol=5e-5, err_msg=model.name)
        assert tuple(metrics) == METRICS + (("encoder_loss",) if encoders else ())
        for name in metrics:
            expected = np.mean([one[name] for one in expected_figures])
            assert metrics[name] == pytest.approx(expected, rel=1e-3, abs=1e-3), name
        if config.prioritized:
            last = dict(zip(batch.index, np.abs(errors) + 1e-6, strict=True))
            leaves = learner.save()["replay_leaves"]
            for index, priority in last.items():
                assert leaves[index] == pytest.approx(priority**config.priority_exponent, rel=2e-3, abs=1e-3)
    assert steps == 27 and learner.version == 10 and 0.05 < np.mean(ends) < 0.95
    weights = np.concatenate([batch.weight for batch in batches])
    assert (weights.min() < 0.9) == config.prioritized


def test_targets_start_as_copies():
    learner = DDPG(SMALL, 1, 2, 1, seed=0)
    assert np.array_equal(flat(learner.actor), flat(learner.target_actor))
    assert np.array_equal(flat(learner.critic), flat(learner.target_critic))


def test_the_network_of_the_report_is_256_layernorm_256():
    learner = DDPG(DDPGConfig(network="report", replay_capacity=1), 1, 105, 8, seed=0)
    for model, inputs, outputs in ((learner.actor, 105, 8), (learner.critic, 113, 1)):
        assert [weight.shape for weight in model.get_weights()] == [
            (inputs, 256), (256,), (256,), (256,), (256, 256), (256,), (256, outputs), (outputs,)]
    assert (learner.config.discount, learner.config.target_share) == (0.99, 0.005)


# -- acting ------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("network", "normalize", "embedding_size"), [
    ("default", False, 0), ("report", False, 0), ("report", True, 0), ("plain", False, 2)])
def test_the_exported_policy_is_the_live_one(network, normalize, embedding_size, eager):
    config = replace(SMALL, network=network, normalize_observations=normalize, observation_clip=1.0,
                     embedding_size=embedding_size, max_torque=0.7,
                     actor_hidden=(16, 8), exploration_std=0.5, exploration_std_end=0.1, exploration_steps=64)
    learner, rng = DDPG(config, 2, 5, 2, seed=6), np.random.default_rng(1)
    for _ in range(8):
        observe(learner, rng)
        if learner.ready():
            learner.update()
    disturb([learner.actor], rng)
    bundle = policy_bundle.unpack(learner.policy({"note": "here"}))
    assert bundle.manifest.provenance["note"] == "here" and bundle.manifest.provenance["env_steps"] == 16
    assert (bundle.manifest.algorithm, bundle.manifest.version) == ("ddpg", learner.version)
    assert not bundle.manifest.stochastic and bundle.manifest.exploration.kind == "gaussian"
    assert bundle.manifest.exploration.scale == pytest.approx(0.4)
    observation = rng.normal(0, 3, (500, 5)).astype(np.float32)
    x = learner.experience.normalize(observation)
    assert normalize != np.array_equal(x, observation)
    normalized = (0,) if network == "report" else ()
    inputs, exact = EmbeddedNetworks(config, learner.networks) if embedding_size else None, x.astype(np.float64)
    expected = 0.7 * np.tanh(inputs.actor(flat(learner.actor), exact, 16, 8, 2) if inputs else
                             perceptron(flat(learner.actor), exact, (16, 8, 2), normalized))
    best, extras, _ = act(load_actor(bundle), observation)
    np.testing.assert_allclose(best, expected, atol=1e-5)
    explorer = load_actor(bundle, explore=True, seed=copy.deepcopy(learner.noise))
    noise = copy.deepcopy(learner.noise).standard_normal((500, 2), np.float32)
    for actor in (explorer, learner):
        action, extras, _ = act(actor, observation)
        np.testing.assert_allclose(action, np.clip(expected + 0.4 * noise, -0.7, 0.7), atol=1e-5)
        assert action.dtype == np.float32 and extras == {}
    theta, taken = flat(learner.critic), np.hstack([exact, expected])
    value = (inputs.critic(theta, taken, 3, 2, 1, observation_size=5) if inputs else
             perceptron(theta, taken, (3, 2, 1), (0, 1) if network == "default" else normalized))
    np.testing.assert_allclose(learner.value(observation), value[:, 0], atol=1e-4)


def test_the_noise_decays_in_a_straight_line_to_its_end():
    config = replace(SMALL, learning_starts=2, exploration_std=0.5, exploration_std_end=0.1, exploration_steps=8)
    learner, rng = DDPG(config, 2, 2, 2, seed=0), np.random.default_rng(0)
    found = []
    for _ in range(7):
        found.append(np.std(act(learner, np.zeros((9000, 2), np.float32))[0]))
        observe(learner, rng)
    assert found[0] == pytest.approx(3**-0.5, rel=0.02)  # of uniform torques
    action = np.abs(act(learner, np.zeros((1, 2), np.float32))[0])
    assert action.max() < 0.5, "an actor near its bounds would clip the noise"
    np.testing.assert_allclose(found[3:], [0.2, 0.1, 0.1, 0.1], rtol=0.03)
    np.testing.assert_allclose(found[1:3], [0.4, 0.3], rtol=0.15)  # clipped now and then


# -- settings ----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("change", "text"), [
    ({"network": "reprot"}, "network must be default or report or plain, found 'reprot'"),
    ({"actor_learning_rate": 0.0}, "actor_learning_rate must be positive"),
    ({"critic_learning_rate": float("inf")}, "critic_learning_rate must be positive, found inf"),
    ({"target_share": 0.0}, "target_share must be above 0 and at most 1, found 0.0"),
    ({"exploration_std": -0.1}, "exploration_std must be at least 0"),
    ({"exploration_std_end": float("nan")}, "exploration_std_end must be at least 0"),
    ({"exploration_steps": 0}, "exploration_steps must be at least 1"),
    ({"discount": 1.0}, "discount must be from 0 to"),
    ({"actor_hidden": (3, 0)}, "actor_hidden must hold sizes of at least 1"),
    ({"critic_hidden": (0,)}, "critic_hidden must hold sizes of at least 1"),
    ({"network": "report", "actor_hidden": ()}, "actor_hidden must hold a size to normalize with network report"),
    ({"network": "report", "critic_hidden": ()}, "critic_hidden must hold a size to normalize with network report"),
    ({"embedding_size": -1}, "embedding_size must be at least 0, found -1"),
    ({"embedding_size": 2, "network": "report"}, "embedding_size must be 0 unless network is plain, found 2"),
    ({"max_torque": 0.0}, "max_torque must be above 0 and at most 1, found 0.0"),
    ({"precision": "float16"}, "precision must be float32 or bfloat16, found 'float16'")])
def test_settings_out_of_range_are_refused(change, text):
    with pytest.raises(ValueError, match=f"^{text}"):
        replace(SMALL, **change)
