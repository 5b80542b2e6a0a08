from dataclasses import dataclass

import pytest

from ant_rl_core.settings import Settings, setting, settings_of
from ant_rl_ros.parameters import ParameterError, changed, descriptor


@dataclass(frozen=True)
class Example(Settings):
    """One parameter of each kind."""

    mode: str = setting("lockstep", "how it runs", choices=("lockstep", "realtime"))
    num_envs: int = setting(1, "robots", minimum=1, maximum=64)
    period: float = setting(0.5, "time between two", unit="s", minimum=0.1, read_only=False)
    names: tuple[str, ...] = setting((), "names")

    def rules(self):
        yield self.mode == "realtime" or self.period == 0.5, "period must be 0.5 in lockstep"


MODE, COUNT, PERIOD, _ = settings_of(Example)


@pytest.mark.parametrize("name, value, sentence", [
    ("mode", "foo", "parameter mode must be lockstep or realtime, found 'foo'"),
    ("mode", 3, "parameter mode must be a text, found 3"),
    ("num_envs", 0, "parameter num_envs must be from 1 to 64, found 0"),
    ("num_envs", 65, "parameter num_envs must be from 1 to 64, found 65"),
    ("num_envs", 1.5, "parameter num_envs must be a whole number, found 1.5"),
    ("num_envs", True, "parameter num_envs must be a whole number, found True"),
    ("period", "fast", "parameter period must be a number, found 'fast'"),
    ("period", 0.05, "parameter period must be at least 0.1, found 0.05"),
    ("period", float("nan"), "parameter period must be at least 0.1, found nan"),
    ("names", "env", "parameter names must hold texts, found 'env'"),
])
def test_a_wrong_value_is_refused_with_one_sentence(name, value, sentence):
    with pytest.raises(ParameterError) as caught:
        changed(Example(), {name: value})
    assert str(caught.value) == sentence


def test_right_values_pass_in_the_type_of_the_setting():
    assert changed(Example(), {"mode": "realtime", "num_envs": 64}) == Example("realtime", 64)
    found = changed(Example("realtime"), {"period": 2, "names": ["a", "b"]})
    assert found == Example("realtime", period=2.0, names=("a", "b")) and type(found.period) is float


def test_values_that_do_not_go_together_are_refused():
    with pytest.raises(ParameterError, match="^parameter period must be 0.5 in lockstep, found 1.0$"):
        changed(Example(), {"period": 1.0})


def test_tools_are_told_what_is_allowed():
    assert descriptor(MODE).additional_constraints == "one of: lockstep, realtime"
    assert descriptor(COUNT).additional_constraints == "from 1 to 64"
    assert descriptor(COUNT).read_only and descriptor(COUNT).description == "robots."
    assert not descriptor(PERIOD).read_only and descriptor(PERIOD).description == "time between two [s]."
