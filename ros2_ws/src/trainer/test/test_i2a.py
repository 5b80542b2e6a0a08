"""I2A against what can be known: whose rollout is whose, what may count, what only a model can tell."""


import keras
import numpy as np
import pytest
import tensorflow as tf

from ant_env_node.make import ants
from ant_rl_core import bundle as policy_bundle, settings as reading
from ant_rl_core.bundle import BundleError
from ant_rl_core.settings import ArgumentError
from ant_rl_core.step import Previous, TimeStep, TimeStepEnv
from policy_node.actor import load_actor
from policy_node.litert_actor import LiteRTGraph
from trainer import loop
from trainer.algorithms.model_based.i2a import I2A, I2AConfig
from trainer.algorithms.model_based.imagination import STEP_SIZE, Shape, candidates, directions, steps_of, told
from trainer.algorithms.model_based.rollout_policy import RolloutPolicy
from trainer.compress import quantize
from trainer.compress.differentiable import DifferentiableGraph
from trainer.compress.numpy_graph import NumpyGraph
from trainer.export.policy_graph import litert_bytes
from trainer.models import model_file
from trainer.models.dense import DenseModel
from trainer.models.ensemble import EnsembleConfig
from trainer.models.interface import Moment, start
from trainer.models.learned import LearnedModel
from trainer.models.rollout import imagine, imagine_rows
from trainer.networks.encoder import Encoder
from trainer.runs import train
from trainer.runs.train_config import choose_over_ros

SMALL = dict(total_steps=10_000, rollout_length=8, minibatch_size=8, epochs=2, actor_hidden=(8,), critic_hidden=(8,),
             branches=3, horizon=2, code_size=4, joint_size=8, rollout_policy_hidden=(8,), model_hidden=(8,),
             random_steps=16, model_steps=16, model_batches=4, learning_rate=3e-3)


def robots(n, seed=0):
    observation = np.random.default_rng(seed).normal(size=(n, 105)).astype(np.float32)
    observation[:, 0] = 0.6
    return observation


def a_model(hidden=(8,), **settings):
    model = LearnedModel(EnsembleConfig(members=1, model_hidden=hidden, **settings), 3)
    rng = np.random.default_rng(0)
    outputs = 0.1 * rng.normal(size=(50, model.ensemble.outputs))
    outputs[:, 3] = 0.0  # never varies
    model.ensemble.normalize(rng.normal(size=(50, 35)), outputs)
    return model


def learner(tmp_path, num_envs=2, seed=1, hidden=(8,), **settings):
    """One that imagines from the start, by a model that it is given, with weights that make imagining count."""
    path = tmp_path / "model.npz"
    model_file.write(path, a_model(hidden))
    made = I2A(I2AConfig(**{**SMALL, "model": str(path), **settings}), num_envs, 105, 8, seed)
    rng = np.random.default_rng(seed)
    for variable in made.model.variables:
        if not variable.numpy().any():
            variable.assign(0.3 * rng.normal(size=variable.shape))
    made.model.learned_from(np.random.default_rng(7).normal(0.1, 2.0, (100, 2, 105)).astype(np.float32))
    return made


def act(made, observation):
    n = len(observation)
    return made.act(observation, Previous.none(n, 8), (), np.zeros(n, bool))


# -- what is imagined -------------------------------------------------------------------------------------------------

def test_first_actions_are_pairs_at_right_angles():
    assert (directions(8) @ directions(8).T == 8 * np.eye(8)).all()
    action = np.full((2, 8), 0.1, np.float32)
    first = candidates(action, Shape(branches=5, candidate_size=0.3))
    assert len(first) == 5 and (first[0] == action).all()
    for plus, minus in ((1, 2), (3, 4)):
        np.testing.assert_allclose(first[plus] + first[minus], 2 * action, atol=1e-6)
        np.testing.assert_allclose(np.abs(first[plus] - action), 0.3, atol=1e-6)
    assert np.abs(np.concatenate(candidates(0.9 + 0 * action, Shape()))).max() == 1


@pytest.mark.parametrize("reward_head", [False, True])
def test_dense_layers_give_what_the_learned_model_gives(reward_head):
    learned = a_model((8, 8), reward_head=reward_head)
    dense = DenseModel(learned)
    dense.renew()
    rng = np.random.default_rng(1)
    moment, action = learned.begin(robots(50)), tf.constant(rng.uniform(-1, 1, (50, 8)), tf.float32)
    for _ in range(3):
        wanted, found = learned.step(moment, action), dense.step(moment, action)
        for each, other in zip(wanted[:5], found[:5], strict=True):
            assert (each is None) == (other is None)
            if each is not None:
                np.testing.assert_allclose(other, each, rtol=1e-5, atol=1e-5)
        moment = wanted


def test_a_robots_rollouts_are_its_own(tmp_path, eager):
    """Perturbed, only its own code changes; in another order, the codes are in that order."""
    made = learner(tmp_path, 5, branches=5)
    imagination, observation = made.model.imagination, robots(5)
    found = imagination.of(observation)
    other = observation.copy()
    other[2, 13:27] += 0.5
    changed = (imagination.of(other) != found).any(axis=1)
    assert changed.tolist() == [False, False, True, False, False]
    order = np.array([3, 0, 4, 1, 2])
    np.testing.assert_allclose(imagination.of(observation[order]), found[order], rtol=1e-5, atol=1e-6)

    encoder, shape = Encoder(4, np.random.SeedSequence(0)), imagination.shape

    def codes(rows):  # [K, n, 4]
        return encoder(steps_of(tf.constant(rows), shape)[0]).numpy().reshape(5, -1, 4)
    assert (codes(imagination.of(other)) != codes(found)).any(axis=(0, 2)).tolist() == changed.tolist()
    # Of the steps of each robot those of branch k are the plain rollout from first action k.
    steps, first = steps_of(found, shape)
    model = made._stages.dense
    for k in range(5):
        alone = imagine(model, lambda moment: imagination._action(imagination._scaled(moment.state)),
                        tf.constant(observation), shape.horizon, first_action=tf.constant(first[k])[None])
        for h in range(shape.horizon):
            scaled = imagination._scaled(alone.next_state[h][0]).numpy() * alone.alive[h][0].numpy()[:, None]
            np.testing.assert_allclose(steps[h].reshape(5, 5, STEP_SIZE)[k, :, :27], scaled, rtol=1e-4, atol=1e-4)
            np.testing.assert_allclose(steps[h].reshape(5, 5, STEP_SIZE)[k, :, 30], alone.reward[h][0], atol=1e-4)


def test_one_branch_is_the_plain_rollout(tmp_path, eager):
    several, one = learner(tmp_path, branches=3), learner(tmp_path, branches=1)
    observation, shape = robots(3), Shape(3, 2)
    rows, alone = (made.model.imagination.of(observation) for made in (several, one))
    steps, first = steps_of(rows, shape)
    np.testing.assert_allclose(np.concatenate([*(each[:3] for each in steps), ], axis=1), alone[:, :-8], atol=1e-5)
    np.testing.assert_allclose(first[0], alone[:, -8:], atol=1e-6)


class Sinking:
    """A torso that sinks by 0.1 m in each step and ends at 0.2 m, of which nothing but the height can be read then."""

    begin = staticmethod(start)

    def __init__(self, garbage):
        self.garbage = garbage

    def step(self, moment, action):
        height = moment.state[:, :1] - 0.1
        rest = np.where(height < 0.2, self.garbage, moment.state[:, 1:])
        moved = np.where(height < 0.2, self.garbage, 0.05 * np.ones((len(height), 2)))
        return Moment(np.concatenate([height, rest], axis=1), moment.place + moved, moved,
                      np.where(height[:, 0] < 0.2, self.garbage, 1.0))


def test_nothing_that_follows_an_imagined_end_counts():
    shape, observation = Shape(3, 6), robots(4)[:, :27]
    observation[:, 0] = [0.95, 0.55, 0.45, 0.25]  # which end in step 8, 4, 3 and 1
    first = candidates(np.zeros((4, 8), np.float32), shape)

    def imagined_with(garbage):
        model = Sinking(garbage)
        return imagine_rows(model, lambda moment: 0 * moment.state[:, :8], model.begin(observation, 3), 6,
                            np.concatenate(first))

    def steps_told(imagined):  # [H, K * n, STEP_SIZE]
        return np.stack(steps_of(told(imagined, first, lambda state: np.clip(state + 1, -10, 10), shape), shape)[0])
    imagined = imagined_with(np.nan)
    steps, alive = steps_told(imagined), np.stack(imagined.alive)
    assert alive[:, :4].sum(axis=0).tolist() == [6, 4, 3, 1]
    assert (steps[alive == 0] == 0).all() and (steps[alive == 1][:, -1] == 1).all()
    # The step that leads to an end is told as the model has it, here as garbage; no bit of it is in what follows.
    ends = np.stack(imagined.terminated) == 1
    assert np.isnan(steps[ends]).any(axis=1).all() and np.isfinite(steps[~ends]).all()
    assert (steps_told(imagined_with(7.0))[~ends] == steps[~ends]).all()
    # What is planted after an end changes no bit of the code, nor does it come through the scaling.
    encoder = Encoder(4, np.random.SeedSequence(0))
    calm = steps_told(imagined_with(0.0))
    assert (encoder(list(tf.constant(calm, tf.float32))) == encoder(list(tf.constant(
        np.where(ends[..., None], calm, np.nan_to_num(steps)), tf.float32)))).numpy().all()


# -- the encoder ------------------------------------------------------------------------------------------------------

def by_hand(encoder, steps):
    """The same in float64, by numpy."""
    def gate(x):
        return 1 / (1 + np.exp(-x))
    kernel, bias = (each.numpy().astype(np.float64) for each in encoder._inside.weights)
    recurrent = encoder._recurrent.kernel.numpy().astype(np.float64)
    hidden = cell = np.zeros((len(steps[0]), recurrent.shape[0]))
    for step in steps[::-1]:
        enter, keep, leave, new = np.split(step @ kernel + bias + hidden @ recurrent, 4, axis=1)
        cell = gate(keep + 1) * cell + gate(enter) * np.tanh(new)
        hidden = gate(leave) * np.tanh(cell)
    return hidden


def test_the_encoder_reads_backwards_and_all_of_it():
    encoder = Encoder(16, np.random.SeedSequence(0))
    rng = np.random.default_rng(0)
    steps = [tf.Variable(rng.normal(size=(7, STEP_SIZE)), dtype=tf.float32) for _ in range(5)]
    with tf.GradientTape() as tape:
        codes = encoder(steps)
        total = tf.reduce_sum(codes)
    assert all(np.abs(slope.numpy()).max(axis=1).min() > 1e-6 for slope in tape.gradient(total, steps)), "of each step"
    np.testing.assert_allclose(codes, by_hand(encoder, [step.numpy() for step in steps]), atol=1e-5)
    assert np.abs(encoder(steps[::-1]) - codes).max() > 0.01, "order matters"
    assert (encoder([0 * step for step in steps]).numpy() == 0).all()

    x = keras.Input((5 * STEP_SIZE,), name="observation")
    runs = LiteRTGraph(litert_bytes(keras.Model(x, {"action": encoder(keras.ops.split(x, 5, axis=-1))})))
    found = runs({"observation": np.concatenate([step.numpy() for step in steps], axis=1)})["action"]
    np.testing.assert_allclose(found, codes, atol=1e-5)


# -- the rollout policy -----------------------------------------------------------------------------------------------

def test_the_rollout_policy_is_distilled_and_nothing_else_is():
    rng = np.random.default_rng(0)
    policy = RolloutPolicy((32,), 3e-3, 0)
    state = tf.constant(rng.normal(size=(512, 27)), tf.float32)
    teacher = tf.Variable(0.5 * np.tanh(state[:, :8]), dtype=tf.float32)
    std = tf.Variable(0.5 * np.ones(8), dtype=tf.float32)
    with tf.GradientTape() as tape:
        loss = policy.divergence(state, tf.convert_to_tensor(teacher), std)
    assert tape.gradient(loss, [teacher, std]) == [None, None]
    # The mean of the densities' logarithms of many draws says the same, to what so many draws can tell.
    mean, own = tf.convert_to_tensor(teacher).numpy()[:4], policy.network(state[:4]).numpy()
    drawn = mean + 0.5 * rng.normal(size=(200_000, 4, 8))
    logs = (np.square(drawn - own) - np.square(drawn - mean)).sum(axis=-1) / (2 * 0.25)
    assert policy.divergence(state[:4], mean, std).numpy() == pytest.approx(logs.mean(), rel=0.01)
    with tf.GradientTape() as tape:
        none = policy.divergence(state, policy.network(state), std)
    assert none == 0 and all((slope.numpy() == 0).all()
                             for slope in tape.gradient(none, policy.network.trainable_variables))
    target = tf.convert_to_tensor(teacher)
    found = [policy.learn(state, target, tf.convert_to_tensor(std), np.arange(512).reshape(8, 64)) for _ in range(120)]
    means = np.mean(np.reshape(found, (6, 20)), axis=1)
    assert (np.diff(means) < 0).all() and found[-1] < 0.02 < found[0]
    scaled = state.numpy()
    np.testing.assert_allclose(policy.action(scaled), np.tanh(policy.network(state)), atol=1e-5)


def test_ratios_are_one_also_after_the_rollout_policy_was_renewed(tmp_path, eager):
    made = learner(tmp_path)
    with ants(2, 0, 1) as robots_:
        env = TimeStepEnv(robots_)
        logs, seen = [], []
        before = env.reset()
        for _ in range(8):
            action, extras, _ = act(made, before.observation)
            after = env.step(action)
            logs.append(extras["log_prob"])
            seen.append(extras["imagined"])
            made.observe(loop.transition(before, action, after, extras, 1))
            before = after
    assert np.abs(np.stack(seen)).max() > 0.1
    for variable in made._policy.network.trainable_variables:  # as if renewed in the middle
        variable.assign(variable + 0.5)
    made._policy.renew()
    rollout = made._rollout()
    found, _, _ = made.model.evaluate(*rollout.data())
    density = made.model.head.drawn_log_prob(np.concatenate(logs), rollout.squashed)
    told_exactly = np.isfinite(density)
    assert told_exactly.sum() > 4
    ratio = np.exp(found.numpy() - density)[told_exactly]
    np.testing.assert_allclose(ratio, 1.0, atol=2e-5)
    again = made.model.imagine(before.observation)
    assert np.abs(again - seen[-1]).max() > 1e-3, "imagined anew, it would be something else"


def test_an_update_distils_and_leaves_the_model_alone(tmp_path, eager):
    made = learner(tmp_path)
    with ants(2, 0, 1) as live:
        env = TimeStepEnv(live)
        start_, policy, dense = env.reset(), [], []

        def keep(_):
            policy.append([v.numpy() for v in made._policy.network.trainable_variables])
            dense.append([v.numpy() for v in made._stages._model.ensemble.learned])
            return len(policy) == 2
        loop.run(env, made, made, start_, lambda _: False, keep)
    assert all((one != two).any() for one, two in zip(*policy, strict=True))
    assert all((one == two).all() for one, two in zip(*dense, strict=True))


# -- what only a model can tell ---------------------------------------------------------------------------------------

class HiddenSign:
    """Ants that stand still. The reward is half of 1 + sign * first torque, with a sign that is drawn for each episode
    and that no observation tells."""

    num_envs, observation_size, action_size, length = 16, 105, 8, 4

    def __init__(self):
        self._rng, self._ids = np.random.default_rng(0), np.arange(16)
        self._steps = np.zeros(16, np.uint32)
        self.sign = np.ones(16)

    def reset(self, seed=None):
        return self._start(np.ones(16, bool), np.zeros(16))

    def step(self, action):
        reward = 0.5 + 0.5 * self.sign * action[:, 0]
        self._steps += 1
        return self._start(self._steps == self.length, reward)

    def _start(self, done, reward):
        self.sign = np.where(done, self._rng.choice([-1.0, 1.0], 16), self.sign)
        self._ids = np.where(done, self._ids + 16, self._ids)
        self._steps[done] = 0
        observation, no = robots(16, 5), np.zeros(16, bool)
        return TimeStep(observation, reward.astype(np.float32), done, no, observation, self._ids.copy(),
                        self._steps.copy())


class KnowsTheSign:
    """A model of it, which does."""

    begin = staticmethod(start)

    def __init__(self, env):
        self._env = env

    def step(self, moment, action):
        sign = np.tile(self._env.sign, len(action) // 16)
        return moment._replace(reward=0.5 + 0.5 * sign * action[:, 0])


@pytest.mark.parametrize("knows", [True, False], ids=["perfect", "copy"])
def test_what_only_a_model_can_tell_is_learned_from_it_alone(knows):
    env = HiddenSign()
    config = I2AConfig(**{**SMALL, "total_steps": 6144, "rollout_length": 8, "minibatch_size": 64, "epochs": 5,
                          "learning_rate": 1e-2, "discount": 0.0, "horizon": 1, "random_steps": 0, "model_steps": 1,
                          "desired_kl": 0.0, "candidate_size": 1.0, "imagination": "perfect" if knows else "copy"})
    made = I2A(config, 16, 105, 8, 0)
    if knows:
        made.imagine_beside(KnowsTheSign(env))
    last = loop.run(env, made, made, env.reset(), lambda _: made.env_steps >= 6144, lambda _: False)
    total = []
    for _ in range(40):
        rows = made.model.rows(last.observation, made.model.imagine(last.observation))
        last = env.step(np.tanh(made.model.mean_of(rows)))
        total.append(last.reward.mean())
    assert np.mean(total) > 0.9 if knows else np.mean(total) < 0.55


# -- the simulator itself ---------------------------------------------------------------------------------------------

def test_the_perfect_model_imagines_what_then_happens(eager):
    config = I2AConfig(**{**SMALL, "imagination": "perfect", "random_steps": 0, "model_steps": 1})
    made = I2A(config, 2, 105, 8, 0)
    with ants(2, 0, 1) as live:
        made.meet(live)
        env = TimeStepEnv(live)
        before = env.reset()
        made.model.imagines = True
        for _ in range(3):
            rows = made.model.imagine(before.observation)
            steps, first = steps_of(rows, config.shape())
            after = env.step(first[0])  # what the first branch began with
            scaled = made.model.normalize.first(after.observation[:, :27], 27)
            np.testing.assert_allclose(steps[0][:2, :27], np.clip(scaled, -10, 10), atol=1e-5)
            np.testing.assert_allclose(steps[0][:2, 30], after.reward, atol=1e-5)
            before = after


# -- settings, files, the graph ---------------------------------------------------------------------------------------

def test_without_imagination_as_many_numbers_are_learned():
    with_, without = (I2A(I2AConfig(imagination=kind), 16, 105, 8, 0).model for kind in ("copy", "none"))
    counts = [sum(int(np.prod(v.shape)) for v in model.variables) for model in (with_, without)]
    assert counts[0] <= counts[1] < 1.02 * counts[0] and without.imagination is None


@pytest.mark.parametrize(("settings", "text"), [
    ({"branches": "4"}, "branches must be odd"), ({"model": "x", "imagination": "copy"}, "model must be left out"),
    ({"branches": "19"}, "branches must be from 1 to 17")])
def test_settings_that_do_not_go_together_are_refused(settings, text):
    with pytest.raises(ArgumentError, match=text):
        reading.build([I2AConfig], settings)


def test_other_robots_and_models_are_refused(tmp_path, capsys):
    with pytest.raises(ValueError, match="i2a imagines an Ant, expected 27 observations or more and 8 actions, found 3 "
                                         "and 1: use imagination:=none"):
        I2A(I2AConfig(), 1, 3, 1, 0)
    (tmp_path / "no.npz").write_bytes(b"no model")
    assert train.main("i2a", {"model": str(tmp_path / "no.npz"), "output": str(tmp_path / "run")}) == 2
    assert "expected the file of an environment model" in capsys.readouterr().err
    with pytest.raises(ArgumentError, match="looks into the simulation"):
        choose_over_ros("i2a", {"imagination": "perfect"}, str(tmp_path), 0, 0, False)
    made = learner(tmp_path)
    other = learner(tmp_path, hidden=(6,))
    with pytest.raises(ValueError, match="other networks"):
        made.restore(other.save())


def test_the_exported_graph_imagines_as_the_learner_does(tmp_path):
    """Of the usual sizes: one small graph without a state, of independent rows, whatever is observed."""
    sizes = {name: getattr(I2AConfig(), name) for name in SMALL if name not in ("rollout_length", "minibatch_size")}
    made = learner(tmp_path, hidden=sizes["model_hidden"], **sizes)
    observation, previous, no = robots(6, 3), Previous.none(6, 8), np.zeros(6, bool)
    for _ in range(2):
        bundle = policy_bundle.unpack(made.policy())
        assert bundle.manifest.state_shapes == () and made.model.graph._templates is not None
        assert len(bundle.member("actor.tflite")) <= 600_000
        wanted = np.tanh(made.model.mean_of(made.model.rows(observation, made.model.imagine(observation))))
        actors = {backend: load_actor(bundle, backend) for backend in ("litert", "keras")}
        for backend, actor in actors.items():
            np.testing.assert_allclose(actor.act(observation, previous, (), no)[0], wanted, atol=1e-5, err_msg=backend)
        act = actors["litert"].act
        other = observation.copy()
        other[1, 20] += 3.0
        found = act(other, previous, (), no)[0]
        assert (found != act(observation, previous, (), no)[0]).any(axis=1).tolist() == [False, True] + 4 * [False]
        alone = [act(each[None], Previous.none(1, 8), (), no[:1])[0][0] for each in other]
        np.testing.assert_allclose(alone, found, atol=1e-6)
        for far in (1e3, -1e3, 0.0):
            assert np.isfinite(act(0 * observation + far, previous, (), no)[0]).all()
        # Once more by the template, with other weights of every kind.
        for variable in [*made.model.variables, *made._policy.network.trainable_variables,
                         *made._stages._model.ensemble.learned]:
            variable.assign(1.05 * variable + 0.01)
        made._stages._renew()
        made.model.learned_from(np.random.default_rng(9).normal(0.3, 3.0, (100, 2, 105)).astype(np.float32))
    graph = bundle.member("actor.tflite")
    np.testing.assert_allclose(NumpyGraph(graph)({"observation": other})["action"], found, atol=1e-5)
    assert len(quantize.float16(graph)) < 0.7 * len(graph)
    with pytest.raises(BundleError, match="one that is used in [0-9]+ places, as by an actor that imagines"):
        quantize.dynamic_int8(graph, {"observation": other})
    with pytest.raises(BundleError, match="operations that can be learned further"):
        DifferentiableGraph(graph)
