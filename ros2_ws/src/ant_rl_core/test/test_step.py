import numpy as np
import pytest

from ant_rl_core.step import Previous, TimeStep, TimeStepEnv, bootstrap_mask, transition


class Space:
    def __init__(self, shape):
        self.shape = shape


class CountingEnv:
    """n rows; observation = 100 * episode + steps in it, row i lasts 2 + i steps, even episodes end in a fall.

    Returns the same buffers at every step, as fast vector environments do.
    """

    metadata = {"autoreset_mode": "SAME_STEP"}

    def __init__(self, num_envs=3, mode="SAME_STEP", shape=(2,)):
        self.num_envs = num_envs
        self.metadata = {"autoreset_mode": mode}
        self.single_observation_space, self.single_action_space = Space(shape), Space((8,))
        self.shape = shape
        self.closed = False
        self.observation = np.zeros((num_envs, *shape))
        self.reward = np.zeros(num_envs, np.float32)
        self.terminated, self.truncated = np.zeros(num_envs, bool), np.zeros(num_envs, bool)

    def reset(self, seed=None):
        self.seed = seed
        self.episode, self.steps = np.zeros(self.num_envs, int), np.zeros(self.num_envs, int)
        self._observe()
        return self.observation, {"started": True}

    def _observe(self):
        self.observation[:] = (100 * self.episode + self.steps).reshape(-1, *[1] * len(self.shape))

    def step(self, action):
        self.steps += 1
        self._observe()
        self.reward[:] = self.steps
        done = self.steps >= 2 + np.arange(self.num_envs)
        self.terminated[:], self.truncated[:] = done & (self.episode % 2 == 0), done & (self.episode % 2 == 1)
        info = {}
        if done.any():
            final = np.full(self.num_envs, None, object)
            for row in np.flatnonzero(done):
                final[row] = self.observation[row].copy()
            info = {"final_obs": final}
            self.episode[done] += 1
            self.steps[done] = 0
            self._observe()
        return self.observation, self.reward, self.terminated, self.truncated, info

    def close(self):
        self.closed = True


@pytest.mark.parametrize("mode", ["NEXT_STEP", "DISABLED", None])
def test_other_reset_modes_are_refused(mode):
    with pytest.raises(ValueError, match=f"must use autoreset mode SAME_STEP, found {mode}"):
        TimeStepEnv(CountingEnv(mode=mode))


def test_an_enum_names_the_mode_as_well():
    class Mode:
        name = "SAME_STEP"

    assert TimeStepEnv(CountingEnv(mode=Mode())).num_envs == 3


def test_reset():
    env = TimeStepEnv(CountingEnv())
    step = env.reset(seed=7)
    assert env.env.seed == 7 and step.info == {"started": True}
    assert step.observation.dtype == np.float32 and step.observation.shape == (3, 2)
    assert step.reward.tolist() == [0, 0, 0] and step.reward.dtype == np.float32
    assert not step.done.any()
    assert step.final_observation is step.observation
    assert step.episode_id.tolist() == [0, 1, 2] and step.step.tolist() == [0, 0, 0]
    assert step.episode_id.dtype == np.int64 and step.step.dtype == np.uint32


def test_ends_final_observations_and_episode_ids():
    env = TimeStepEnv(CountingEnv())
    env.reset()
    steps = [env.step(np.zeros((3, 8), np.float32)) for _ in range(6)]
    assert [s.terminated.tolist() for s in steps] == [
        [False, False, False], [True, False, False], [False, True, False], [False, False, True],
        [False, False, False], [True, False, False]]
    assert [s.truncated[0] for s in steps] == [False, False, False, True, False, False]
    assert steps[5].truncated.tolist() == [False, True, False]
    # Row 0 ends at steps 2, 4 and 6: the observation is the new episode's first, the final one the old one's last.
    assert [s.observation[0, 0] for s in steps] == [1, 100, 101, 200, 201, 300]
    assert [s.final_observation[0, 0] for s in steps] == [1, 2, 101, 102, 201, 202]
    assert [s.final_observation[1, 0] for s in steps] == [1, 2, 3, 101, 102, 103]
    assert [s.reward[0] for s in steps] == [1, 2, 1, 2, 1, 2]
    assert [s.step[0] for s in steps] == [1, 0, 1, 0, 1, 0]
    assert [s.episode_id.tolist() for s in steps] == [
        [0, 1, 2], [3, 1, 2], [3, 4, 2], [5, 4, 6], [5, 4, 6], [7, 8, 6]]
    assert steps[5].terminated.tolist() == [True, False, False] and steps[5].done.tolist() == [True, True, False]


def test_episode_ids_go_on_after_a_reset():
    env = TimeStepEnv(CountingEnv())
    env.reset()
    for _ in range(4):
        env.step(np.zeros((3, 8), np.float32))
    step = env.reset()
    assert step.episode_id.tolist() == [7, 8, 9] and step.step.tolist() == [0, 0, 0]


def test_time_steps_are_not_changed_by_later_steps():
    env = TimeStepEnv(CountingEnv())
    first = env.reset()
    steps = [first] + [env.step(np.zeros((3, 8), np.float32)) for _ in range(2)]
    kept = [{name: getattr(s, name).copy() for name in (
        "observation", "reward", "terminated", "truncated", "final_observation", "episode_id", "step")} for s in steps]
    for _ in range(5):
        env.step(np.zeros((3, 8), np.float32))
    for step, copy in zip(steps, kept, strict=True):
        for name, values in copy.items():
            assert np.array_equal(getattr(step, name), values), name


def test_observations_of_several_dimensions_are_flattened_and_sizes_told():
    env = TimeStepEnv(CountingEnv(shape=(2, 3)))
    assert (env.observation_size, env.action_size) == (6, 8)
    env.reset()
    for _ in range(2):
        step = env.step(np.zeros((3, 8), np.float32))
    assert step.final_observation.shape == (3, 6) and step.final_observation[0].tolist() == [2] * 6
    env.close()
    assert env.env.closed


def test_transition_takes_the_true_successor_and_the_mask_spares_time_limits():
    env = TimeStepEnv(CountingEnv())
    env.reset()
    before, after = (env.step(np.zeros((3, 8), np.float32)) for _ in range(2))
    action = np.ones((3, 8), np.float32)
    joined = transition(before, action, after, {"log_prob": np.zeros(3, np.float32)}, 4)
    assert joined.observation is before.observation and joined.action is action
    assert joined.next_observation[0, 0] == 2 and after.observation[0, 0] == 100
    assert bootstrap_mask(joined.terminated).tolist() == [0, 1, 1]
    no = np.zeros(2, bool)
    cut = TimeStep(np.zeros((2, 2), np.float32), np.zeros(2, np.float32), no, ~no, np.zeros((2, 2), np.float32),
                   np.zeros(2, np.int64), np.zeros(2, np.uint32))
    assert bootstrap_mask(cut.terminated).tolist() == [1, 1] and cut.done.all()


def test_previous_none():
    previous = Previous.none(2, 8)
    assert previous.action.shape == (2, 8) and previous.action.dtype == np.float32
    assert previous.reward.tolist() == [0, 0] and previous.done.tolist() == [False, False]


# -- trials ------------------------------------------------------------------------------------------------------------


class TrialEnv(CountingEnv):
    """Trials of two episodes, each row's in turn, told by the info; the task is the number of the row's trial."""

    def reset(self, seed=None):
        observation, info = super().reset(seed)
        self.episodes = np.zeros(3, int)
        return observation, {**info, "task": (self.episodes // 2)[:, None]}

    def step(self, action):
        observation, reward, terminated, truncated, info = super().step(action)
        self.episodes += terminated | truncated
        info = {**info, "trial_first": self.episodes % 2 == 0, "task": (self.episodes // 2)[:, None]}
        return observation, reward, terminated, truncated, info


def test_without_trials_each_episode_is_one():
    env = TimeStepEnv(CountingEnv())
    for step in (env.reset(), *(env.step(np.zeros((3, 8), np.float32)) for _ in range(6))):
        assert np.array_equal(step.trial_id, step.episode_id) and step.task is None
        assert np.array_equal(step.trial_first, step.step == 0)
    by_hand = TimeStep(*[np.zeros(2)] * 5, np.array([4, 5]), np.array([0, 3]))
    assert by_hand.trial_id.tolist() == [4, 5] and by_hand.trial_first.tolist() == [True, False]


def test_an_environment_tells_where_trials_begin():
    env = TimeStepEnv(TrialEnv())
    steps = [env.reset(), *(env.step(np.zeros((3, 8), np.float32)) for _ in range(9))]
    assert steps[0].trial_first.all() and steps[0].trial_id.tolist() == [0, 1, 2]
    # Row 0 has episodes of 2 steps: ids 0, 3, 5, 7, …
    episodes = [step.episode_id[0] for step in steps]
    assert episodes[:7] == [0, 0, 3, 3, 5, 5, 7]
    assert [step.trial_id[0] for step in steps[:9]] == [0, 0, 0, 0, 5, 5, 5, 5, episodes[8]]
    assert [bool(step.trial_first[0]) for step in steps[:9]] == [tick % 4 == 0 for tick in range(9)]
    assert [step.task[0, 0] for step in steps[:9]] == [0, 0, 0, 0, 1, 1, 1, 1, 2]
    assert steps[3].task.dtype == np.float32 and steps[3].trial_id.dtype == np.int64
    for step in steps:  # a trial is called after its first episode
        assert (step.trial_id <= step.episode_id).all()
    assert env.reset().trial_first.all()


class KeptEnv(TrialEnv):
    """One that can be saved."""

    def save(self):
        return {"steps": self.steps.copy(), "episodes": self.episodes.copy()}

    def restore(self, saved):
        self.steps, self.episodes = saved["steps"].copy(), saved["episodes"].copy()
        return np.zeros((3, 2))

    def told(self):
        return {}


@pytest.mark.parametrize("ticks", range(9))
def test_trials_go_on_where_they_were_saved(ticks):
    env = TimeStepEnv(KeptEnv())
    step = env.reset()
    for _ in range(ticks):
        step = env.step(np.zeros((3, 8), np.float32))
    saved = env.save()
    other = TimeStepEnv(KeptEnv())
    other.env.reset()
    found = other.restore(saved)
    for _ in range(9):
        assert np.array_equal(found.trial_id, step.trial_id) and np.array_equal(found.trial_first, step.trial_first)
        assert np.array_equal(found.task, step.task)
        step, found = env.step(np.zeros((3, 8), np.float32)), other.step(np.zeros((3, 8), np.float32))


def test_trials_are_saved_only_where_there_are_any():
    env = TimeStepEnv(KeptEnv())
    env.reset()
    assert "trial_id" not in env.save() and "task" in env.save()
    plain = TimeStepEnv(type("Plain", (CountingEnv,), {"save": lambda self: {}})())
    plain.reset()
    assert set(plain.save()) == {"episode_id", "step", "next_episode_id"}  # as before there were trials


def test_transitions_carry_what_the_actor_was_given():
    env = TimeStepEnv(TrialEnv())
    before = env.reset()
    after = env.step(np.zeros((3, 8), np.float32))
    previous, state = Previous.none(3, 8), (np.ones((3, 4), np.float32),)
    joined = transition(before, np.zeros((3, 8), np.float32), after, {}, 1, previous, state)
    assert joined.trial_first.all() and joined.previous is previous and joined.state is state
    assert transition(before, np.zeros((3, 8), np.float32), after, {}, 1).state == ()


def test_what_is_forgotten_is_zero_and_nothing_is_written_to():
    previous = Previous(np.ones((3, 8), np.float32), np.ones(3, np.float32), np.ones(3, bool))
    found = previous.forgotten(np.array([False, True, False]))
    assert found.action[:, 0].tolist() == found.reward.tolist() == found.done.tolist() == [1, 0, 1]
    assert (found.action.dtype, found.reward.dtype, found.done.dtype) == (np.float32, np.float32, bool)
    assert previous.action.all() and previous.reward.all() and previous.done.all()
    assert previous.forgotten(np.zeros(3, bool)) is previous
