"""The numpy graph gives what LiteRT gives, for the actors of every method, and what one computes by hand."""

import keras
import numpy as np
import pytest
from trials import WITHOUT_TASKS, imagines_ants, untrained

from ant_rl_core import bundle as policy_bundle
from ant_rl_core.bundle import BundleError
from policy_node.actor import BundleActor
from policy_node.litert_actor import LiteRTGraph
from trainer.compress import numpy_graph, quantize
from trainer.compress.litert_file import LiteRTFile
from trainer.compress.numpy_graph import NumpyGraph
from trainer.export import policy_graph

OBSERVATION = np.random.default_rng(0).normal(0.0, 2.0, (5, 105)).astype(np.float32)
# Those that imagine: see test_i2a.py.
VARIANTS = [*((name, {}) for name in WITHOUT_TASKS if not imagines_ants(name)), ("ddpg", {"network": "report"}),
            ("sac", {"normalize_observations": True}), ("dqn", {"normalize_observations": True})]


def exported(function, size=3):
    """The .tflite file of functions of an observation, given as a function to outputs by name."""
    x = keras.Input((size,), dtype="float32", name="observation")
    return policy_graph.litert_bytes(keras.Model(x, function(x)))


@pytest.mark.parametrize(("name", "settings"), VARIANTS)
def test_actors_of_every_method_act_as_in_litert(name, settings):
    bundle = policy_bundle.unpack(untrained(name, **settings).policy({}))
    model = bundle.member("actor.tflite")
    expected, graph = LiteRTGraph(model), NumpyGraph(model)
    assert graph.inputs == expected.inputs and graph.outputs == expected.outputs
    BundleActor(graph, bundle.manifest)  # checks shapes, with another number of rows
    rng = np.random.default_rng(1)
    inputs = {name: rng.normal(0.0, 1.0, (5, *shape)).astype(np.float32) for name, shape in expected.inputs.items()}
    wanted, found = (runs({**inputs, "observation": OBSERVATION}) for runs in (expected, graph))
    assert np.ptp(wanted["action"]) > 1e-3
    for output in wanted:
        assert found[output].dtype == np.float32
        np.testing.assert_allclose(found[output], wanted[output], rtol=1e-5, atol=1e-6, err_msg=output)


def test_a_recurrent_actor_acts_as_in_litert():
    observation, state = keras.Input((105,), name="observation"), keras.Input((2, 3), name="state_0")
    x = keras.layers.Concatenate()([observation, keras.layers.Flatten()(state)])
    after = keras.layers.Reshape((2, 3))(keras.layers.Dense(6, "tanh")(x))
    action = keras.layers.Dense(8, "tanh")(x)
    model = policy_graph.litert_bytes(keras.Model({"observation": observation, "state_0": state},
                                            {"action": action, "state_0": after}))
    expected, graph = LiteRTGraph(model), NumpyGraph(model)
    assert graph.inputs == expected.inputs == {"observation": (105,), "state_0": (2, 3)}
    wanted = found = {"state_0": np.zeros((5, 2, 3), np.float32)}
    for _ in range(3):
        wanted, found = (runs({"observation": OBSERVATION, "state_0": last["state_0"]})
                         for runs, last in ((expected, wanted), (graph, found)))
    for output in wanted:
        np.testing.assert_allclose(found[output], wanted[output], rtol=1e-5, atol=1e-6)


def test_every_operation_gives_what_litert_gives():
    ops = keras.ops

    def function(x):
        positive = ops.abs(x) + 0.1
        low, high = ops.split(ops.concatenate([x, positive], axis=-1), 2, axis=-1)
        rows = ops.reshape(x, (-1, 3, 1))
        return {"split": low - high, "relu": ops.relu(x), "elu": ops.elu(x), "sigmoid": ops.sigmoid(x),
                "softplus": ops.softplus(x), "exp": ops.exp(x), "log": ops.log(positive), "sqrt": ops.sqrt(positive),
                "rsqrt": ops.rsqrt(positive), "square": ops.square(x), "divided": x / positive, "negative": -x,
                "bounds": ops.minimum(ops.maximum(x, -0.3), 0.4), "difference": ops.square(x - positive),
                "mean": ops.mean(rows, axis=1), "sum": ops.sum(rows, axis=1), "max": ops.max(rows, axis=1),
                "min": ops.min(rows, axis=1, keepdims=True), "where": ops.where(x > 0.1, x, 2.0 * positive),
                "least": ops.where(x >= positive, positive, x + 1.0), "below": ops.where(x < 0.2, positive, x),
                "ended": ops.where((x > 0.1) & ~(ops.all(ops.isfinite(x), axis=-1, keepdims=True) & (x <= 9.0)), x,
                                   ops.zeros_like(x)),
                "rows": keras.layers.Reshape((1, 3))(keras.layers.Flatten()(rows)), "parts": rows[:, 1:, 0],
                "tanh": ops.tanh(x), "dense": keras.layers.Dense(4, "relu")(x),
                "dense6": ops.relu6(20.0 * keras.layers.Dense(4)(x)),
                "no_bias": keras.layers.Dense(4, use_bias=False)(x),
                "clipped": ops.clip(keras.layers.Dense(4)(x), -1.0, 1.0)}
    model = exported(function)
    observation = np.array([[-3.0, 0.1, 2.0], [0.0, -0.1, 9.0], [-30.0, 0.2, 40.0]], np.float32)
    expected, found = (graph({"observation": observation}) for graph in (LiteRTGraph(model), NumpyGraph(model)))
    for output in expected:
        np.testing.assert_allclose(found[output], expected[output], rtol=2e-6, atol=2e-6, err_msg=output)
    operations = LiteRTFile(model).operations
    assert set(numpy_graph._OPERATIONS) == {operation.name for operation in operations}
    assert set(numpy_graph._FUSED) == {operation.activation for operation in operations}


@pytest.mark.parametrize(("dtype", "rtol"), [(np.float32, 1e-5), (np.float64, 1e-14)])
def test_a_small_network_as_by_hand_in_float64(dtype, rtol):
    rng = np.random.default_rng(4)
    kernel, bias, last = (rng.normal(0, 1, shape).astype(np.float32) for shape in ((3, 4), 4, (4, 2)))
    observation = keras.Input((3,), dtype="float32", name="observation")
    layers = keras.layers.Dense(4, "relu"), keras.layers.Dense(2, use_bias=False)
    model = keras.Model(observation, {"action": keras.ops.tanh(layers[1](layers[0](observation)))})
    layers[0].set_weights([kernel, bias])
    layers[1].set_weights([last])
    graph = NumpyGraph(policy_graph.litert_bytes(model), dtype)
    x = rng.normal(0, 1, (6, 3)).astype(np.float32)
    hidden = np.maximum(np.einsum("ni,io->no", x.astype(np.float64), kernel) + bias, 0.0)
    found = graph({"observation": x})["action"]
    assert found.dtype == dtype
    np.testing.assert_allclose(found, np.tanh(np.einsum("ni,io->no", hidden, last)), rtol=rtol)


def test_outputs_belong_to_the_caller():
    graph = NumpyGraph(exported(lambda x: {"same": keras.ops.reshape(x, (-1, 3, 1))}))
    observation = np.ones((2, 3), np.float32)
    assert not np.shares_memory(graph({"observation": observation})["same"], observation)


def test_an_unknown_operation_is_named_with_those_that_are_known():
    with pytest.raises(BundleError, match=r"operations that numpy runs here \(ABS, ADD, .*\), found SIN$"):
        NumpyGraph(exported(lambda x: {"action": keras.ops.sin(x)}))


def test_a_graph_of_other_numbers_is_refused():
    model = exported(lambda x: {"action": keras.layers.Dense(64)(x)}, size=64)
    NumpyGraph(model)
    with pytest.raises(BundleError, match="operations that numpy runs here .*, found DEQUANTIZE"):
        NumpyGraph(quantize.float16(model))


@pytest.mark.parametrize("data", [b"", b"no graph at all", bytes(1000)])
def test_damage_is_refused(data):
    with pytest.raises(BundleError, match=f"LiteRT graph with the signature serving_default, found {len(data)} bytes"):
        NumpyGraph(data)
