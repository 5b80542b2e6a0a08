"""Each way to make an actor smaller, on small actors: what is stored, what it computes, what it learns."""

from dataclasses import fields
from functools import cache

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_quantizer.algorithm_manager import AlgorithmName
from trials import WITHOUT_TASKS, imagines_ants, untrained

from ant_rl_core import bundle as policy_bundle
from ant_rl_core.bundle import BundleError, Manifest
from ant_rl_core.step import Previous
from policy_node.actor import BundleActor
from policy_node.litert_actor import LiteRTGraph
from trainer.algorithms.table import ALGORITHMS
from trainer.compress import distil, fit, prune, qat, quantize, variants
from trainer.compress.differentiable import DifferentiableGraph
from trainer.compress.fit import Course
from trainer.compress.litert_file import LiteRTFile
from trainer.compress.samples import Samples, Teacher
from trainer.export import policy_graph

MANIFEST = Manifest("test", "Ant-v5", 105, 8, 1)
RECURRENT = Manifest("test", "Ant-v5", 105, 8, 1, state_shapes=((2, 3),))
SHORT = Course(rounds=3, samples=600, epochs=6, last_epochs=6, learning_rate=3e-3)


def silent(*_):
    pass


@cache
def actor(hidden=(64, 48)):
    """The .tflite file of a feed-forward actor."""
    keras.utils.set_random_seed(4)
    x = inputs = keras.Input((105,), dtype="float32", name="observation")
    for size in hidden:
        x = keras.layers.Dense(size, "relu")(x)
    action = keras.ops.tanh(keras.layers.Dense(8)(x))
    return policy_graph.litert_bytes(keras.Model(inputs, {"action": action}))


@cache
def recurrent():
    """The .tflite file of an actor with a state [2, 3]."""
    keras.utils.set_random_seed(4)
    observation, state = keras.Input((105,), name="observation"), keras.Input((2, 3), name="state_0")
    x = keras.layers.Concatenate()([observation, keras.layers.Flatten()(state)])
    x = keras.layers.Dense(24, "tanh")(x)
    x = keras.layers.Dense(24, "tanh")(x)
    after = keras.layers.Reshape((2, 3))(keras.layers.Dense(6, "tanh")(x))
    return policy_graph.litert_bytes(keras.Model({"observation": observation, "state_0": state},
                                           {"action": keras.layers.Dense(8, "tanh")(x), "state_0": after}))


@cache
def seen(count=400):
    """What the actor is given while it drives."""
    return Teacher(actor(), MANIFEST, 1).visited(LiteRTGraph(actor()), count, 7)


def types(model, wanted):
    """Types of the matrices, by their numbers of rows and columns."""
    return {array.shape: array.dtype.name for array in LiteRTFile(model).constants.values() if array.ndim == 2}[wanted]


def difference(model, inputs, teacher=None):
    graph, expected = LiteRTGraph(model), LiteRTGraph(teacher or actor())
    return np.abs(graph(inputs)["action"] - expected(inputs)["action"])


# -- the file, and the graph in TensorFlow -------------------------------------------------------------------

def test_a_file_tells_its_weights_and_zeros():
    file = LiteRTFile(actor())
    assert file.inputs == {"observation": (105,)} and file.outputs == {"action": (8,)}
    assert file.weights == 105 * 64 + 64 * 48 + 48 * 8 and file.zeros == 0
    assert [operation.name for operation in file.operations] == ["FULLY_CONNECTED"] * 3 + ["TANH"]


@pytest.mark.parametrize("damage", [lambda model: b"", lambda model: model[:-300], lambda model: b"x" * 500])
def test_damaged_files_are_refused(damage):
    with pytest.raises(BundleError, match="expected a LiteRT graph"):
        LiteRTFile(damage(actor()))


def picks(name):
    """Whether the actors of a method pick from a few torques."""
    return "levels" in {field.name for field in fields(ALGORITHMS[name].config)}


@pytest.mark.parametrize("name", [name for name in WITHOUT_TASKS if not picks(name) and not imagines_ants(name)])
def test_the_graph_in_tensorflow_acts_as_in_litert(name):
    model = policy_bundle.unpack(untrained(name).policy({})).member("actor.tflite")
    graph, rng = LiteRTGraph(model), np.random.default_rng(1)
    inputs = {name: rng.normal(0.0, 1.0, (400, *shape)).astype(np.float32) for name, shape in graph.inputs.items()}
    inputs["observation"] = seen()["observation"]
    expected = graph(inputs)
    found = DifferentiableGraph(model)({name: tf.constant(array) for name, array in inputs.items()})
    assert found.keys() == expected.keys()
    for output in expected:
        np.testing.assert_allclose(found[output], np.broadcast_to(expected[output], found[output].shape), rtol=1e-4,
                                   atol=1e-5)


def test_weights_of_now_are_what_is_converted():
    graph = DifferentiableGraph(actor())
    assert difference(graph.litert_bytes(), seen()).max() < 1e-6
    for matmul in graph.matmuls:
        matmul.kernel.assign(0.5 * matmul.kernel)
    expected = graph({"observation": tf.constant(seen()["observation"])})["action"].numpy()
    found = LiteRTGraph(graph.litert_bytes())(seen())["action"]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert difference(graph.litert_bytes(), seen()).max() > 1e-3


@pytest.mark.parametrize("name", [name for name in WITHOUT_TASKS if picks(name)])
def test_an_actor_that_picks_from_a_few_actions_can_be_quantized_but_not_be_taught(name):
    model = policy_bundle.unpack(untrained(name).policy({})).member("actor.tflite")
    assert len(quantize.dynamic_int8(model, seen())) < 0.6 * len(model)
    with pytest.raises(BundleError, match="of operations that can be learned further.* found GREATER_EQUAL"):
        prune.pruned(model, 0.5, Teacher(model, MANIFEST, 1), SHORT, 0, silent)


def test_an_unknown_layer_is_named():
    x = keras.Input((105,), dtype="float32", name="observation")
    model = policy_graph.litert_bytes(keras.Model(x, {"action": keras.layers.Dense(8)(keras.ops.sin(x))}))
    with pytest.raises(BundleError, match="expected a float32 actor of operations that can be learned.* found SIN"):
        DifferentiableGraph(model)
    with pytest.raises(BundleError, match="expected a float32 actor"):
        DifferentiableGraph(quantize.float16(actor()))


# -- quantization --------------------------------------------------------------------------------------------

def test_float16_keeps_the_nearest_float16_weights():
    made = LiteRTFile(quantize.float16(actor()))
    for array, kept in zip(matrices(LiteRTFile(actor())), matrices(made), strict=True):
        assert kept.dtype == np.float16
        np.testing.assert_array_equal(kept, array.astype(np.float16))
    assert difference(quantize.float16(actor()), seen()).max() < 1e-2


def matrices(file):
    return [array for array in file.constants.values() if array.ndim == 2]


@pytest.mark.parametrize("make", [quantize.dynamic_int8, quantize.int8])
def test_what_lies_between_the_edges_is_int8_and_the_edges_float16(make):
    made = make(actor(), seen())
    assert types(made, (48, 64)) == "int8"
    assert types(made, (64, 105)) == types(made, (8, 48)) == "float16"
    names = [operation.name for operation in LiteRTFile(made).operations]
    assert ("QUANTIZE" in names) == (make is quantize.int8)
    assert 0.0 < difference(made, seen()).mean() < 0.01


def test_layers_whose_names_contain_an_edges_name_are_no_edges():
    learner = untrained("ppo", actor_hidden=(64, 48))
    learner.model.learned_from(np.random.default_rng(0).normal(0.3, 2.0, (1, 50, 105)))  # else it does not scale
    model = policy_bundle.unpack(learner.policy({})).member("actor.tflite")
    plain = DifferentiableGraph(model).litert_bytes()
    assert "Mul" in quantize.edges(plain) and any("MatMul" in name for name in LiteRTFile(plain).names)
    assert types(quantize.int8(plain, seen()), (48, 64)) == "int8"


def test_int8_weights_are_within_half_a_step_of_the_float_ones():
    made = quantize.int8(actor(), seen(), AlgorithmName.MIN_MAX_UNIFORM_QUANT)
    (kernel,) = (array for array in matrices(LiteRTFile(actor())) if array.shape == (48, 64))
    (steps,) = (array for array in matrices(LiteRTFile(made)) if array.shape == (48, 64))
    scale = np.abs(kernel).max(axis=1, keepdims=True) / 127
    np.testing.assert_allclose(steps * scale, kernel, atol=0.501 * scale.max())
    assert np.abs(steps).max(axis=1).min() == 127  # each output uses its whole range


def test_rare_extremes_are_within_the_calibrated_range():
    inputs = {"observation": seen()["observation"].copy()}
    inputs["observation"][200] *= 20.0
    made = quantize.int8(actor(), inputs)
    assert difference(made, {"observation": inputs["observation"][200:201]}).max() < 0.1


def test_edges_are_what_is_one_sum_of_products_from_inputs_or_outputs():
    named = {operation.targets[0]: operation.name for operation in LiteRTFile(actor()).operations}
    file = LiteRTFile(actor())
    found = [named[file.names.index(name)] for name in quantize.edges(actor())]
    assert sorted(found) == ["FULLY_CONNECTED", "FULLY_CONNECTED", "TANH"]


# -- learning from the actor ---------------------------------------------------------------------------------

def test_teachers_give_for_what_is_seen_what_their_graph_gives():
    teacher = Teacher(actor(), MANIFEST, 1)
    first, second = teacher.rollout(teacher.graph, 50, 1), teacher.rollout(teacher.graph, 50, 2)
    assert len(first) == 50 and first.inputs["observation"].shape == (50, 105)
    np.testing.assert_array_equal(first.outputs["action"], teacher.graph(first.inputs)["action"])
    assert not np.array_equal(first.inputs["observation"], second.inputs["observation"])
    np.testing.assert_array_equal(teacher.visited(teacher.graph, 50, 1)["observation"], first.inputs["observation"])
    assert len(first.joined(second)) == 100


def test_a_line_is_fitted_by_its_least_squares():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2_560, 3)).astype(np.float32)
    y = (x @ [[1.0], [-2.0], [0.5]] + 0.3).astype(np.float32)
    weights, bias = tf.Variable(tf.zeros((3, 1))), tf.Variable(tf.zeros(1))
    student = fit.Student(lambda inputs: {"action": inputs["observation"] @ weights + bias}, [weights, bias], bytes)
    loss = student.fit(Samples({"observation": x}, {"action": y}), [0.05] * 30 + [0.01] * 10, rng)
    assert loss < 1e-6
    np.testing.assert_allclose(weights.numpy().ravel(), [1.0, -2.0, 0.5], atol=1e-3)
    np.testing.assert_allclose(bias.numpy(), [0.3], atol=1e-3)


def test_the_student_drives_after_the_first_round_and_every_answer_is_the_teachers():
    teacher, drivers = Teacher(actor(), MANIFEST, 1), []
    rollout = teacher.rollout
    teacher.rollout = lambda driver, *rest: drivers.append(driver) or rollout(driver, *rest)
    graph = DifferentiableGraph(actor())
    student = fit.Student(graph, graph.trainable_variables, graph.litert_bytes)
    told = []
    samples = fit.teach(student, teacher, SHORT, np.random.default_rng(0), told.append)
    assert [driver is teacher.graph for driver in drivers] == [True, False, False]
    assert len(samples) == 3 * 600
    np.testing.assert_allclose(samples.outputs["action"], teacher.graph(samples.inputs)["action"])
    assert told[0] == "round 1 of 3" and told[2].startswith("round 3 of 3, mean squared difference so far ")
    assert told[3].startswith("last passes, mean squared difference so far ") and float(told[3].split()[-1]) < 1e-4


@pytest.mark.parametrize("sparsity", [0.5, 0.9])
def test_pruning_zeroes_the_share_of_each_matrix_and_the_rest_learns(sparsity):
    teacher = Teacher(actor(), MANIFEST, 1)
    made = prune.pruned(actor(), sparsity, teacher, SHORT, 0, silent)
    for array in matrices(LiteRTFile(made)):
        assert np.count_nonzero(array == 0.0) == round(sparsity * array.size)
    cut = DifferentiableGraph(actor())
    for matmul in cut.matmuls:
        matmul.kernel.assign(matmul.kernel * prune.largest(matmul.kernel.numpy(), sparsity))
    assert difference(made, seen()).mean() < 0.7 * difference(cut.litert_bytes(), seen()).mean()


def test_a_pruned_file_stores_what_is_not_zero():
    graph = DifferentiableGraph(actor())
    for matmul in graph.matmuls:
        matmul.kernel.assign(matmul.kernel * prune.largest(matmul.kernel.numpy(), 0.9))
    plain = graph.litert_bytes()
    made = prune.sparse(plain)
    assert len(made) < 0.5 * len(plain)
    assert difference(made, seen(), plain).max() < 1e-6
    assert (LiteRTFile(made).weights, LiteRTFile(made).zeros) == (LiteRTFile(plain).weights, LiteRTFile(plain).zeros)


def test_the_largest_magnitudes_stay():
    kernel = np.array([[3.0, -1.0], [0.5, -4.0]], np.float32)
    np.testing.assert_array_equal(prune.largest(kernel, 0.5), [[1.0, 0.0], [0.0, 1.0]])
    np.testing.assert_array_equal(prune.largest(kernel, 0.25), [[1.0, 1.0], [0.0, 1.0]])
    assert prune.largest(np.ones((2, 2)), 0.5).sum() == 2.0  # ties, too


def test_the_share_of_zeros_grows_along_the_cubic_schedule():
    shares = []
    graph = DifferentiableGraph(actor())
    course = Course(rounds=8, samples=300, epochs=1, last_epochs=1, learning_rate=0.0)
    largest = prune.largest
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prune, "largest", lambda kernel, share: shares.append(share) or largest(kernel, share))
        prune.pruned(actor(), 0.8, Teacher(actor(), MANIFEST, 1), course, 0, silent)
    found = shares[::len(graph.matmuls)]
    np.testing.assert_allclose(found[:3], 0.8 * (1 - (np.array([5, 4, 3]) / 6) ** 3))
    np.testing.assert_allclose(found[5:], 0.8)
    assert len(found) == 8


def test_rehearsed_rounding_is_that_of_int8():
    x = np.random.default_rng(0).uniform(-1.3, 3.1, 1_000).astype(np.float32)
    step = (2.5 + 1.0) / 255
    zero = round(1.0 / step)
    expected = (np.clip(np.round(x / step) + zero, 0, 255) - zero) * step
    np.testing.assert_allclose(qat._rounded(tf.constant(x), (-1.0, 2.5)), expected, atol=1e-5)
    kernel = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)
    scale = np.abs(kernel).max(axis=0) / 127
    np.testing.assert_allclose(qat._rounded_kernel(tf.Variable(kernel)), np.round(kernel / scale) * scale, atol=1e-5)


def test_rounded_weights_learn_to_act_as_the_teacher():
    graph, rng = DifferentiableGraph(actor()), np.random.default_rng(0)
    for matmul in graph.matmuls:
        matmul.kernel.assign_add(rng.normal(0.0, 0.03, matmul.kernel.shape).astype(np.float32))
    course = Course(rounds=2, samples=1_000, epochs=20, last_epochs=20, learning_rate=1e-3)
    made = qat.qat_int8(graph.litert_bytes(), Teacher(actor(), MANIFEST, 1), course, 0, silent)
    assert types(made, (48, 64)) == "int8"
    untaught = quantize.int8(graph.litert_bytes(), seen())
    assert difference(made, seen()).mean() < 0.2 * difference(untaught, seen()).mean()


def test_a_student_learns_to_act_as_the_actor():
    teacher = Teacher(actor(), MANIFEST, 1)
    made = distil.distilled(actor(), (16,), teacher, SHORT, 0, silent)
    assert LiteRTFile(made).weights == 105 * 16 + 16 * 8
    untaught = distil.distilled(actor(), (16,), Teacher(actor(), MANIFEST, 1),
                                Course(1, 300, 1, 1, learning_rate=0.0), 0, silent)
    assert difference(made, seen()).mean() < 0.6 * difference(untaught, seen()).mean()


def test_a_student_that_is_larger_than_its_teacher_is_refused():
    with pytest.raises(BundleError, match=r"smaller than its teacher with [\d,]+ weights, found one with 57,856"):
        distil.distilled(actor(), (512,), Teacher(actor(), MANIFEST, 1), SHORT, 0, silent)


# -- by name -------------------------------------------------------------------------------------------------

def maker(model, manifest, **arguments):
    arguments = {"seed": 0, "effort": 0.02, "tell": silent, **arguments}
    return variants.Maker(model, Teacher(model, manifest, 1), **arguments)


@pytest.mark.parametrize("name", ["float32", "float16", "dynamic_int8", "int8", "qat_int8", "prune_50", "distil_8",
                                  "distil_8x8+int8", "prune_50+float16"])
def test_recurrent_actors_pass_as_others_do(name, monkeypatch):
    monkeypatch.setattr(variants, "CALIBRATION_SAMPLES", 200)
    for module in (qat, prune, distil):
        monkeypatch.setattr(module, "COURSE", Course(2, 300, 1, 1, 1e-3))
    graph = LiteRTGraph(maker(recurrent(), RECURRENT, effort=1.0).make(name))
    assert graph.inputs == {"observation": (105,), "state_0": (2, 3)}
    assert graph.outputs == {"action": (8,), "state_0": (2, 3)}
    made = BundleActor(graph, RECURRENT)  # runs it
    state = made.initial_state(2)
    _, _, after = made.act(np.ones((2, 105), np.float32), Previous.none(2, 8), state, np.zeros(2, bool))
    assert not np.array_equal(after[0], state[0])


def test_the_same_seed_makes_the_same_file_whatever_else_is_made(monkeypatch):
    monkeypatch.setattr(distil, "COURSE", Course(2, 300, 1, 1, 1e-3))
    first, second = maker(actor(), MANIFEST, effort=1.0), maker(actor(), MANIFEST, effort=1.0)
    second.make("distil_4")
    third = maker(actor(), MANIFEST, effort=1.0, seed=1)
    one, two, three = (made.make("distil_8") for made in (first, second, third))
    assert one == two != three


def test_effort_scales_rounds_and_passes():
    course = maker(actor(), MANIFEST, effort=0.5).course(Course(8, 100, 3, 1, 0.1))
    assert course == Course(4, 100, 2, 1, 0.1)


@pytest.mark.parametrize(("name", "nearest"), [("int9", "int8"), ("prune_0", "prune_80"), ("prune", "prune_80"),
                                               ("distil_64x", "distil_64x64"), ("float32+in8", "int8"), ("", "")])
def test_unknown_methods_are_refused(name, nearest):
    with pytest.raises(ValueError, match=rf"there is no method .*the nearest one is '.*{nearest}'"):
        variants.check(name)


def test_usual_methods_are_known():
    for name in variants.USUAL:
        variants.check(name)
