"""Export: LiteRT, Keras and numpy give the same actions; the bundle says what it holds."""

import json
import subprocess
import sys

import keras
import numpy as np
import pytest

from ant_rl_core import bundle as policy_bundle
from ant_rl_core.exploration import Exploration
from ant_rl_core.step import Previous
from policy_node.actor import load_actor
from policy_node.keras_actor import KerasGraph
from policy_node.litert_actor import LiteRTGraph
from trainer.export import policy_graph
from trainer.networks import sale
from trainer.networks.mlp import mlp
from trainer.networks.statistics import Normalizer

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


def normalizer():
    """For observations that lie around MEAN, STD apart."""
    found = Normalizer(105, CLIP)
    found.statistics.mean, found.statistics.variance = MEAN.copy(), STD**2
    return found


def stochastic(network):
    return policy_graph.stochastic_graph(network, keras.Variable(LOG_STD), normalizer())


@pytest.fixture(scope="module")
def graph(network):
    return stochastic(network)


@pytest.fixture(scope="module")
def bundle(graph):
    data = graph.bundle(algorithm="ppo", robot="Ant-v5", version=12,
                        provenance={"config": {"epochs": 3}, "env_steps": 99})
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
    assert manifest.explores == Exploration("squashed_gaussian")
    assert {name: (entry["backend"], entry["precision"]) for name, entry in manifest.members.items()} == {
        "actor.keras": ("keras", "float32"), "actor.tflite": ("litert", "float32")}


def test_a_learner_hands_over_the_policy_it_acts_with(ant_bundle):
    from trainer.algorithms.on_policy.ppo import PPO, PPOConfig

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


def test_a_graph_leaves_nothing_behind_in_the_network(network):
    before = [len(layer._inbound_nodes) for layer in network.layers]
    stochastic(network).renew()
    assert [len(layer._inbound_nodes) for layer in network.layers] == before


def test_equal_policies_give_equal_files(network, graph):
    assert graph.files() == graph.files()
    assert graph.files()["actor.tflite"] == stochastic(network).files()["actor.tflite"]


# -- actors of the other methods ---------------------------------------------------------------------------------------


def normalized(observation, by):
    std = np.sqrt(by.variance).astype(np.float32)
    return np.clip((observation - by.mean.astype(np.float32)) / std, -CLIP, CLIP)


def embedded(precision="float32"):
    """An actor with a branch beside it, of models within the model."""
    options = {"precision": precision}
    observation = keras.Input((105,), dtype="float32")
    embedding = sale.encoder(105, 8, 16, (1, 3), "encoder", **options)[0](observation)
    actor = sale.actor(105, 16, (16, 16), 8, seed=2, name="actor", **options)
    return keras.Model(observation, actor([observation, embedding]))


def two_heads():
    network = mlp(105, (16,), 16, seed=3, name="actor")
    network.layers[-1].bias.assign(np.linspace(-4, 3, 16))  # so that the bounds of log_std are met
    return network


def of_two_heads(x):
    mean, log_std = x[:, :8], np.clip(x[:, 8:], -2.0, 1.5)
    return {"action": np.tanh(mean), "mean": mean, "log_std": log_std}


def of_levels(x):
    return {"action": np.linspace(-1, 1, 4, dtype=np.float32)[np.argmax(x.reshape(-1, 8, 4), axis=2)]}


def tanh(x):
    return {"action": np.tanh(x)}


GRAPHS = {
    "deterministic": (lambda: mlp(105, (16,), 8, seed=3, name="actor"), policy_graph.deterministic_graph, tanh),
    "one joint": (lambda: mlp(105, (16,), 1, seed=3, name="actor"), policy_graph.deterministic_graph, tanh),
    "layer norm": (lambda: mlp(105, (16, 16), 8, seed=3, layer_norm=True, activation="relu", name="actor"),
                   policy_graph.deterministic_graph, tanh),
    "embedded": (embedded, policy_graph.deterministic_graph, tanh),
    "gaussian": (two_heads, lambda *args: policy_graph.gaussian_graph(args[0], (-2.0, 1.5), *args[1:]), of_two_heads),
    "greedy": (lambda: mlp(105, (16,), 32, seed=3, name="critic"),
               lambda *args: policy_graph.greedy_graph(args[0], 4, *args[1:]), of_levels),
}


def shaken(network, seed):
    rng = np.random.default_rng(seed)
    for variable in network.variables:
        variable.assign_add(rng.normal(0, 0.1, variable.shape))


def no_conversion(*_):
    raise AssertionError("the graph was converted again")


@pytest.mark.parametrize("kind, scaled", [*((kind, True) for kind in GRAPHS), ("deterministic", False)])
def test_exports_act_as_the_network_and_are_converted_once(kind, scaled, monkeypatch):
    make, graph_of, head = GRAPHS[kind]
    network, found = make(), normalizer() if scaled else None
    graph = graph_of(network, found)
    observation = (MEAN + STD * np.random.default_rng(0).normal(0, 1, (5, 105))).astype(np.float32)
    actions = []
    for seed in range(3):
        files = graph.files()
        expected = head(network(normalized(observation, found) if scaled else observation).numpy())
        for runs in (LiteRTGraph(files["actor.tflite"]), KerasGraph(files["actor.keras"])):
            given = runs({"observation": observation})
            assert set(given) == set(expected)
            for name in expected:
                np.testing.assert_allclose(given[name], expected[name], atol=2e-5, rtol=1e-5)
        actions.append(expected["action"])
        monkeypatch.setattr(policy_graph, "litert_bytes", no_conversion)
        monkeypatch.setattr(policy_graph, "keras_bytes", no_conversion)
        shaken(network, seed)
        if scaled:
            found.statistics.mean, found.statistics.variance = found.mean + 0.3 * STD, found.variance * 1.5
    assert not np.array_equal(actions[0], actions[1]) and not np.array_equal(actions[1], actions[2])


def test_later_exports_are_what_a_conversion_gives(network):
    log_std, found = keras.Variable(LOG_STD), normalizer()
    graph = policy_graph.stochastic_graph(network, log_std, found)
    graph.files()
    log_std.assign(LOG_STD - 1)
    found.statistics.mean, found.statistics.variance = MEAN + 0.5, STD**2 * 1.3
    observation = (MEAN + STD * np.random.default_rng(0).normal(0, 1, (50, 105))).astype(np.float32)
    exported = LiteRTGraph(graph.files()["actor.tflite"])({"observation": observation})
    converted = LiteRTGraph(policy_graph.litert_bytes(graph.renew()))({"observation": observation})
    for name in converted:
        np.testing.assert_allclose(exported[name], converted[name], atol=2e-6)
    np.testing.assert_allclose(exported["log_std"][0], LOG_STD - 1)


def test_what_trains_in_bfloat16_acts_in_float32():
    network = embedded("bfloat16")
    twin = embedded()
    twin.set_weights(network.get_weights())
    files = policy_graph.deterministic_graph(network).files()
    observation = np.random.default_rng(0).normal(0, 1, (5, 105)).astype(np.float32)
    for runs in (LiteRTGraph(files["actor.tflite"]), KerasGraph(files["actor.keras"])):
        np.testing.assert_allclose(runs({"observation": observation})["action"], np.tanh(twin(observation)), atol=1e-5)


@pytest.mark.parametrize("fault", ["not found", "wrong"])
def test_a_file_that_can_not_be_renewed_is_converted(fault, monkeypatch):
    network = mlp(105, (8,), 8, seed=3, name="actor")
    graph = policy_graph.deterministic_graph(network)
    if fault == "not found":
        def refuse(*_):
            raise LookupError
        monkeypatch.setattr(policy_graph, "Template", refuse)
    else:
        graph.files()
        monkeypatch.setattr(policy_graph.Template, "fill", lambda self, weights: self._data)
    shaken(network, 0)
    observation = np.random.default_rng(0).normal(0, 1, (5, 105)).astype(np.float32)
    files = graph.files()
    for runs in (LiteRTGraph(files["actor.tflite"]), KerasGraph(files["actor.keras"])):
        np.testing.assert_allclose(runs({"observation": observation})["action"], np.tanh(network(observation)),
                                   atol=1e-5)


@pytest.mark.parametrize("exploration", [Exploration("uniform"), Exploration("gaussian", 0.1)])
def test_the_bundle_says_how_to_explore(network, exploration):
    graph = policy_graph.deterministic_graph(network)
    data = graph.bundle(algorithm="td3", robot="Ant-v5", version=3, provenance={}, exploration=exploration)
    manifest = policy_bundle.unpack(data).manifest
    assert manifest.explores == exploration and not manifest.stochastic and manifest.observation_statistics == {}
    assert (manifest.observation_size, manifest.action_size) == (105, 8)
    actor = load_actor(policy_bundle.unpack(data), explore=True)
    assert actor.act(np.zeros((2, 105), np.float32), Previous.none(2, 8), (), np.zeros(2, bool))[1] == {}


def test_a_stochastic_actor_can_be_told_to_explore_otherwise(graph):
    told = {kind: policy_bundle.unpack(graph.bundle(algorithm="sac", robot="Ant-v5", version=3, provenance={},
                                                    exploration=Exploration(kind))).manifest
            for kind in ("uniform", "squashed_gaussian")}
    assert told["uniform"].explores == Exploration("uniform")
    assert told["squashed_gaussian"].exploration is None and told["squashed_gaussian"].stochastic
