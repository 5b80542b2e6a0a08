"""Actors from bundles: LiteRT and Keras agree, recurrent states follow the mask, what does not fit is refused."""

from pathlib import Path

import numpy as np
import policy_bundles
import pytest
from policy_bundles import observations

from ant_rl_core import bundle
from ant_rl_core.bundle import BundleError
from ant_rl_core.exploration import Exploration, explore, sample
from ant_rl_core.step import Previous
from policy_node.actor import load_actor

BEFORE = ("previous_action", "previous_reward", "previous_done")


def unpacked(*args, **kwargs):
    return bundle.unpack(policy_bundles.packed(*args, **kwargs))


def act(actor, observation, state=None, reset_mask=None):
    rows = len(observation)
    return actor.act(observation, Previous.none(rows, 8), actor.initial_state(rows) if state is None else state,
                     np.zeros(rows, bool) if reset_mask is None else reset_mask)


def refusal(data_or_bundle, *args, **kwargs):
    given = bundle.unpack(data_or_bundle) if isinstance(data_or_bundle, bytes) else data_or_bundle
    with pytest.raises(BundleError) as caught:
        load_actor(given, *args, **kwargs)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500
    return str(caught.value)


def with_members(changes=None, **members):
    """A bundle whose manifest is right about hashes and sizes, whatever its members are."""
    named = {f"actor.{suffix}": data for suffix, data in members.items()}
    return bundle.pack(policy_bundles.manifest(**(changes or {})), named, {})


@pytest.mark.parametrize("rows", [1, 16])
def test_litert_and_keras_agree(rows):
    observation = observations(rows)
    results = [act(load_actor(unpacked(version=3), backend), observation) for backend in ("litert", "keras")]
    for action, extras, state in results:
        assert action.shape == (rows, 8) and action.dtype == np.float32 and np.abs(action).max() < 1
        assert extras == {} and state == ()
    assert np.abs(results[0][0] - results[1][0]).max() < 1e-5
    assert np.abs(results[0][0]).max() > 0.05  # not just zeros


def test_an_actor_tells_its_version():
    assert load_actor(unpacked(version=12)).version == 12


def test_actions_belong_to_the_caller_and_rows_do_not_mix():
    actor, observation = load_actor(unpacked()), observations(16)
    together = act(actor, observation)[0]
    kept = together.copy()
    alone = np.concatenate([act(actor, observation[i:i + 1])[0] for i in range(16)])
    assert np.array_equal(together, kept) and np.abs(together - alone).max() < 1e-6
    assert np.array_equal(act(actor, observation)[0], together)  # after other batch sizes as well


@pytest.mark.parametrize("backend", ["litert", "keras"])
def test_exploration_is_the_shared_sampling_of_the_graphs_distribution(backend):
    observation = observations(4)
    actors = [load_actor(unpacked(), backend, explore=True, seed=5) for _ in range(2)]
    action, extras, _ = act(actors[0], observation)
    again, extras_again, _ = act(actors[1], observation)
    assert np.array_equal(action, again) and np.array_equal(extras["log_prob"], extras_again["log_prob"])
    assert not np.array_equal(act(actors[0], observation)[0], action)
    best = act(load_actor(unpacked(), backend), observation)[0].astype(np.float64)
    expected, log_prob = sample(np.arctanh(best).astype(np.float32), np.full((4, 8), -0.5, np.float32),
                                np.random.default_rng(5))
    assert np.abs(action - expected).max() < 1e-5 and np.abs(extras["log_prob"] - log_prob).max() < 1e-3
    assert extras["log_prob"].shape == (4,) and extras["log_prob"].dtype == np.float32


def test_a_generator_goes_on_from_one_version_to_the_next():
    random, observation = np.random.default_rng(5), observations(1)
    actions = [act(load_actor(unpacked(version), explore=True, seed=random), observation)[0] for version in (1, 2)]
    assert not np.array_equal(*actions)


@pytest.mark.parametrize("backend", ["litert", "keras"])
def test_recurrent_state_goes_on_per_row_and_starts_anew_under_the_mask(backend):
    actor = load_actor(unpacked(state_size=16), backend)
    observation = observations(3)
    first, _, state = act(actor, observation)
    assert [array.shape for array in state] == [(3, 16)]
    kept = state[0].copy()
    second, _, _ = act(actor, observation, state)
    third, _, _ = act(actor, observation, state, np.array([False, True, False]))
    assert np.array_equal(state[0], kept)  # the caller's state is not written to
    assert np.abs(second - first).max(axis=1).min() > 1e-4
    assert np.array_equal(third[[0, 2]], second[[0, 2]]) and np.abs(third[1] - first[1]).max() < 1e-6


def test_recurrent_litert_and_keras_agree_over_many_ticks():
    actors = [load_actor(unpacked(state_size=16), backend) for backend in ("litert", "keras")]
    states = [actor.initial_state(4) for actor in actors]
    for tick in range(20):
        mask = np.random.default_rng(tick).random(4) < 0.2
        results = [act(actor, observations(4, tick), state, mask) for actor, state in zip(actors, states, strict=True)]
        states = [result[2] for result in results]
        assert np.abs(results[0][0] - results[1][0]).max() < 1e-5


def happened(rows, seed=0, done=None):
    rng = np.random.default_rng(seed)
    return Previous(rng.uniform(-1, 1, (rows, 8)).astype(np.float32), rng.normal(size=rows).astype(np.float32),
                    np.zeros(rows, bool) if done is None else np.array(done))


@pytest.mark.parametrize("backend", ["litert", "keras"])
@pytest.mark.parametrize("before", [BEFORE, BEFORE[:1], BEFORE[1:], BEFORE[::-1]])
def test_a_graph_gets_what_happened_before_as_far_as_it_asks(backend, before):
    data, observation = unpacked(before=before, changes={"memory": "trial"}), observations(3)
    graphs = [load_actor(data, name) for name in ("litert", backend)]
    previous, mask = happened(3, done=[True, False, False]), np.zeros(3, bool)
    actions = [actor.act(observation, previous, (), mask)[0] for actor in graphs]
    assert np.abs(actions[0] - actions[1]).max() < 1e-5
    found = graphs[0]._graph({"observation": observation, "previous_action": previous.action,
                              "previous_reward": previous.reward[:, None],
                              "previous_done": np.array([[1], [0], [0]], np.float32)})["action"]
    assert np.array_equal(actions[0], found)
    other = happened(3, seed=1, done=[False, True, True])
    changed = np.abs(graphs[1].act(observation, other, (), mask)[0] - actions[1]).max(axis=1)
    assert (changed > 1e-3).all()


@pytest.mark.parametrize("state_size", [0, 16])
@pytest.mark.parametrize("memory", ["episode", "trial"])
def test_nothing_is_told_across_trials_and_across_episodes_where_memory_is_of_one(memory, state_size):
    actor = load_actor(unpacked(before=BEFORE, state_size=state_size, changes={"memory": memory}))
    observation, previous = observations(3), happened(3, done=[False, True, True])
    kept = tuple(array + 0.5 for array in actor.initial_state(3))
    begun, _, _ = actor.act(observation, Previous.none(3, 8), actor.initial_state(3), np.zeros(3, bool))
    told, _, _ = actor.act(observation, previous, kept, np.zeros(3, bool))
    found, _, _ = actor.act(observation, previous, kept, np.array([True, False, True]))
    anew = [0, 2] if memory == "trial" else [0, 1, 2]
    assert np.abs(found[anew] - begun[anew]).max() < 1e-6
    if memory == "trial":
        assert np.abs(told - begun).max(axis=1).min() > 1e-4 and np.array_equal(found[1], told[1])
    assert previous.done.tolist() == [False, True, True] and previous.action.all()  # not written to


def test_only_kin_goes_on_with_an_actors_memory():
    def key(**changes):
        return load_actor(unpacked(state_size=16, changes=changes)).memory_key
    assert key() is None and key(memory_id="a") == key(memory_id="a") != key(memory_id="b")
    assert load_actor(unpacked(state_size=8, changes={"memory_id": "a"})).memory_key != key(memory_id="a")
    assert load_actor(unpacked()).memory_key == load_actor(unpacked(changes={"memory_id": "a"})).memory_key is not None


@pytest.mark.parametrize("backend", ["litert", "keras"])
@pytest.mark.parametrize("exploration", [Exploration("uniform"), Exploration("gaussian", 0.2),
                                         Exploration("epsilon_greedy", 0.5, 3)])
def test_a_policy_explores_as_its_bundle_says(backend, exploration):
    data = unpacked(changes={"exploration": exploration}, stochastic=False)
    observation = observations(6)
    best = act(load_actor(data, backend), observation)[0]
    actor, random = load_actor(data, backend, explore=True, seed=5), np.random.default_rng(5)
    for _ in range(3):
        action, extras, _ = act(actor, observation)
        assert np.array_equal(action, explore(exploration, {"action": best}, random)[0]) and extras == {}


def test_what_the_bundle_says_of_exploration_comes_before_its_distribution():
    action, extras, _ = act(load_actor(unpacked(changes={"exploration": Exploration("uniform")}), explore=True, seed=5),
                            observations(2))
    assert extras == {} and np.array_equal(action, 2 * np.random.default_rng(5).random((2, 8), np.float32) - 1)


def test_exploring_needs_a_policy_that_says_how():
    assert "must be stochastic or say how" in refusal(policy_bundles.packed(stochastic=False), explore=True)
    assert act(load_actor(unpacked(stochastic=False)), observations(1))[1] == {}


def test_members_are_picked_by_backend_and_variant():
    both = policy_bundles.members()
    data = bundle.pack(policy_bundles.manifest(), {"actor_small.tflite": both["actor.tflite"]}, {})
    assert "no variant 'float32' that ends in .tflite; those are small" in refusal(data)
    assert load_actor(bundle.unpack(data), variant="small").version == 1
    assert "no variant 'small' that ends in .keras; those are none" in refusal(data, "keras", "small")
    with pytest.raises(ValueError, match="backend must be litert or keras, found 'torch'"):
        load_actor(bundle.unpack(data), "torch")


def test_a_missing_library_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "policy_node.litert_actor", None)
    with pytest.raises(ValueError, match="backend litert needs the Python package ai-edge-litert"):
        load_actor(unpacked())


@pytest.mark.parametrize("backend", ["litert", "keras"])
@pytest.mark.parametrize("model, changes, sentence", [
    ({"observation_size": 27}, {}, r"takes observation \[105\], found one that takes observation \[27\]"),
    ({"action_size": 6}, {}, r"gives action \[8\].*found one that gives action \[6\]"),
    ({"stochastic": False}, {}, r"log_std \[8\].*found one that gives action \[8\]$"),
    ({}, {"state_shapes": ((4,),)}, r"takes observation \[105\], state_0 \[4\], found"),
    ({"state_size": 16}, {}, r"takes observation \[105\], found one that takes observation \[105\], state_0 \[16\]"),
    ({"state_size": 16}, {"state_shapes": ((8,),)}, r"state_0 \[8\], found .*state_0 \[16\]"),
    ({"before": BEFORE[:2]}, {}, r"takes observation \[105\], found .* previous_action \[8\], previous_reward \[1\]$"),
    ({}, {"inputs": ("observation", "previous_done")}, r"takes observation \[105\], previous_done \[1\], found"),
])
def test_a_graph_of_another_size_than_the_manifest_says_is_refused(backend, model, changes, sentence):
    """The bundle fits the robot by its manifest; the graph shows that it does not."""
    members = {name.split(".")[1]: data for name, data in policy_bundles.members(**model).items()}
    with pytest.raises(BundleError, match=sentence):
        load_actor(bundle.unpack(with_members(changes, **members)), backend)


def test_garbage_with_a_matching_hash_is_refused():
    model = policy_bundles.members()["actor.tflite"]
    for garbage in (b"", b"TFL3", bytes(5000), b"\x1c\0\0\0TFL3" + bytes(range(256)) * 20, model[:-1],
                    *(model[:len(model) * k // 20] for k in range(1, 20))):
        assert "actor.tflite: expected a LiteRT graph" in refusal(with_members(tflite=garbage))
    for garbage in (b"", b"PK\x05\x06", bytes(5000), policy_bundles.members()["actor.keras"][:-100]):
        assert "actor.keras: expected a Keras model" in refusal(with_members(keras=garbage), "keras")


def test_damage_within_a_graph_never_does_more_than_refuse():
    """LiteRT checks the file's structure; what it can't see are other weights, which the hash shows."""
    model = policy_bundles.members(hidden=8)["actor.tflite"]
    random, refused = np.random.default_rng(0), 0
    for position in random.integers(0, len(model), 200):
        damaged = bytearray(model)
        damaged[position] ^= 1 << random.integers(8)
        try:
            act(load_actor(bundle.unpack(with_members(tflite=bytes(damaged)))), observations(1))
        except BundleError:
            refused += 1
    assert 0 < refused < 200


def test_weights_that_are_no_numbers_are_refused():
    model = policy_bundles.keras_model(seed=3, hidden=8)
    model.layers[1].kernel.assign(np.full((105, 8), np.nan, np.float32))
    data = with_members(tflite=policy_bundles.litert_bytes(model))
    assert "found NaN or infinity in its action" in refusal(data)


def test_a_graph_for_one_row_only_is_refused():
    model = policy_bundles.litert_bytes(policy_bundles.keras_model(hidden=8), batch=1)
    assert "runs with 2 rows" in refusal(with_members(tflite=model))


def test_code_within_a_keras_model_is_refused(tmp_path):
    import keras
    inputs = keras.Input((105,), name="observation")
    touched = str(tmp_path / "touched")
    model = keras.Model(inputs, {"action": keras.layers.Lambda(
        lambda x: (open(touched, "w").close(), x[:, :8])[1], output_shape=(8,))(inputs)})
    model(np.zeros((1, 105), np.float32))
    Path(touched).unlink()  # it was code that runs
    sentence = refusal(with_members({"stochastic": False}, keras=policy_bundles.keras_bytes(model)), "keras")
    assert "without code in it" in sentence and "Lambda" in sentence and not Path(touched).exists()


def test_a_keras_model_without_named_outputs_is_refused():
    import keras
    inputs = keras.Input((105,), name="observation")
    model = keras.Model(inputs, keras.layers.Dense(8)(inputs))
    assert "named outputs" in refusal(with_members(keras=policy_bundles.keras_bytes(model)), "keras")


def test_integer_graphs_are_refused_in_words():
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec((None, 105), tf.int32, name="observation")])
    def serve(observation):
        return {"action": observation[:, :8]}
    converter = tf.lite.TFLiteConverter.from_concrete_functions([serve.get_concrete_function()], tf.Module())
    assert "expected float32 for observation of the graph, found int32" in refusal(
        with_members(tflite=converter.convert()))
