import pytest

from ant_rl_ros.parameters import Parameter, ParameterError

MODE = Parameter("mode", "lockstep", "How it runs.", ("lockstep", "realtime"))
COUNT = Parameter("num_envs", 1, "Robots.", minimum=1, maximum=64)
PERIOD = Parameter("period", 0.5, "Period [s].", minimum=0.1)


@pytest.mark.parametrize("parameter, value, sentence", [
    (MODE, "foo", "parameter mode must be lockstep or realtime, found 'foo'"),
    (MODE, 3, "parameter mode must be a text, found 3"),
    (COUNT, 0, "parameter num_envs must be at least 1 and at most 64, found 0"),
    (COUNT, 65, "parameter num_envs must be at least 1 and at most 64, found 65"),
    (COUNT, 1.5, "parameter num_envs must be an integer, found 1.5"),
    (COUNT, True, "parameter num_envs must be an integer, found True"),
    (PERIOD, "fast", "parameter period must be a number, found 'fast'"),
    (PERIOD, 0.05, "parameter period must be at least 0.1, found 0.05"),
    (PERIOD, float("nan"), "parameter period must be at least 0.1, found nan"),
])
def test_a_wrong_value_is_refused_with_one_sentence(parameter, value, sentence):
    with pytest.raises(ParameterError) as caught:
        parameter.check(value)
    assert str(caught.value) == sentence


def test_right_values_pass_in_the_type_of_the_default():
    assert MODE.check("realtime") == "realtime"
    assert COUNT.check(64) == 64
    assert PERIOD.check(2) == 2.0 and type(PERIOD.check(2)) is float
    assert Parameter("names", [], "Names.").check(("a", "b")) == ["a", "b"]


def test_tools_are_told_what_is_allowed():
    assert MODE.descriptor().additional_constraints == "one of: lockstep, realtime"
    assert COUNT.descriptor().additional_constraints == "at least 1, at most 64"
    assert COUNT.descriptor().read_only and COUNT.descriptor().description == "Robots."
