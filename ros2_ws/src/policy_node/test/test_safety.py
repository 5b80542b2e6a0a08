"""Whatever an actor gives, what is published is finite and in [-1, 1]."""

import numpy as np
import pytest

from policy_node.safety import make_safe


def test_good_actions_pass_as_they_are():
    for rows in (0, 1, 3):
        action = np.linspace(-1, 1, rows * 8, dtype=np.float32).reshape(rows, 8)
        safe, clipped, zeroed = make_safe(action)
        assert safe is action and (clipped, zeroed) == (0, 0)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_row_with_nan_or_infinity_gets_no_torque(value):
    action = np.full((3, 8), 0.5, np.float32)
    action[1, 3] = value
    given = action.copy()
    safe, clipped, zeroed = make_safe(action)
    assert safe.dtype == np.float32 and (clipped, zeroed) == (0, 1)
    assert (safe[1] == 0).all() and (safe[[0, 2]] == 0.5).all()
    assert np.array_equal(action, given, equal_nan=True)


def test_values_beyond_the_limits_are_clipped_and_counted():
    action = np.array([[0.5, 1.5, -2, 1, -1, 0, 3, 0], [np.nan, 5, 5, 5, 5, 5, 5, 5]], np.float32)
    safe, clipped, zeroed = make_safe(action)
    assert safe.tolist() == [[0.5, 1, -1, 1, -1, 0, 1, 0], [0] * 8]
    assert (clipped, zeroed) == (3, 1)  # a row without torque has nothing to clip
