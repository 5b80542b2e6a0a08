"""The fakes: they refuse what breaks the contract, and their numbers are the documented ones."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from ant_rl_core.spec import ANT
from ant_rl_core.step import Previous, transition
from ant_rl_core.testing import EndlessRewardEnv, FakeActor, FakeVectorEnv, IdentityEnv


def zeros(env):
    return np.zeros((env.num_envs, env.action_size), np.float32)


def act(actor, rows, **changes):
    arguments = {"observation": np.ones((rows, ANT.observation_size), np.float32),
                 "previous": Previous.none(rows, ANT.action_size), "state": actor.initial_state(rows),
                 "reset_mask": np.ones(rows, bool), **changes}
    return actor.act(**arguments)


def test_every_env_gives_time_steps_of_the_documented_shapes():
    for env in (FakeVectorEnv(3), IdentityEnv(3), EndlessRewardEnv(3)):
        step = env.reset(seed=1)
        for _ in range(40):
            assert step.observation.shape == step.final_observation.shape == (3, env.observation_size)
            assert step.observation.dtype == step.final_observation.dtype == step.reward.dtype == np.float32
            assert step.terminated.dtype == step.truncated.dtype == bool
            assert (step.episode_id.dtype, step.step.dtype) == (np.int64, np.uint32)
            kept = ~step.done
            assert np.array_equal(step.observation[kept], step.final_observation[kept])
            assert (step.step[step.done] == 0).all()
            step = env.step(zeros(env))


def test_time_steps_are_not_changed_by_later_steps():
    env = FakeVectorEnv(2)
    first = env.reset()
    kept = [first.observation.copy(), first.step.copy(), first.episode_id.copy()]
    for _ in range(6):
        env.step(zeros(env))
    now = first.observation, first.step, first.episode_id
    assert all(np.array_equal(a, b) for a, b in zip(kept, now, strict=True))


def test_fake_env_numbers_tell_row_episode_step_and_action():
    env = FakeVectorEnv(num_envs=2, lengths=(2, 3))
    step = env.reset()
    assert step.observation[:, :3].tolist() == [[0, 0, 0], [1, 1, 0]]
    action = np.linspace(-1, 1, 16, dtype=np.float32).reshape(2, 8)
    step = env.step(action)
    assert step.reward.tolist() == [1, 1001]
    assert np.array_equal(step.observation[:, 3:11], action)
    step = env.step(action)  # row 0's episode, id 0, terminates and makes way for id 2
    assert (step.terminated.tolist(), step.truncated.tolist()) == ([True, False], [False, False])
    assert step.final_observation[0, :3].tolist() == [0, 0, 2]
    assert step.observation[0, :11].tolist() == [0, 2, 0] + [0] * 8
    step = env.step(action)  # row 1's, id 1, is truncated
    assert (step.terminated.tolist(), step.truncated.tolist()) == ([False, False], [False, True])
    assert step.reward.tolist() == [1, 1003]
    assert step.episode_id.tolist() == [2, 3]


def test_transitions_join_what_belongs_together():
    env = FakeVectorEnv(num_envs=2, lengths=(2, 3))
    before = env.reset()
    for tick in range(20):
        action = np.full((2, 8), tick / 20, np.float32)
        after = env.step(action)
        made = transition(before, action, after, {}, policy_version=3)
        assert np.array_equal(made.observation[:, 2] + 1, made.next_observation[:, 2])
        assert np.array_equal(made.observation[:, 1], made.next_observation[:, 1])
        assert np.array_equal(made.next_observation[:, 3:11], action)
        assert np.array_equal(made.reward, made.next_observation[:, 2] + 1000 * np.arange(2))
        before = after


@pytest.mark.parametrize("action, sentence", [
    (np.zeros((2, 8)), "float32"),
    (np.zeros((1, 8), np.float32), r"\(2, 8\)"),
    (np.zeros((2, 7), np.float32), r"\(2, 8\)"),
    (np.full((2, 8), np.nan, np.float32), "finite"),
    (np.full((2, 8), 1.01, np.float32), r"\[-1, 1\]"),
])
def test_envs_refuse_actions_that_break_the_contract(action, sentence):
    env = FakeVectorEnv(2)
    env.reset()
    with pytest.raises(ValueError, match=sentence):
        env.step(action)


def test_envs_refuse_a_step_before_the_first_reset_and_senseless_sizes():
    with pytest.raises(RuntimeError, match="before reset"):
        FakeVectorEnv(1).step(np.zeros((1, 8), np.float32))
    with pytest.raises(ValueError, match="num_envs"):
        IdentityEnv(0)
    with pytest.raises(ValueError, match="lengths"):
        FakeVectorEnv(1, lengths=(3, 0))


def test_identity_env_rewards_the_identity_most():
    env = IdentityEnv(num_envs=4, size=3, episode_length=5)
    step = env.reset(seed=7)
    first = step.observation
    for _ in range(5):
        assert np.abs(step.observation).max() <= 0.8
        step = env.step(step.observation)
        assert step.reward.tolist() == [1.0] * 4
    assert step.truncated.all() and not step.terminated.any()
    assert env.step(zeros(env)).reward.max() < 1.0
    assert np.array_equal(env.reset(seed=7).observation, first)
    assert not np.array_equal(env.reset().observation, first)


def test_identity_reward_belongs_to_the_observation_that_the_policy_saw_after_a_reset_too():
    env = IdentityEnv(num_envs=2, episode_length=1)
    step = env.reset()
    for _ in range(5):
        seen = step.observation
        step = env.step(zeros(env))
        assert step.reward == pytest.approx(1 - np.square(seen).mean(axis=1))
        assert not np.array_equal(step.observation, step.final_observation)


@pytest.mark.parametrize("terminates", [False, True])
def test_endless_reward_env_has_the_value_it_states(terminates):
    env = EndlessRewardEnv(num_envs=1, episode_length=7, terminates=terminates)
    gamma, value = 0.9, 0.0
    step = env.reset()
    assert step.observation.tolist() == [[1.0, 1.0 if terminates else 0.0]]
    for tick in range(400):
        step = env.step(zeros(env))
        value += gamma**tick * step.reward[0]
        if step.terminated[0]:
            break
        assert step.truncated[0] == (not terminates and tick % 7 == 6)
    assert value == pytest.approx(env.value(gamma))


def test_fake_actor_depends_on_everything_it_should():
    actor = FakeActor(version=1, recurrent=True)
    action, extras, state = act(actor, 2)
    assert np.array_equal(action, actor.expected(np.ones((2, 105), np.float32), Previous.none(2, 8), np.ones(2)))
    assert ANT.check_action(action, 2).max() < 1 and not extras and state.tolist() == [1, 1]
    nothing = Previous.none(2, 8)
    other = [act(FakeActor(version=2, recurrent=True), 2),
             act(actor, 2, previous=replace(nothing, action=np.ones((2, 8), np.float32))),
             act(actor, 2, previous=replace(nothing, reward=np.ones(2, np.float32))),
             act(actor, 2, previous=replace(nothing, done=np.ones(2, bool))),
             act(actor, 2, state=state, reset_mask=np.zeros(2, bool)),
             act(actor, 2, observation=np.zeros((2, 105), np.float32))]
    assert all((action != changed[0]).all() for changed in other)
    _, _, state = act(actor, 2, state=np.array([5, 5]), reset_mask=np.array([True, False]))
    assert state.tolist() == [1, 6]
    assert actor.calls == 7


def test_fake_actor_reports_extras_where_it_explores():
    _, extras, _ = act(FakeActor(recurrent=True, explore=True), 2, state=np.array([3, 4]),
                       reset_mask=np.zeros(2, bool))
    assert extras["log_prob"].tolist() == [-4, -5] and extras["value"].tolist() == [40, 50]
    assert extras["log_prob"].dtype == extras["value"].dtype == np.float32


@pytest.mark.parametrize("name, value", [
    ("observation", np.ones((2, 104), np.float32)),
    ("observation", np.ones((2, 105))),
    ("previous", Previous.none(3, 8)),
    ("reset_mask", np.ones(2, np.uint8)),
    ("reset_mask", np.ones(3, bool)),
    ("state", np.zeros(3, np.int64)),
    ("state", ()),
])
def test_fake_actor_refuses_what_breaks_the_contract(name, value):
    with pytest.raises(ValueError, match="must"):
        act(FakeActor(recurrent=True), 2, **{name: value})


def test_feed_forward_fake_actor_takes_no_state():
    assert FakeActor().initial_state(4) == ()
    with pytest.raises(ValueError, match=r"state must be \(\)"):
        act(FakeActor(), 2, state=np.zeros(2, np.int64))


def test_fake_trials_have_several_episodes_and_are_called_after_the_first():
    env = FakeVectorEnv(num_envs=2, lengths=(2, 3), episodes_per_trial=2)
    steps = [env.reset(), *(env.step(zeros(env)) for _ in range(12))]
    assert [bool(step.trial_first[0]) for step in steps] == [tick % 4 == 0 for tick in range(13)]
    assert [bool(step.trial_first[1]) for step in steps] == [tick % 6 == 0 for tick in range(13)]
    for before, after in pairwise(steps):
        assert np.array_equal(after.trial_id != before.trial_id, after.trial_first)
        assert np.array_equal(after.task[:, 0], after.trial_id) and after.task.dtype == np.float32
    assert env.reset().trial_first.all()
    assert FakeVectorEnv(1).reset().task is None
    with pytest.raises(ValueError, match="episodes_per_trial must be at least 1, found 0"):
        FakeVectorEnv(1, episodes_per_trial=0)


@pytest.mark.parametrize("make", [lambda: FakeVectorEnv(2, lengths=(2, 3), episodes_per_trial=2),
                                  lambda: IdentityEnv(2, episode_length=3), lambda: EndlessRewardEnv(2, 4)])
def test_fakes_go_on_from_what_was_saved(make):
    env, other = make(), make()
    env.reset(seed=3)
    for _ in range(5):
        step = env.step(zeros(env))
    found = other.restore(env.save())
    assert not found.done.any() and not found.reward.any()
    for name in ("observation", "episode_id", "step", "trial_id", "trial_first"):
        assert np.array_equal(getattr(found, name), getattr(step, name)), name
    for _ in range(9):
        step, found = env.step(zeros(env)), other.step(zeros(env))
        for name in ("observation", "final_observation", "reward", "terminated", "episode_id", "step", "trial_id"):
            assert np.array_equal(getattr(found, name), getattr(step, name)), name
