"""The robot's spec refuses what does not fit, in words."""

import numpy as np
import pytest

from ant_rl_core.spec import ACTUATOR_NAMES, ANT, JOINT_NAMES


def test_what_fits_is_returned_as_it_is():
    observation, action = np.zeros((3, 105), np.float32), np.ones((3, 8), np.float32)
    assert ANT.check_observation(observation) is observation and ANT.check_observation(observation, 3) is observation
    assert ANT.check_action(action) is action and ANT.check_action(action, 3) is action


@pytest.mark.parametrize("observation, num_envs, sentence", [
    (np.zeros((3, 105)), None, "observation must be float32, found float64"),
    (np.zeros(105, np.float32), None, r"observation must have shape \(n, 105\), found \(105,\)"),
    (np.zeros((3, 104), np.float32), None, r"shape \(n, 105\), found \(3, 104\)"),
    (np.zeros((3, 105), np.float32), 2, r"shape \(2, 105\), found \(3, 105\)"),
    (np.zeros((3, 105, 1), np.float32), 3, r"found \(3, 105, 1\)"),
])
def test_observations_that_do_not_fit_are_refused(observation, num_envs, sentence):
    with pytest.raises(ValueError, match=sentence):
        ANT.check_observation(observation, num_envs)


@pytest.mark.parametrize("value, found", [(np.nan, "nan"), (np.inf, "inf"), (-np.inf, "-inf")])
def test_actions_that_are_not_finite_are_refused(value, found):
    action = np.zeros((3, 8), np.float32)
    action[1, 6] = value
    with pytest.raises(ValueError, match=f"found {found} in row 1, joint 6"):
        ANT.check_action(action)


def test_actuators_and_joints_are_the_same_eight():
    assert sorted(ACTUATOR_NAMES) == sorted(JOINT_NAMES) and len(set(JOINT_NAMES)) == ANT.action_size == 8
