"""How good a model is said to be, against systems of which that is known; and models as files."""

import json

import numpy as np
import pytest

from ant_env_node.beside.again import Again
from ant_env_node.vec_env import VectorAnt
from ant_rl_core.step import TimeStepEnv, Transition
from trainer import checkpoint
from trainer.buffers.replay import ReplayBuffer
from trainer.models import model_file, quality
from trainer.models.copy import CopyModel
from trainer.models.data.replayed import replay_stretches
from trainer.models.data.resimulated import resimulated
from trainer.models.data.rows import Rows, Stretch, stretches
from trainer.models.ensemble import EnsembleConfig
from trainer.models.interface import Moment, start
from trainer.models.learned import LearnedModel
from trainer.models.linear import LinearModel
from trainer.models.rollout import default_reward, known_reward

RNG = np.random.default_rng(0)
TURN = np.linalg.qr(RNG.normal(size=(27, 27)))[0] * 0.95
NOISE = 0.1


class Linear:
    """s' = A s, with a displacement along x that is the first number of s."""

    begin = staticmethod(start)

    def __init__(self, matrix):
        self.matrix = matrix

    def step(self, moment, action):
        state = moment.state @ self.matrix.T
        moved = np.stack([moment.state[:, 0], 0 * moment.state[:, 0]], axis=1)
        return Moment(state, moment.place + moved, moved, 0 * moment.contact)


def walk(length, seed, noise=0.0, end=0):
    """A stretch of the system; the numbers before `end` are of another episode, far off."""
    rng = np.random.default_rng(seed)
    state = [rng.normal(size=27)]
    for _ in range(length):
        state.append(TURN @ state[-1] + noise * rng.normal(size=27))
    observation = np.concatenate([np.array(state), np.zeros((length + 1, 78))], axis=1)
    observation[:, :27] += end
    zeros = np.zeros((length, 2))
    return Stretch(observation, np.zeros((length, 8)), np.zeros(length), zeros)


def test_errors_are_what_they_must_be():
    wrong = TURN + 0.01 * RNG.normal(size=(27, 27))
    real = quality.windows([walk(50, seed) for seed in range(40)], 50, 40, np.random.default_rng(0))
    states, _ = quality.imagined(Linear(wrong), real.start, real.action)
    power = np.linalg.matrix_power
    for k in (1, 5, 15, 50):
        off = sum(power(TURN, k - 1 - i) @ (wrong - TURN) @ power(wrong, i) for i in range(k)) @ real.start.T
        np.testing.assert_allclose(states[k - 1] - real.state[k - 1], off.T, atol=1e-5)
        scale = np.linspace(1, 2, 27)
        found = quality.judged(states, np.zeros((50, 40)), real, scale)
        assert found.error[k - 1] == pytest.approx(np.median(np.sqrt(np.square(off.T / scale).mean(axis=1))), rel=1e-6)


def test_the_reward_that_is_judged_is_the_model_s_own_where_it_has_one():
    class Telling(Linear):
        def step(self, moment, action):
            after = super().step(moment, action)
            return after._replace(reward=known_reward(moment, action, after) + 0.3)

    real = quality.windows([walk(5, seed) for seed in range(9)], 5, 9, np.random.default_rng(0))
    states, rewards = quality.imagined(Linear(TURN), real.start, real.action)
    came = quality.Windows(real.start, real.action, real.state, rewards)
    for reward, off in ((default_reward, 0.3), (known_reward, 0.0)):
        found = quality.judged(*quality.imagined(Telling(TURN), real.start, real.action, reward), came, np.ones(27))
        np.testing.assert_allclose(found.error, 0, atol=1e-9)
        np.testing.assert_allclose(found.reward_error, off * np.arange(1, 6), atol=1e-9)


def test_noise_adds_up_as_it_must():
    real = quality.windows([walk(15, seed, NOISE) for seed in range(1500)], 15, 1500, np.random.default_rng(0))
    states, _ = quality.imagined(Linear(TURN), real.start, real.action)
    for k in (1, 5, 15):
        powers = [np.linalg.matrix_power(TURN, i) for i in range(k)]
        variance = sum(NOISE**2 * np.diag(each @ each.T) for each in powers)
        np.testing.assert_allclose((states[k - 1] - real.state[k - 1]).var(axis=0), variance, rtol=0.2)


def test_rewards_are_summed_and_what_never_varies_is_left_out():
    real = quality.Windows(np.zeros((2, 27)), np.zeros((3, 2, 8)), np.zeros((3, 2, 27)), np.array([[1.0, 2]] * 3))
    scale = np.ones(27)
    scale[4] = 0
    states = np.zeros((3, 2, 27))
    states[..., 4], states[..., 5] = 9.0, 2.0
    found = quality.judged(states, np.array([[1.5, 2]] * 3), real, scale)
    np.testing.assert_allclose(found.error, 2 / np.sqrt(26))
    np.testing.assert_allclose(found.reward_error, [0.25, 0.5, 0.75])
    np.testing.assert_allclose(found.reward, [1.5, 3, 4.5])


def test_windows_lie_within_episodes():
    episodes = [walk(12, 1), walk(3, 2, end=1000), walk(12, 3, end=2000)]
    real = quality.windows(episodes, 5, 100, np.random.default_rng(0))
    assert len(real.start) == 16  # 8 of each long one
    whole = np.concatenate([real.start[None], real.state])
    assert (np.ptp(whole, axis=0) < 100).all()
    assert quality.windows(episodes, 13, 100, np.random.default_rng(0)) is None


def test_pieces_are_held_back():
    learned, held = quality.split([walk(95, 0), walk(30, 1)], 0.3, 20, np.random.default_rng(0))
    lengths = [len(piece) for piece in (*learned, *held)]
    assert sorted(lengths) == [10, 15, 20, 20, 20, 20, 20] and 0.2 * 125 < sum(map(len, held)) < 0.4 * 125
    with pytest.raises(ValueError, match="at least 100 steps, so that 10 % can be held back in pieces of 20, found 99"):
        quality.split([walk(99, 0)], 0.1, 20, np.random.default_rng(0))


def test_stretches_end_where_episodes_do_and_where_ticks_are_missing():
    def tick(number, ends=(), missing=()):
        observation = np.full((2, 105), number, np.float32)
        for row in missing:
            observation[row] += 0.5
        end = np.isin([0, 1], ends)
        return Transition(observation, np.full((2, 8), number, np.float32), np.full(2, number, np.float32), end,
                          np.zeros(2, bool), np.full((2, 105), number + 1, np.float32))
    found = stretches([tick(0), tick(1, ends=[1]), tick(2), tick(3, missing=[0])])
    assert [each.reward.tolist() for each in found] == [[0, 1, 2], [3], [0, 1], [2, 3]]
    assert found[0].observation[:, 0].tolist() == [0, 1, 2, 3] and found[1].observation[:, 0].tolist() == [3.5, 4]
    assert stretches([]) == []


@pytest.fixture(scope="module")
def walked():
    """Ticks of four robots with random torques, and how far they moved."""
    rng = np.random.default_rng(1)
    made, moved = [], []
    with VectorAnt(4, 1, 1) as ant:
        env = TimeStepEnv(ant)
        before = env.reset()
        for _ in range(60):
            action = rng.uniform(-1, 1, (4, 8)).astype(np.float32)
            place = np.array([ant.data(row).qpos[:2] for row in range(4)])
            after = env.step(action)
            moved.append(np.array([ant.data(row).qpos[:2] for row in range(4)]) - place)
            made.append(Transition(before.observation, action, after.reward, after.terminated, after.truncated,
                                   after.final_observation))
            before = after
    return made, np.array(moved)


def test_what_is_not_recorded_is_simulated_again(walked):
    made, moved = walked
    found = stretches(made)
    again = resimulated(found)
    whole = [place for place, each in enumerate(found) if len(each) == 60]
    assert whole
    for place in whole:
        (row,) = np.flatnonzero((made[0].action == found[place].action[0]).all(axis=1))
        np.testing.assert_allclose(again[place].displacement, moved[:, row], atol=1e-5)
        assert np.abs(again[place].reward - found[place].reward).mean() < 0.02
    other = [Stretch(each.observation, -each.action, each.reward, each.displacement) for each in found]
    with pytest.raises(ValueError, match="expected steps of the stock Ant-v5, found 100 % that MuJoCo makes otherwise"):
        resimulated(other)
    with Again(2) as twice:  # the number of threads changes nothing
        state, action = found[0].state[:8], found[0].action[None, :8]
        assert (twice.run(state, action).state == Again().run(state, action).state).all()


def named(replay):
    return {f"learner.replay_{name}": array for name, array in replay.save().items()}


def test_the_replay_of_a_training_is_read_as_it_was(walked, tmp_path):
    made, _ = walked
    for capacity, kept in ((1000, 60), (4 * 25, 25)):
        replay = ReplayBuffer(capacity, 4, 105, 8, 0)
        for each in made:
            replay.add(each)
        path = tmp_path / f"{capacity}.npz"
        checkpoint.save(path, named(replay))
        for found, expected in zip(replay_stretches(path), stretches(made[-kept:]), strict=True):
            for name in ("observation", "action", "reward", "displacement"):
                np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    checkpoint.save(tmp_path / "other.npz", {"learner.variable_0": np.zeros(3)})
    with pytest.raises(ValueError, match="must hold a replay buffer, found none"):
        replay_stretches(tmp_path / "other.npz")
    small = ReplayBuffer(10, 1, 3, 1, 0)
    for observations in (0, 1):
        checkpoint.save(tmp_path / "small.npz", named(small))
        with pytest.raises(ValueError, match=("found an empty replay buffer", "found 3 and 1")[observations]):
            replay_stretches(tmp_path / "small.npz")
        ones = np.ones((1, 3), np.float32)
        small.add(Transition(ones, ones[:, :1], ones[0, :1], ones[0, :1] > 2, ones[0, :1] > 2, ones))


def test_least_squares_find_a_linear_system_and_copying_goes_on():
    rng = np.random.default_rng(0)
    state, action = rng.normal(size=(500, 27)), rng.uniform(-1, 1, (500, 8))
    following = state + 0.1 * state @ TURN + action @ rng.normal(size=(8, 27))
    following[:, 1:5] /= np.linalg.norm(following[:, 1:5], axis=1, keepdims=True)
    rows = Rows(state, action, following, state[:, 3:5], np.abs(action[:, 0]) * 0 + 1, np.zeros(500))
    linear = LinearModel(rows)
    after = linear.step(linear.begin(state), action)
    free = [0, *range(5, 27)]
    np.testing.assert_allclose(after.state[:, free], following[:, free], atol=1e-8)
    np.testing.assert_allclose(after.displacement, state[:, 3:5], atol=1e-8)
    copied = CopyModel().step(start(state), action)
    assert copied.state is not None and (copied.state == state).all()
    np.testing.assert_allclose(copied.place, 0.05 * state[:, 13:15])


def test_a_model_file_gives_the_model_back(tmp_path):
    model = LearnedModel(EnsembleConfig(members=2, model_hidden=(6, 5), reward_head=True), 4)
    rng = np.random.default_rng(0)
    model.ensemble.normalize(rng.normal(size=(9, 35)), rng.normal(size=(9, 31)))
    path = tmp_path / "model.npz"
    model_file.write(path, model, {"seed": 4})
    found = model_file.read(path)
    state, action = np.ones((2, 27), np.float32), np.ones((2, 8), np.float32)
    for mine, theirs in zip(model.step(model.begin(state), action)[:5], found.step(found.begin(state), action)[:5],
                            strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert model_file.manifest_of(path)["about"] == {"seed": 4}

    whole = dict(checkpoint.load(path))
    manifest = json.loads(str(whole["manifest"]))

    def refused(match, **changes):
        arrays = {**whole, **changes}
        checkpoint.save(path, {name: array for name, array in arrays.items() if array is not None})
        with pytest.raises(model_file.ModelError, match=match) as error:
            model_file.read(path)
        assert "\n" not in str(error.value)

    refused("expected a model of an Ant-v5, found one of Ant-v4", manifest=np.asarray(json.dumps(
        {**manifest, "robot": "Ant-v4"})))
    refused("of 35 inputs and 31 outputs, found one of 112 and 31", manifest=np.asarray(json.dumps(
        {**manifest, "inputs": 112})))
    refused(r"expected weights of the sizes \[6, 5\] that its manifest tells, found", weight_0=np.zeros((2, 35, 7)))
    refused("can't be made", residual=None)
    refused("can't be made", manifest=np.asarray(json.dumps({**manifest, "config": {"depth": 3}})))
    refused("found something else", manifest=np.asarray(json.dumps({"kind": "something"})))
    refused("found none that can be read", manifest=None)
    (tmp_path / "text.npz").write_text("no model")
    with pytest.raises(model_file.ModelError, match="found none that can be read"):
        model_file.read(tmp_path / "text.npz")
