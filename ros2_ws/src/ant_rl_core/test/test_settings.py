"""Settings from `key:=value`: every field of every configuration, and sentences for what doesn't fit."""

from dataclasses import dataclass, fields

import pytest

from ant_env_node.shaping import ShapingConfig
from ant_rl_core import settings
from ant_rl_core.settings import ArgumentError
from trainer.algorithms.table import ALGORITHMS
from trainer.runs.evaluate import EvaluateConfig
from trainer.runs.train_config import TrainConfig, help_text, list_text

CONFIGS = [TrainConfig, EvaluateConfig, ShapingConfig, *(method.config for method in ALGORITHMS.values())]


@dataclass(frozen=True)
class Base:
    """What examples share.

    Attributes:
        count: a whole number.
    """

    count: int = 3


@dataclass(frozen=True)
class Example(Base):
    """Every type that a setting can have, one of them of the base.

    Attributes:
        rate: a number,
            on two lines.
        flag, other: yes or no.
        sizes: sizes.
        name: text.
    """

    rate: float = 0.5
    flag: bool = False
    other: bool = True
    sizes: tuple[int, ...] = (64, 64)
    name: str = "x"


@pytest.mark.parametrize(("text", "value"), [
    ("count:=10_000_000", 10_000_000), ("count:=-2", -2), ("rate:=3e-4", 3e-4), ("rate:=1_000", 1000.0),
    ("flag:=true", True), ("other:=False", False), ("sizes:=8", (8,)), ("sizes:=8,9", (8, 9)),
    ("sizes:=[8, 9]", (8, 9)), ("sizes:=(8,)", (8,)), ("sizes:=", ()), ("name:=a_b", "a_b"), ("name:=", "")])
def test_values_are_parsed_by_the_type_of_their_field(text, value):
    name, _, given = text.partition(":=")
    (built,) = settings.build([Example], {name: given})
    found = getattr(built, name)
    assert found == value and type(found) is type(value)
    assert all(getattr(built, f.name) == f.default for f in fields(Example) if f.name != name)


@pytest.mark.parametrize(("name", "text", "expected"), [
    ("count", "1.5", "count must be a whole number, found '1.5'"), ("count", "", "a whole number"),
    ("rate", "fast", "rate must be a number, found 'fast'"), ("flag", "1", "flag must be true or false, found '1'"),
    ("sizes", "64;64", "numbers such as 64,64, found '64;64'"), ("sizes", "1.5", "numbers such as")])
def test_a_value_of_another_type_is_refused(name, text, expected):
    with pytest.raises(ArgumentError, match=expected):
        settings.build([Example], {name: text})


def test_an_unknown_name_is_refused_with_the_nearest_one():
    with pytest.raises(ArgumentError, match="unknown argument 'learning_rat'.*'learning_rate'"):
        settings.build([TrainConfig, ALGORITHMS["ppo"].config], {"learning_rat": "1"})
    with pytest.raises(ArgumentError, match="unknown argument ''"):
        settings.build([Example], {"": "1"})


@pytest.mark.parametrize("config", [*CONFIGS, Example])
def test_what_is_described_builds_the_defaults_and_every_field_has_a_description(config):
    described = settings.describe(config)
    assert [name for name, _, _ in described] == [field.name for field in fields(config)]
    assert all(len(meaning) > 4 for _, _, meaning in described)
    (built,) = settings.build([config], {name: default for name, default, _ in described})
    assert built == config()


def test_descriptions_go_over_lines_and_are_shared_by_names():
    meanings = {name: meaning for name, _, meaning in settings.describe(Example)}
    assert meanings["count"] == "a whole number." and meanings["rate"] == "a number, on two lines."
    assert meanings["flag"] == meanings["other"] == "yes or no."


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_method_shares_no_name_with_the_run_and_its_help_names_all(algorithm):
    own, general, shaping = ({f.name for f in fields(c)}
                             for c in (ALGORITHMS[algorithm].config, TrainConfig, ShapingConfig))
    assert len(own | general | shaping) == len(own) + len(general) + len(shaping)
    assert all(f"  {name}:=" in help_text(algorithm) for name in own | general | shaping)
    assert ALGORITHMS[algorithm].summary in list_text() and ALGORITHMS[algorithm].summary in help_text(algorithm)


@pytest.mark.parametrize(("config", "arguments"), [
    *((ALGORITHMS["ppo"].config, {name: value}) for name, value in (
        ("rollout_length", "0"), ("epochs", "0"), ("minibatch_size", "0"), ("minibatch_size", "1"),
        ("learning_rate", "0"), ("learning_rate", "nan"), ("learning_rate", "inf"), ("learning_rate_end", "2"),
        ("total_steps", "0"), ("discount", "1.01"), ("gae_lambda", "-0.1"), ("clip_ratio", "0"),
        ("value_coefficient", "-1"), ("entropy_coefficient", "nan"), ("max_gradient_norm", "0"), ("target_kl", "-1"),
        ("initial_log_std", "inf"), ("observation_clip", "0"), ("actor_hidden", "64,0"), ("critic_hidden", "0"))),
    *((TrainConfig, {name: value}) for name, value in (
        ("num_envs", "-1"), ("num_threads", "-1"), ("seed", "-1"), ("checkpoint_interval", "0"),
        ("curve_interval", "0"), ("evaluation_interval", "-1"), ("evaluation_episodes", "-1"))),
    *((EvaluateConfig, {name: value}) for name, value in (
        ("episodes", "0"), ("seed", "-1"), ("num_envs", "-1"), ("num_threads", "-2")))])
def test_a_value_that_makes_no_sense_is_refused_by_name(config, arguments):
    (name,) = arguments
    with pytest.raises(ValueError, match=f"^{name} must .*, found "):
        settings.build([config], arguments)
