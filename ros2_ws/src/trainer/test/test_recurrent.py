"""An actor with a memory on its way: export, both backends, its equations in float64, smaller variants."""

import json
from functools import cache

import numpy as np
import pytest

from ant_rl_core import bundle as policy_bundle
from ant_rl_core.step import Previous
from ant_rl_core.testing import FakeVectorEnv
from policy_node.actor import load_actor
from policy_node.keras_actor import KerasGraph
from policy_node.litert_actor import LiteRTGraph
from trainer import loop
from trainer.buffers.rollout import RolloutBuffer
from trainer.compress import command, fit, probe, qat, variants
from trainer.compress.differentiable import DifferentiableGraph
from trainer.compress.numpy_graph import NumpyGraph
from trainer.compress.samples import Teacher
from trainer.export import policy_graph
from trainer.testing import GRUActor

ROWS = 5


@cache
def made():
    return GRUActor(seed=3)


@cache
def packed():
    return made().bundle(memory_id="kin")


def random_inputs(seed, rows=ROWS):
    rng = np.random.default_rng(seed)
    shapes = policy_bundle.unpack(packed()).manifest.input_shapes
    return {name: rng.normal(0.3, 1.5, (rows, *shape)).astype(np.float32) for name, shape in shapes.items()}


def agree(found, expected, atol=2e-5):
    assert set(found) == set(expected)
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], atol=atol, err_msg=name)


def test_the_bundle_says_what_its_graph_takes_and_how_long_it_remembers():
    manifest = policy_bundle.unpack(packed()).manifest
    assert manifest.inputs == policy_bundle.INPUTS and manifest.state_shapes == ((16,),)
    assert (manifest.memory, manifest.memory_id) == ("trial", "kin")
    assert (manifest.observation_size, manifest.action_size) == (105, 8)


def test_one_step_is_that_of_the_equations_whatever_runs_it():
    files, inputs = made().graph.files(), random_inputs(0)
    expected = made().by_hand(inputs)
    for runs in (LiteRTGraph(files["actor.tflite"]), KerasGraph(files["actor.keras"]),
                 NumpyGraph(files["actor.tflite"])):
        agree(runs(inputs), expected)
    agree(NumpyGraph(files["actor.tflite"], np.float64)(inputs), expected, atol=2e-6)
    agree({k: v.numpy() for k, v in DifferentiableGraph(files["actor.tflite"])(inputs).items()}, expected)
    for name in inputs:  # each of them counts
        changed = LiteRTGraph(files["actor.tflite"])({**inputs, name: inputs[name] + 1})
        assert np.abs(changed["action"] - expected["action"]).max() > 1e-3, name


@pytest.mark.parametrize("memory", ["trial", "episode"])
def test_a_thousand_steps_with_resets_are_those_of_the_equations(memory):
    """Fed back: states and actions of each, over trials of three episodes."""
    bundle = policy_bundle.unpack(made().bundle(memory=memory))
    actors = [load_actor(bundle, backend) for backend in ("litert", "keras")]
    env = FakeVectorEnv(3, lengths=(7, 11, 40), episodes_per_trial=3)
    step, action, kept = env.reset(), None, [actor.initial_state(3) for actor in actors]
    state, previous, ends = made().initial_state(3), Previous.none(3, 8), 0
    for _ in range(1000):
        # Small numbers, as after normalization; each depends on where the row is.
        observation = np.sin(step.observation + np.arange(105, dtype=np.float32)) * 2
        given = Previous(previous.action, np.sin(previous.reward), previous.done)
        fresh = step.trial_first | (given.done if memory == "episode" else False)
        expected, state = made().act_by_hand(observation, given, state, fresh)
        for i, actor in enumerate(actors):
            action, _, kept[i] = actor.act(observation, given, kept[i], step.trial_first)
            np.testing.assert_allclose(action, expected, atol=1e-5)
            np.testing.assert_allclose(kept[i][0], state, atol=1e-5)
        step = env.step(action)
        previous = Previous(action, step.reward, step.done)
        ends += (step.done & ~step.trial_first).sum()
    assert ends > 100


def test_later_exports_take_milliseconds_and_act_as_the_network(monkeypatch):
    actor = GRUActor(seed=4)
    actor.graph.files()

    def no_conversion(*_):
        raise AssertionError("the graph was converted again")
    monkeypatch.setattr(policy_graph, "litert_bytes", no_conversion)
    monkeypatch.setattr(policy_graph, "keras_bytes", no_conversion)
    for variable in actor.network.trainable_variables:
        variable.assign_add(np.random.default_rng(1).normal(0, 0.1, variable.shape))
    actor.normalizer.statistics.mean = actor.normalizer.mean + 0.5
    actor.normalizer._renew()
    files, inputs = actor.graph.files(), random_inputs(2)
    for runs in (LiteRTGraph(files["actor.tflite"]), KerasGraph(files["actor.keras"])):
        agree(runs(inputs), actor.by_hand(inputs))


def test_states_of_a_rollout_are_those_the_actor_had():
    """One loop of actor, environment and learner; trials of two episodes, and another rollout in the middle of one."""
    actor, handed = load_actor(policy_bundle.unpack(packed())), []
    act = actor.act

    def listening(observation, previous, state, reset_mask):
        handed.append((previous, state, reset_mask))
        return act(observation, previous, state, reset_mask)
    actor.act = listening

    class Keeper:
        on_policy, buffer, rollouts = True, RolloutBuffer(13, 2, 105, 8, [(16,)]), []

        def observe(self, batch):
            self.buffer.add(batch)

        def ready(self):
            return self.buffer.full

        def update(self):
            self.rollouts.append((self.buffer.save(), self.buffer.cuts(), self.buffer.trial_cuts()))
            self.buffer.clear()
            return {}

    keeper, env = Keeper(), FakeVectorEnv(2, lengths=(3, 4), episodes_per_trial=2)
    loop.run(env, actor, keeper, env.reset(), lambda _: len(keeper.rollouts) == 3, lambda _: False)
    first = np.concatenate([saved["rollout_trial_first"] for saved, _, _ in keeper.rollouts])
    assert np.array_equal(first, np.stack([np.arange(39) % 6 == 0, np.arange(39) % 8 == 0], axis=1))
    for t, (previous, state, mask) in enumerate(handed):
        saved, i = keeper.rollouts[t // 13][0], t % 13
        assert np.array_equal(mask, first[t])
        expected = {"state_0": state[0], "previous_action": previous.action, "previous_reward": previous.reward,
                    "previous_done": previous.done}
        for name, array in expected.items():
            array = np.where(mask.reshape(2, *[1] * (array.ndim - 1)), 0, array)
            assert np.array_equal(saved[f"rollout_{name}"][i], array), (t, name)
    assert np.abs(handed[5][1][0]).max() > 0.1  # no zeros there
    # From what is stored the states are made again: each from the one before.
    graph = LiteRTGraph(policy_bundle.unpack(packed()).member("actor.tflite"))
    for saved, cuts, trial_cuts in keeper.rollouts:
        for t in range(12):
            after = graph({"observation": saved["rollout_observation"][t], "state_0": saved["rollout_state_0"][t],
                           "previous_action": saved["rollout_previous_action"][t],
                           "previous_reward": saved["rollout_previous_reward"][t][:, None],
                           "previous_done": saved["rollout_previous_done"][t][:, None].astype(np.float32)})["state_0"]
            on = ~trial_cuts[t]
            assert np.array_equal(after[on], saved["rollout_state_0"][t + 1][on])
            assert np.array_equal(trial_cuts[t], saved["rollout_trial_first"][t + 1])
        assert trial_cuts[-1].all() and (cuts & ~trial_cuts).any()


# -- smaller variants --------------------------------------------------------------------------------------------------

@cache
def seen(count=600):
    bundle = policy_bundle.unpack(packed())
    teacher = Teacher(bundle.member("actor.tflite"), bundle.manifest, 1)
    return teacher, teacher.visited(teacher.graph, count, 7)


def test_samples_hold_what_happened_before():
    _, inputs = seen()
    assert set(inputs) == {*policy_bundle.INPUTS, "state_0"}
    for name in ("previous_action", "previous_reward", "state_0"):
        assert np.abs(inputs[name]).max() > 0.05, name
    assert not inputs["previous_action"][:20].any() and not inputs["state_0"][:20].any()  # the first tick of 20 robots


@pytest.mark.parametrize(("name", "distance"), [("float16", 5e-3), ("dynamic_int8", 0.1), ("int8", 0.15),
                                                ("qat_int8", 0.15), ("distil_12", 1.0)])
def test_smaller_variants_remember_too(name, distance, monkeypatch):
    short = fit.Course(rounds=2, samples=600, epochs=2, last_epochs=2, learning_rate=1e-3)
    monkeypatch.setattr(qat, "COURSE", short)
    monkeypatch.setattr(variants.distil, "COURSE", short)
    monkeypatch.setattr(variants, "CALIBRATION_SAMPLES", 600)
    teacher, inputs = seen()
    model = policy_bundle.unpack(packed()).member("actor.tflite")
    smaller = variants.Maker(model, teacher, 0, 1.0, lambda _: None).make(name)
    assert len(smaller) < len(model)
    graph = LiteRTGraph(smaller)
    assert graph.inputs == teacher.graph.inputs and graph.outputs == teacher.graph.outputs
    found, expected = graph(inputs), teacher.graph(inputs)
    assert np.abs(found["action"] - expected["action"]).mean() < distance
    other = graph({**inputs, "state_0": inputs["state_0"] + 0.5})
    assert np.abs(other["action"] - found["action"]).max() > 0.01


def test_the_command_compresses_it_and_its_speed_is_measured(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(variants, "CALIBRATION_SAMPLES", 200)
    (tmp_path / "given.zip").write_bytes(packed())
    assert command.main("given.zip", ["float32", "dynamic_int8"], {
        "episodes": "2", "seconds": "0", "num_threads": "1", "output": "out"}) == 0, capsys.readouterr().err
    found = policy_bundle.read("out/policy.zip")
    assert found.manifest.inputs == policy_bundle.INPUTS and found.manifest.memory_id == "kin"
    rows = {row["name"]: row for row in json.loads((tmp_path / "out" / "report.json").read_text())["rows"]}
    assert rows["float32"]["max_action_difference"] < 1e-4 and rows["dynamic_int8"]["mean_action_difference"] < 0.1
    for kind in ("litert", "numpy", "keras_function"):
        figures = probe.run(probe.Job("out/policy.zip", kind, seconds=0.01, paced_seconds=0.05))
        assert figures.decisions >= 100
