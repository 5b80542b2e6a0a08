"""Export: LiteRT, Keras and numpy give the same actions; the bundle says what it holds."""

import json
import subprocess
import sys

import numpy as np
import pytest

from ant_rl_core import bundle as policy_bundle
from ant_rl_core.step import Previous
from policy_node.actor import load_actor
from trainer import export
from trainer.networks.mlp import mlp

MEAN = np.linspace(-3, 3, 105)
STD = np.geomspace(1e-3, 30, 105)
LOG_STD = np.linspace(-2, 0.5, 8).astype(np.float32)
CLIP = 5.0


@pytest.fixture(scope="module")
def network():
    network = mlp(105, (24, 16), 8, output_gain=1.0, seed=2, name="actor")
    rng = np.random.default_rng(1)
    for variable in network.trainable_variables[1::2]:
        variable.assign(rng.normal(0, 0.3, variable.shape))
    return network


@pytest.fixture(scope="module")
def bundle(network):
    graph = export.stochastic_graph(network, LOG_STD, MEAN, STD, CLIP)
    data = export.bundle(graph, algorithm="ppo", robot="Ant-v5", version=12, observation_mean=MEAN,
                         observation_variance=STD**2, provenance={"config": {"epochs": 3}, "env_steps": 99})
    return policy_bundle.unpack(data)


def reference(network, observation):
    """The mean before the squashing in float64."""
    x = np.clip((observation.astype(np.float64) - MEAN.astype(np.float32)) / STD, -CLIP, CLIP)
    layers = [v.numpy().astype(np.float64) for v in network.trainable_variables]
    for kernel, bias in zip(layers[:-2:2], layers[1:-2:2], strict=True):
        x = np.tanh(x @ kernel + bias)
    return x @ layers[-2] + layers[-1]


def observations(rows):
    rng = np.random.default_rng(rows)
    yield (MEAN + STD * rng.normal(0, 1, (rows, 105))).astype(np.float32)
    for extreme in (0.0, 1e6, -1e30, np.finfo(np.float32).max):
        yield np.full((rows, 105), extreme, np.float32)
    yield rng.choice([-1e9, 1e-9, 1e9], (rows, 105)).astype(np.float32)


@pytest.mark.parametrize("rows", [1, 16])
@pytest.mark.parametrize("backend", ["litert", "keras"])
def test_every_backend_gives_the_actions_of_the_network(network, bundle, backend, rows):
    actor = load_actor(bundle, backend)
    explorer = load_actor(bundle, backend, explore=True, seed=4)
    for observation in observations(rows):
        mean = reference(network, observation)
        action, extras, state = actor.act(observation, Previous.none(rows, 8), actor.initial_state(rows),
                                          np.ones(rows, bool))
        np.testing.assert_allclose(action, np.tanh(mean), atol=1e-5)
        assert action.dtype == np.float32 and extras == {} and actor.version == 12
        drawn, extras, _ = explorer.act(observation, Previous.none(rows, 8), explorer.initial_state(rows),
                                        np.ones(rows, bool))
        assert np.isfinite(extras["log_prob"]).all() and (np.abs(drawn) < 1).all()
    draws = np.arctanh(np.concatenate([
        explorer.act(np.tile(MEAN.astype(np.float32), (400, 1)), Previous.none(400, 8), (), np.zeros(400, bool))[0]
        for _ in range(5)]).astype(np.float64)) if rows == 16 else None
    if draws is not None:
        expected = reference(network, MEAN.astype(np.float32)[None])[0]
        np.testing.assert_allclose(draws.mean(axis=0), expected, atol=0.15)
        np.testing.assert_allclose(draws.std(axis=0), np.exp(LOG_STD), rtol=0.1)


def test_the_lite_graph_has_the_documented_signature(bundle):
    from policy_node.litert_actor import Interpreter

    interpreter = Interpreter(model_content=bundle.member("actor.tflite"))
    assert interpreter.get_signature_list() == {
        "serving_default": {"inputs": ["observation"], "outputs": ["action", "log_std", "mean"]}}
    runner = interpreter.get_signature_runner("serving_default")
    (given,) = runner.get_input_details().values()
    assert given["dtype"] is np.float32 and list(given["shape_signature"]) == [-1, 105]
    assert all(list(out["shape_signature"]) == [-1, 8] and out["dtype"] is np.float32
               for out in runner.get_output_details().values())
    found = runner(observation=np.zeros((3, 105), np.float32))
    np.testing.assert_allclose(found["action"], np.tanh(found["mean"]), atol=1e-6)
    assert np.array_equal(found["log_std"], np.tile(LOG_STD, (3, 1)))


def test_the_keras_graph_loads_where_the_trainer_is_absent(bundle, tmp_path):
    (tmp_path / "actor.keras").write_bytes(bundle.member("actor.keras"))
    code = ("import sys\n"
            "for name in ('trainer', 'ant_rl_core', 'policy_node'): sys.modules[name] = None\n"
            "import keras, numpy\n"
            "model = keras.models.load_model('actor.keras', safe_mode=True)\n"
            "out = model(numpy.zeros((2, 105), 'float32'))\n"
            "print(sorted(out), numpy.asarray(out['action'])[1].tolist())")
    found = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True, text=True)
    names, _, numbers = found.stdout.strip().splitlines()[-1].partition("] ")
    assert names == "['action', 'log_std', 'mean'"
    actor = load_actor(bundle)
    zeros = np.zeros((2, 105), np.float32)
    expected = actor.act(zeros, Previous.none(2, 8), (), np.zeros(2, bool))[0][1]
    np.testing.assert_allclose(json.loads(numbers), expected, atol=1e-5)


def test_the_manifest_says_where_the_policy_came_from(bundle):
    manifest = bundle.manifest
    assert (manifest.algorithm, manifest.robot, manifest.version, manifest.stochastic) == ("ppo", "Ant-v5", 12, True)
    assert (manifest.observation_size, manifest.action_size, manifest.state_shapes) == (105, 8, ())
    assert manifest.provenance == {"config": {"epochs": 3}, "env_steps": 99}
    np.testing.assert_allclose(manifest.observation_statistics["mean"], MEAN)
    np.testing.assert_allclose(manifest.observation_statistics["variance"], STD**2)
    assert {name: (entry["backend"], entry["precision"]) for name, entry in manifest.members.items()} == {
        "actor.keras": ("keras", "float32"), "actor.tflite": ("litert", "float32")}


def test_a_learner_hands_over_the_policy_it_acts_with(ant_bundle):
    from trainer.algorithms.ppo import PPO, PPOConfig

    learner = PPO(PPOConfig(actor_hidden=(8,), critic_hidden=(8,), initial_log_std=-1.0), 1, 105, 8, seed=3)
    learner.model.learned_from(np.random.default_rng(0).normal(0.3, 2.0, (1, 50, 105)))
    unpacked = policy_bundle.unpack(ant_bundle)
    assert unpacked.manifest.provenance["seed"] == 3
    assert unpacked.manifest.provenance["config"]["actor_hidden"] == [8]
    observation = np.random.default_rng(1).normal(0, 30, (50, 105)).astype(np.float32)
    expected = np.tanh(learner.model.mean(observation))
    for backend in ("litert", "keras"):
        action, _, _ = load_actor(unpacked, backend).act(observation, Previous.none(50, 8), (), np.zeros(50, bool))
        np.testing.assert_allclose(action, expected, atol=1e-5)


def test_graphs_are_copies_and_leave_nothing_behind_in_the_network(network):
    before = [len(layer._inbound_nodes) for layer in network.layers]
    graph = export.stochastic_graph(network, LOG_STD, MEAN, STD, CLIP)
    assert [len(layer._inbound_nodes) for layer in network.layers] == before
    kept = [v.numpy() for v in graph.variables]
    kernel = network.trainable_variables[0]
    old = kernel.numpy()
    kernel.assign(old + 1)
    assert all(np.array_equal(a, b.numpy()) for a, b in zip(kept, graph.variables, strict=True))
    kernel.assign(old)


def test_equal_policies_give_equal_lite_graphs(network):
    graph = export.stochastic_graph(network, LOG_STD, MEAN, STD, CLIP)
    assert export.litert_bytes(graph) == export.litert_bytes(graph)
