"""Stacked networks against what is known of their data, and the learner that keeps it."""

import numpy as np
import pytest
import tensorflow as tf

from ant_rl_core.step import Transition
from trainer import checkpoint
from trainer.models.data.rows import Rows
from trainer.models.ensemble import Ensemble, EnsembleConfig
from trainer.models.fit import FitConfig, Fitter
from trainer.models.learned import LearnedModel
from trainer.models.learner import ModelLearner, ModelLearnerConfig


def fitted(config, inputs, outputs, batches, seed=0, **settings):
    ensemble = Ensemble(config, inputs.shape[1], outputs.shape[1], seed)
    rng = np.random.default_rng(seed)
    times = rng.poisson(1.0, (len(inputs), config.members))
    held_out = rng.random(len(inputs)) < 0.1
    Fitter(ensemble, FitConfig(batches_per_look=100, **settings), seed).fit(
        inputs.astype(np.float32), outputs.astype(np.float32), times, held_out, batches, decay=True)
    return ensemble


@pytest.fixture(scope="module")
def linear_gaussian():
    """s' = A s + B a + w with w of standard deviation 0.1; A, B beside each other, and an ensemble that learned it."""
    rng = np.random.default_rng(1)
    matrix = np.concatenate([0.6 * rng.normal(size=(3, 3)), rng.normal(size=(3, 2))], axis=1)
    inputs = rng.normal(size=(40_000, 5))
    outputs = inputs @ matrix.T + 0.1 * rng.normal(size=(40_000, 3))
    return matrix, fitted(EnsembleConfig(members=3, model_hidden=(32, 32), gaussian=True), inputs, outputs, 1500,
                          model_learning_rate=1e-2)


def test_a_linear_system_is_learned_with_its_noise(linear_gaussian):
    matrix, ensemble = linear_gaussian
    rng = np.random.default_rng(2)
    inputs = rng.normal(size=(2000, 5)).astype(np.float32)
    with tf.GradientTape() as tape:
        x = tf.constant(inputs)
        tape.watch(x)
        mean = tf.reduce_mean(ensemble.predict(x).mean, axis=0)
    jacobian = tape.batch_jacobian(mean, x).numpy().mean(axis=0)
    assert np.linalg.norm(jacobian - matrix) < 0.02 * np.linalg.norm(matrix)
    std = ensemble.predict(tf.constant(inputs)).std.numpy()
    assert np.abs(std.mean(axis=1) / 0.1 - 1).max() < 0.1
    # Likelihood in the outputs' own units, against the entropy of the noise.
    outputs = inputs @ matrix.T + 0.1 * rng.normal(size=(2000, 3))
    nats = ensemble.losses(inputs, outputs.astype(np.float32)).numpy() + np.log(
        np.sqrt(ensemble.output_statistics.variance)).mean()
    assert np.abs(nats - (0.5 * np.log(2 * np.pi * np.e) + np.log(0.1))).max() < 0.02


@pytest.fixture(scope="module")
def toy():
    """y = sin 3x with noise that grows from left to right, learned on |x| < 1."""
    rng = np.random.default_rng(3)
    x = rng.uniform(-1, 1, (20_000, 1))
    y = np.sin(3 * x) + (0.05 + 0.1 * (x + 1)) * rng.normal(size=x.shape)
    return fitted(EnsembleConfig(members=5, model_hidden=(32, 32), gaussian=True), x, y, 1500, model_learning_rate=1e-2)


def test_heads_say_where_the_noise_is(toy):
    x = np.linspace(-0.8, 0.8, 9, dtype=np.float32)[:, None]
    std = toy.predict(tf.constant(x)).std.numpy().mean(axis=0)[:, 0]
    assert np.abs(std / (0.05 + 0.1 * (x[:, 0] + 1)) - 1).max() < 0.2
    far = toy.predict(tf.constant([[1e6], [-1e6]])).std.numpy()
    scale = np.sqrt(toy.output_statistics.variance[0])
    assert np.isfinite(far).all() and far.min() > 0.99e-3 * scale and far.max() < 3.01 * scale


def test_members_disagree_where_there_was_nothing_to_learn_from(toy):
    inside = toy.spread(tf.constant(np.linspace(-0.9, 0.9, 50, dtype=np.float32)[:, None])).numpy().mean()
    outside = toy.spread(tf.constant(np.linspace(1, 3, 9, dtype=np.float32)[:, None])).numpy()
    assert outside[-1] > 5 * inside
    assert (np.diff(outside) > 0).all()


def test_members_begin_with_other_weights():
    kernels = Ensemble(EnsembleConfig(members=4), 5, 3, 0).learned[0].numpy()
    assert all(np.abs(kernels[i] - kernels[j]).mean() > 0.1 for i in range(4) for j in range(i))


def test_scaling_is_that_of_the_rows_and_a_constant_stays_one():
    rng = np.random.default_rng(4)
    inputs, outputs = rng.normal(3, 2, (500, 4)), rng.normal(-1, 5, (500, 3))
    inputs[:, 1], outputs[:, 2] = 7.0, 0.0
    ensemble = Ensemble(EnsembleConfig(members=2, model_hidden=(8,)), 4, 3, 0)
    ensemble.normalize(inputs.astype(np.float32), outputs.astype(np.float32))
    for statistics, rows in ((ensemble.input_statistics, inputs), (ensemble.output_statistics, outputs)):
        rows = rows.astype(np.float32).astype(np.float64)
        np.testing.assert_allclose(statistics.mean, rows.mean(axis=0), atol=1e-6)
        np.testing.assert_allclose(statistics.variance, rows.var(axis=0), atol=1e-6, rtol=1e-6)
    inputs[:3, 1] = 1e4  # what never varied does now
    found = ensemble.predict(tf.constant(inputs[:3], tf.float32))
    assert np.isfinite(found.mean.numpy()).all() and (found.mean.numpy()[..., 2] == 0).all()
    again = Ensemble(EnsembleConfig(members=2, model_hidden=(8,)), 4, 3, 9)
    again.restore(ensemble.save())
    for name, array in ensemble.save().items():
        np.testing.assert_array_equal(again.save()[name], array)
    assert (again.predict(tf.constant(inputs[:3], tf.float32)).mean.numpy() == found.mean.numpy()).all()
    with pytest.raises(ValueError, match="other networks"):
        Ensemble(EnsembleConfig(members=2, model_hidden=(9,)), 4, 3, 0).restore(ensemble.save())


def test_a_fit_ends_early_with_the_weights_that_were_best():
    """Of twenty rows, whose noise is learned by heart."""
    rng = np.random.default_rng(5)
    inputs = rng.normal(size=(60, 2)).astype(np.float32)
    outputs = (inputs[:, :1] + rng.normal(size=(60, 1))).astype(np.float32)
    ensemble, held_out = Ensemble(EnsembleConfig(members=2, model_hidden=(64,)), 2, 1, 0), np.arange(60) >= 20
    fitter = Fitter(ensemble, FitConfig(batches_per_look=20, patience=3, model_learning_rate=1e-2), 0)
    judged, seen = (inputs[held_out], outputs[held_out]), []

    def looks(numbers):
        for number in numbers:
            seen.append(ensemble.losses(*judged).numpy())
            yield number

    figures = fitter.fit(inputs, outputs, np.ones((60, 2), np.int64), held_out, 2000, shown=looks)
    assert figures["model_batches"] == 20 * len(seen) == fitter.batches < 2000 and figures["model_rows"] == 20
    found = ensemble.losses(*judged).numpy()
    assert (found <= np.min(seen, axis=0) * (1 + 1e-5)).all() and (found < seen[-1]).all()
    assert found.mean() == pytest.approx(figures["model_held_out"], rel=1e-5)
    squares = np.square(ensemble.normalized(inputs[held_out]).mean - ensemble.normalized_outputs(outputs[held_out]))
    np.testing.assert_allclose(ensemble.residual.numpy(), np.sqrt(squares.mean(axis=1)), rtol=1e-5)
    assert found.mean() < figures["model_loss"] + 1.5 and figures["model_loss"] < found.mean()


NUM_ENVS = 3


def ticks(count, seed):
    rng = np.random.default_rng(seed)
    for _ in range(count):
        observation, following = rng.normal(size=(2, NUM_ENVS, 105)).astype(np.float32)
        no = np.zeros(NUM_ENVS, bool)
        yield Transition(observation, rng.uniform(-1, 1, (NUM_ENVS, 8)).astype(np.float32),
                         rng.normal(size=NUM_ENVS).astype(np.float32), no, no, following)


def learner(**settings):
    return ModelLearner(LearnedModel(EnsembleConfig(members=2, model_hidden=(8,)), 5), ModelLearnerConfig(
        held_out_share=0.3, held_out_ticks=10, model_batch_size=16, batches_per_look=5, **settings), NUM_ENVS, seed=6)


def test_rows_are_split_and_weighed_once_and_the_oldest_go():
    kept = learner(model_capacity=200 * NUM_ENVS)
    for tick in ticks(150, 0):
        kept.observe(tick)
    first = kept.save()
    held = first["row_held_out"].reshape(15, 10, NUM_ENVS)
    assert (held == held[:, :1]).all() and 0.1 < held.mean() < 0.5
    assert np.bincount(first["row_times"].reshape(-1), minlength=3)[0] / first["row_times"].size == pytest.approx(
        np.exp(-1), abs=0.07)
    assert (first["row_times"][:, 0] != first["row_times"][:, 1]).any()
    for tick in ticks(100, 1):
        kept.observe(tick)
    assert len(kept) == 200 * NUM_ENVS and kept.added == 250 * NUM_ENVS
    for name, array in kept.save().items():
        if name.startswith("row_"):
            np.testing.assert_array_equal(array[:100 * NUM_ENVS], first[name][50 * NUM_ENVS:], err_msg=name)


def test_a_learner_without_held_out_rows_says_so():
    empty = learner()
    with pytest.raises(ValueError, match="some that are held out, found 0"):
        empty.fit(10)
    empty.add(Rows.of(next(ticks(1, 0))), np.zeros(NUM_ENVS, bool))
    with pytest.raises(ValueError, match="found 3, of which 0 are held out"):
        empty.fit(10)


def test_a_learner_goes_on_from_a_checkpoint_bit_for_bit(tmp_path):
    unbroken = learner()
    for tick in ticks(55, 0):
        unbroken.observe(tick)
    unbroken.fit(20)
    checkpoint.save(tmp_path / "checkpoint.npz", unbroken.save())
    resumed = learner()
    resumed.restore(checkpoint.load(tmp_path / "checkpoint.npz"))
    for each in (unbroken, resumed):
        for tick in ticks(50, 1):
            each.observe(tick)
    assert unbroken.fit(20) == resumed.fit(20)
    found = resumed.save()
    for name, array in unbroken.save().items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)
    assert resumed.batches == unbroken.batches > 20 and any(np.any(v) for v in resumed.variables())
    with pytest.raises(ValueError, match="expected a model learned from 2 robots, found 3"):
        ModelLearner(unbroken.model, ModelLearnerConfig(), 2).restore(unbroken.save())
