"""RL^2: what the actor is told and remembers, sums over whole trials, and gradients that stop where memory does."""

import json
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from ant_env_node.tasks.bandit import Bandit, bayes_optimal
from ant_env_node.tasks.worlds import World
from ant_rl_core import bundle as policy_bundle
from ant_rl_core.bundle import INPUTS
from ant_rl_core.spec import RobotSpec
from ant_rl_core.step import Previous
from ant_rl_core.testing import FakeVectorEnv
from policy_node.actor import load_actor
from trainer import loop
from trainer.algorithms.meta.rl2 import RL2, RL2Config
from trainer.export.policy_graph import deterministic_graph
from trainer.networks.recurrent_actor import NumpyRecurrentActor, RecurrentActor
from trainer.runs import evaluate, train
from trainer.runs.evaluate_world import trial_returns

SMALL = RL2Config(rollout_length=7, epochs=2, minibatch_rows=2, total_steps=1000, actor_hidden=(6,), critic_hidden=(8,),
                  input_hidden=(5,), memory_size=4, discount=0.9, gae_lambda=0.8)
SIZES = dict(zip(INPUTS, (5, 2, 1, 1), strict=True))
cells = pytest.mark.parametrize("cell", ["gru", "lstm", "none"])


class Trials(FakeVectorEnv):
    """Trials of two episodes, rewards of the size of untrained values."""

    def __init__(self, num_envs=2, lengths=(3, 4)):
        super().__init__(num_envs, lengths, RobotSpec("fake", 5, 2, 1.0), episodes_per_trial=2)

    def _reward(self, action):
        return np.sin(self._episodes.step + 2.0 * np.arange(self.num_envs)) + action.mean(axis=1)


def disturbed(variables, seed=0):
    """Move all weights: an actor that starts at almost nothing would hide errors."""
    rng = np.random.default_rng(seed)
    for variable in variables:
        variable.assign(variable.numpy() + rng.normal(0, 0.4, variable.shape).astype(np.float32))


def make(env=None, seed=3, **changes):
    learner = RL2(replace(SMALL, **changes), env.num_envs if env else 2, 5, 2, seed)
    disturbed(learner.model.variables)
    learner.model.renew()
    return learner


def actor_of(cell, seed=0):
    actor = RecurrentActor(5, 2, seed=seed, cell="gru" if cell == "none" else cell,
                           memory_size=0 if cell == "none" else 4, input_hidden=(6,), hidden=(3,), reward_scale=0.5,
                           reward_clip=0.6)
    disturbed(actor.variables)
    return actor


def random_inputs(ticks=9, rows=3, seed=1):
    rng = np.random.default_rng(seed)
    inputs = {name: rng.normal(0, 1, (ticks, rows, size)).astype(np.float32) for name, size in SIZES.items()}
    first = np.zeros((ticks, rows), bool)
    first[0, 0] = first[4, 1] = first[7, 0] = first[8, 2] = True
    return inputs, first


def filled(learner, env, updates=0):
    """The learner after some updates and with a full rollout, which it has not learned from; and each of its ticks."""
    moves = loop.drive(env, learner, env.reset(seed=0))
    taken, found = [], []
    while True:
        move = next(moves)
        learner.observe(move.transition())
        taken.append(move)
        if learner.ready():
            if len(found) == updates:
                moves.close()
                return taken, found
            found.append(learner.update())
            taken = []


# -- the network -------------------------------------------------------------------------------------------------------

@cells
def test_whole_sequences_equal_single_steps_in_keras_and_in_numpy_with_resets_in_the_middle(cell):
    actor = actor_of(cell)
    inputs, first = random_inputs()
    rng = np.random.default_rng(2)
    start = tuple(rng.normal(0, 1, (3, *shape)).astype(np.float32) for shape in actor.state_shapes)
    output, features, states = (each.numpy() for each in actor.sequence(
        {name: tf.constant(array) for name, array in inputs.items()}, tf.constant(first), start))
    acting = NumpyRecurrentActor(actor)
    state = by_numpy = start
    for t in range(9):
        state, by_numpy = (tuple(np.where(first[t][:, None], 0, each).astype(np.float32) for each in states_)
                           for states_ in (state, by_numpy))
        now = {name: array[t] for name, array in inputs.items()}
        once = actor.step({name: tf.constant(array) for name, array in now.items()}, tuple(map(tf.constant, state)))
        by_keras = actor.network({**{name: tf.constant(array) for name, array in now.items()},
                                  **{f"state_{i}": tf.constant(each) for i, each in enumerate(state)}})
        found, by_numpy = acting(now, by_numpy)
        state = tuple(by_keras[f"state_{i}"].numpy() for i in range(len(start)))
        for each in (by_keras["output"].numpy(), found, once[0].numpy()):
            np.testing.assert_allclose(each, output[t], atol=1e-6)
        np.testing.assert_allclose(once[1], features[t], atol=1e-6)
        for each in (state, by_numpy, once[2]):
            if start:
                np.testing.assert_allclose(np.concatenate(each, axis=1), states[t], atol=1e-6)
    assert np.ptp(output, axis=0).min() > 0.1 and states.shape[2] == {"gru": 4, "lstm": 8, "none": 0}[cell]


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_no_gradient_crosses_a_reset_or_another_row(cell):
    actor, (inputs, first) = actor_of(cell), random_inputs()
    tensors = {name: tf.constant(array) for name, array in inputs.items()}
    state = tuple(tf.ones((3, 4)) for _ in actor.state_shapes)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([tensors, state])
        output, _, _ = actor.sequence(tensors, tf.constant(first), state)
        sums = [tf.reduce_sum(output[t, 1]) for t in range(9)]  # the row that begins anew at tick 4
    for t, total in enumerate(sums):
        for name, gradient in tape.gradient(total, tensors).items():
            reached = np.abs(gradient.numpy()).max(axis=2) > 0
            assert not reached[:, [0, 2]].any() and not reached[t + 1:, 1].any()
            begin = 0 if t < 4 else 4
            assert not reached[:begin, 1].any(), (t, name)
            if name != "previous_reward":  # which may be at its bound
                assert reached[begin:t + 1, 1].all(), (t, name)
        for gradient in tape.gradient(total, state):
            assert (np.abs(gradient.numpy()[1]).max() > 0) == (t < 4)


def test_the_reward_is_scaled_and_clipped_in_the_graph():
    actor, (inputs, _) = actor_of("gru"), random_inputs()
    acting, state = NumpyRecurrentActor(actor), (np.zeros((3, 4), np.float32),)

    def output(reward):
        return acting({**{name: array[0] for name, array in inputs.items()},
                       "previous_reward": np.full((3, 1), reward, np.float32)}, state)[0]
    assert np.array_equal(output(1.2), output(50.0)) and np.array_equal(output(-1.2), output(-50.0))
    assert np.abs(output(1.1) - output(1.2)).max() > 1e-4 and np.abs(output(-1.2) - output(1.2)).max() > 1e-2


# -- what the actor is told --------------------------------------------------------------------------------------------

def test_action_reward_and_end_of_a_tick_come_with_the_next_and_zeros_at_a_trials_first_tick_only():
    env, told = Trials(), []
    learner = make(env, rollout_length=40)
    acting = learner.model._acting

    def listening(inputs, state):
        told.append((inputs, state))
        return acting(inputs, state)
    learner.model._acting = listening
    taken, _ = filled(learner, env)
    firsts = ends = 0
    for t, (inputs, state) in enumerate(told):
        first = taken[t].before.trial_first
        last = taken[t - 1] if t else None
        for row in range(2):
            found = (*inputs["previous_action"][row], inputs["previous_reward"][row, 0],
                     inputs["previous_done"][row, 0])
            assert first[row] == (taken[t].before.step[row] == 0 and env.per_trial_starts(taken, t, row))
            if first[row]:
                assert not any(found) and not state[0][row].any()
                firsts += 1
            else:
                assert found == (*last.action[row], last.after.reward[row], float(last.after.done[row]))
                assert np.abs(state[0][row]).max() > 0
                ends += int(found[-1])
    assert firsts >= 8 and ends >= 4, "trials of two episodes were to be there"


def _starts(self, taken, t, row):
    """Whether tick t of a row begins a trial, by counting the episodes that ended before."""
    return sum(int(move.after.done[row]) for move in taken[:t]) % 2 == 0


Trials.per_trial_starts = _starts


@cells
def test_a_row_does_not_depend_on_the_others(cell):
    learner = make(memory=cell != "none", cell="gru" if cell == "none" else cell)
    rng = np.random.default_rng(0)
    observation = rng.normal(0, 2, (6, 5)).astype(np.float32)
    previous = Previous(rng.normal(0, 1, (6, 2)).astype(np.float32), rng.normal(0, 1, 6).astype(np.float32),
                        rng.random(6) < 0.5)
    state = tuple(rng.normal(0, 1, each.shape).astype(np.float32) for each in learner.initial_state(6))
    mask = np.array([False, True, False, False, True, False])
    order = np.array([0, 4, 5, 3, 2, 1])
    output, after = learner.model.run(observation, previous, state, mask)
    permuted = Previous(previous.action[order], previous.reward[order], previous.done[order])
    other, other_after = learner.model.run(observation[order], permuted, tuple(each[order] for each in state),
                                           mask[order])
    np.testing.assert_allclose(other, output[order], atol=1e-6)
    for left, right in zip(other_after, after, strict=True):
        np.testing.assert_allclose(left, right[order], atol=1e-6)


def test_the_critic_is_told_the_task_and_the_actor_is_not(eager):
    for privileged in (True, False):
        learner = make(privileged_critic=privileged)
        filled(learner, Trials())
        assert np.array_equal(learner.buffer.task[:, :, 0] > 0, learner.buffer.task[:, :, 0] != 0)
        data = list(learner._rollout().data())
        log_prob, value, _ = learner.model.evaluate(*data)
        data[len(INPUTS) + 2] = data[len(INPUTS) + 2] + 1.0
        same, other, _ = learner.model.evaluate(*data)
        assert np.array_equal(log_prob, same)
        assert (np.abs(other - value).max() > 1e-3) == privileged


def test_a_task_too_long_for_the_critic_is_refused():
    learner, env = make(), Trials()
    move = next(loop.drive(env, learner, env.reset()))
    with pytest.raises(ValueError, match="expected tasks of at most 64 numbers, found 65"):
        learner.observe(replace(move.transition(), task=np.zeros((2, 65), np.float32)))


# -- learning from whole trials ----------------------------------------------------------------------------------------

@cells
def test_the_ratio_is_one_before_the_first_step_also_in_the_middle_of_trials(cell, eager):
    kind = dict(memory=cell != "none", cell="gru" if cell == "none" else cell)
    learner, env = make(epochs=1, minibatch_rows=2, **kind), Trials()
    _, found = filled(learner, env, updates=4)
    for metrics in found:
        assert metrics["first_ratio_error"] < 1e-4
        assert abs(metrics["approximate_kl"]) < 1e-9 and metrics["clip_share"] == 0  # of one step: before it was made
    assert not learner.buffer.trial_first[0].all(), "a rollout was to begin in the middle of a trial"
    if learner.buffer.states:
        learner.buffer.states[0][0] += 0.5  # not the state that was acted from
        assert learner.update()["first_ratio_error"] > 1e-2


def test_advantages_run_across_episodes_and_end_with_the_trial(eager):
    learner, env = make(rollout_length=30), Trials(3, (3, 4, 5))
    learner = make(env, rollout_length=30, minibatch_rows=3)
    taken, _ = filled(learner, env)
    model, config = learner.model, learner.config
    # Values by hand: one tick at a time, of what the actor was given; and one more for what would have come after.
    value, after_end = np.zeros((2, 30, 3))
    for t, move in enumerate(taken):
        first = move.before.trial_first
        state = tuple(np.where(first[:, None], 0, each).astype(np.float32) for each in move.state)
        told = move.previous.forgotten(first)
        value[t], state = value_and_state(model, move.before.observation, told, state, move.before.task)
        ended = move.after.trial_first
        last = Previous(move.action, move.after.reward, move.after.done & ~ended)
        seen = np.where(ended[:, None], move.after.final_observation, move.after.observation)
        after_end[t], _ = value_and_state(model, seen, last, state, move.before.task)
    advantage, returns = learner._rollout().advantages(model)
    kinds = set()
    for row in range(3):
        for t in range(30):
            total, weight = 0.0, 1.0
            for s in range(t, 30):
                step = taken[s].after
                trial_ends, terminated = step.trial_first[row], step.terminated[row]
                if step.done[row]:
                    kinds.add((bool(trial_ends), bool(terminated)))
                follows = 0.0 if trial_ends and terminated else (
                    after_end[s, row] if trial_ends or s == 29 else value[s + 1, row])
                total += weight * (step.reward[row] + config.discount * follows - value[s, row])
                if trial_ends:
                    break
                weight *= config.discount * config.gae_lambda
            assert advantage[t, row] == pytest.approx(total, abs=2e-5), (t, row)
    np.testing.assert_allclose(returns, advantage + value, atol=2e-5)
    assert len(kinds) == 4, "ends of episodes and of trials, by termination and by truncation, were all to be there"


def value_and_state(model, observation, previous, state, task):
    """Of a row each, from networks as they are, without the code for rollouts."""
    inputs = {"observation": model.normalize(observation), "previous_action": previous.action,
              "previous_reward": previous.reward[:, None], "previous_done": previous.done[:, None].astype(np.float32)}
    outputs = model.actor.network({**inputs, **{f"state_{i}": each for i, each in enumerate(state)}})
    state = tuple(outputs[f"state_{i}"].numpy() for i in range(len(state)))
    told = np.zeros((len(observation), 64), np.float32)
    told[:, :task.shape[1]] = task
    known = np.concatenate([inputs["observation"], state[0], told], axis=1)
    return model.critic(known).numpy()[:, 0] * model.return_scale(), state


def test_where_the_state_stays_with_the_actor_it_is_computed_once_more():
    learner, env = make(rollout_length=20), Trials()
    other = make(rollout_length=20)
    moves = loop.drive(env, learner, env.reset(seed=0))
    for t in range(20):
        batch = next(moves).transition()
        learner.observe(batch)
        other.observe(replace(batch, state=()))
        if t == 10:
            saved = {name: np.array(array) for name, array in other.save().items()}
            other = make(rollout_length=20, seed=8)
            other.restore(saved)
    for left, right in zip(learner.buffer.states, other.buffer.states, strict=True):
        np.testing.assert_allclose(left, right, atol=1e-6)
        assert np.abs(left).max() > 0.1


def test_rows_that_do_not_divide_into_minibatches_are_refused():
    with pytest.raises(ValueError, match="num_envs = 3 must be a multiple of minibatch_rows = 2"):
        RL2(SMALL, 3, 5, 2, seed=0)


def test_what_arms_paid_is_remembered():
    """Two arms, five pulls: 2.5 by chance, 2.67 by staying with what just paid, for which no memory is needed."""
    world = World("few", "", lambda num_envs, seed, part: Bandit(num_envs, seed, part, arms=2, pulls=5))
    env, best = world.make(64, 0, "train"), bayes_optimal(2, 5)
    config = RL2Config(head="categorical", rollout_length=10, minibatch_rows=64, epochs=4, learning_rate=1e-2,
                       total_steps=40_000, discount=1.0, gae_lambda=0.7, reward_scale=1.0, memory_size=12,
                       input_hidden=(8,), actor_hidden=(16,), critic_hidden=(16,))
    learner = RL2(config, 64, env.observation_size, env.action_size, seed=0, robot=env.robot.name)
    loop.run(env, learner, learner, env.reset(), lambda _: learner.env_steps >= config.total_steps, lambda _: False)
    actor = load_actor(policy_bundle.unpack(learner.policy()))
    found = trial_returns(actor, world, 4000, 1000).sum(axis=1).mean()
    assert found > 2.67 + 0.5 * (best - 2.67)
    assert found < best + 0.09, "four standard errors: something told what only a memory may"


# -- what is exported --------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("head", "cell"), [("gaussian", "lstm"), ("categorical", "gru")])
def test_the_bundle_acts_as_the_learner_does_over_a_thousand_steps(head, cell):
    learner = make(head=head, cell=cell)
    learner.model.learned_from(np.random.default_rng(0).normal(0.5, 2.0, (1, 40, 5)).astype(np.float32))
    bundle = policy_bundle.unpack(learner.policy())
    assert bundle.manifest.memory == "trial" and bundle.manifest.memory_id and bundle.manifest.inputs == INPUTS
    assert bundle.manifest.stochastic == (head == "gaussian")
    assert len(bundle.manifest.state_shapes) == 1 + (cell == "lstm")
    actor, env = load_actor(bundle), Trials()
    expected = actor.initial_state(2)
    chosen, rests = set(), []
    moves = loop.drive(env, actor, env.reset())
    for _ in range(1000):
        move = next(moves)
        output, expected = learner.model.run(move.before.observation, move.previous, expected, move.before.trial_first)
        if head == "gaussian":
            np.testing.assert_allclose(move.action, np.tanh(output), atol=1e-5)
        else:
            assert np.array_equal(move.action, np.eye(2, dtype=np.float32)[output.argmax(axis=1)])
            chosen |= set(output.argmax(axis=1))
        rests.append(move.state)
    moves.close()
    assert np.ptp([state[0] for state in rests]) > 0.5 and (head == "gaussian" or chosen == {0, 1})


def test_a_choice_is_drawn_as_often_as_its_probability_says():
    learner = make(head="categorical")
    output = np.log(np.tile(np.array([[0.2, 0.8]], np.float32), (20_000, 1)))
    action, log_prob = learner.model.head.draw(output, np.random.default_rng(0))
    assert action.mean(axis=0) == pytest.approx([0.2, 0.8], abs=0.01)
    np.testing.assert_allclose(np.exp(log_prob), action @ np.array([0.2, 0.8], np.float32), rtol=1e-5)
    np.testing.assert_allclose(learner.model.head.log_prob(tf.constant(output), tf.constant(action)), log_prob,
                               atol=1e-6)
    assert float(learner.model.head.entropy(tf.constant(output))) == pytest.approx(
        -(0.2 * np.log(0.2) + 0.8 * np.log(0.8)), rel=1e-5)


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """A policy that a learner may go on from, and the learner that made it."""
    learner = make(seed=9)
    learner.model.learned_from(np.random.default_rng(0).normal(0.5, 2.0, (1, 40, 5)).astype(np.float32))
    path = tmp_path_factory.mktemp("given") / "policy.zip"
    path.write_bytes(RL2.policy(learner))
    return path, learner


def test_a_given_policy_acts_from_the_start_and_the_actor_waits_for_the_critic(given, eager):
    path, before = given
    env = Trials()
    learner = RL2(replace(SMALL, initial_policy=str(path), actor_starts=2), 2, 5, 2, seed=1, robot="Ant-v5")
    kept = [variable.numpy() for variable in before.model.actor.variables]
    assert all(np.array_equal(a, b.numpy()) for a, b in zip(kept, learner.model.actor.variables, strict=True))
    assert np.array_equal(before.model.head.log_std, learner.model.head.log_std)
    observation = np.random.default_rng(1).normal(0, 2, (2, 5)).astype(np.float32)
    arguments = (observation, Previous.none(2, 2), learner.initial_state(2), np.ones(2, bool))
    np.testing.assert_allclose(before.model.run(*arguments)[0], learner.model.run(*arguments)[0], atol=1e-6)
    critic = learner.model.critic.get_weights()[0]
    filled(learner, env, updates=2)
    assert all(np.array_equal(a, b.numpy()) for a, b in zip(kept, learner.model.actor.variables, strict=True))
    assert not np.array_equal(critic, learner.model.critic.get_weights()[0])
    learner.update()
    assert not any(np.array_equal(a, b.numpy()) for a, b in zip(kept, learner.model.actor.variables, strict=True))


@pytest.mark.parametrize("change", [dict(memory_size=5), dict(cell="lstm"), dict(actor_hidden=(7,)),
                                    dict(memory=False)])
def test_a_policy_of_other_sizes_is_refused(given, change):
    with pytest.raises(ValueError, match="expected a policy with .* of shape .*: set cell, memory and the sizes of "):
        RL2(replace(SMALL, initial_policy=str(given[0]), **change), 2, 5, 2, seed=1)


def test_a_policy_of_other_scales_is_refused_and_one_that_never_explored_may_be_gone_on_from(given, tmp_path):
    with pytest.raises(ValueError, match="found one of rl2 that does not: set head, reward_scale, reward_clip and "):
        RL2(replace(SMALL, initial_policy=str(given[0]), reward_scale=0.1), 2, 5, 2, seed=1)
    model = given[1].model
    taught = deterministic_graph(model.actor.network, model.normalize)
    (tmp_path / "taught.zip").write_bytes(taught.bundle(algorithm="guided_rl2", robot="Ant-v5", version=1,
                                                        provenance={}, memory="trial"))
    learner = RL2(replace(SMALL, initial_policy=str(tmp_path / "taught.zip"), initial_log_std=-1.5), 2, 5, 2, seed=1)
    assert np.allclose(learner.model.head.log_std, -1.5)
    assert all(np.array_equal(a, b) for a, b in zip(model.actor.variables, learner.model.actor.variables, strict=True))


# -- worlds ------------------------------------------------------------------------------------------------------------

def test_a_world_is_trained_in_and_evaluated(tmp_path, capsys, eager):
    arguments = dict(tasks="bandit", total_steps="400", num_envs="4", minibatch_rows="4", rollout_length="20",
                     epochs="1", evaluation_episodes="50", output=str(tmp_path / "run"), num_threads="1",
                     curve_interval="1")
    assert train.main("rl2", {**arguments, "shaping": "true"}) == 2
    assert "of the Ant, which the tasks bandit are without: leave them out" in capsys.readouterr().err
    assert train.main("rl2", arguments) == 0, capsys.readouterr().err
    assert train.main("rl2", {**arguments, "total_steps": "480", "resume": "true"}) == 0, capsys.readouterr().err
    rows = (tmp_path / "run" / "curve.csv").read_text().splitlines()
    assert "first_ratio_error" in rows[0] and len(rows) == 7
    capsys.readouterr()
    policy = str(tmp_path / "run" / "policy.zip")
    assert evaluate.main([policy], {"tasks": "bandit", "summary": str(tmp_path / "s.json")}) == 0
    said = capsys.readouterr().out
    assert "over 2000 trials" in said and "(dynamic programming): 6.660" in said
    assert json.loads((tmp_path / "s.json").read_text())["trials"] == 2000
    assert evaluate.main([policy], {"tasks": "point2d"}) == 2
    assert "expected a policy for point2d, found one for bandit5" in capsys.readouterr().err
