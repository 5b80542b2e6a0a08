"""What ends a training says which value it was, when, and what is left."""

import keras
import numpy as np
import pytest

from ant_rl_core.step import Transition
from trainer import guard

LAST = "environment steps; the last checkpoint is the last good one"


def batch(**changes):
    arrays = {"observation": np.zeros((2, 3)), "action": np.ones((2, 1)), "reward": np.array([-7.0, 1e8]),
              "next_observation": np.full((2, 3), -1e8), **changes}
    return Transition(**{name: array.astype(np.float32) for name, array in arrays.items()},
                      terminated=np.zeros(2, bool), truncated=np.zeros(2, bool))


def test_a_transition_of_numbers_passes():
    guard.check_transition(batch(), 5)


@pytest.mark.parametrize(("value", "shown"), [(np.nan, "nan"), (np.inf, "inf"), (-np.inf, "-inf"), (-3e9, "-3e\\+09")])
@pytest.mark.parametrize("name", ["observation", "action", "reward", "next_observation"])
def test_a_transition_that_is_no_number_is_named(name, value, shown):
    array = getattr(batch(), name).copy()
    array[-1] = value
    with pytest.raises(FloatingPointError, match=f"^{name} became {shown} at 12 {LAST}$"):
        guard.check_transition(batch(**{name: array}), 12)


def test_figures_that_are_numbers_pass_whatever_the_variables_hold():
    guard.check({"loss": 1e8, "value": -1e8}, [keras.Variable([np.nan])], 3)


@pytest.mark.parametrize(("value", "shown"), [(np.nan, "nan"), (np.inf, "inf"), (-2e9, "-2e\\+09")])
def test_a_lost_figure_is_named_with_the_first_lost_variable(value, shown):
    good, lost, later = (keras.Variable(values, name=name) for name, values in (
        ("good", [1.0, 2.0]), ("lost", [1.0, np.inf]), ("later", [np.nan, np.nan])))
    metrics = {"loss": 0.5, "value": value, "other": np.nan}
    with pytest.raises(FloatingPointError, match=f"^value became {shown} at 40 {LAST}$"):
        guard.check(metrics, [good], 40)
    with pytest.raises(FloatingPointError, match=rf"^value became {shown} \(and lost with it\) at 40 {LAST}$"):
        guard.check(metrics, [good, lost, later], 40)
