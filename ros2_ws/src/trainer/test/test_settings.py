"""The settings of runs and of methods: every field of every configuration, and what is said about wrong values."""

from dataclasses import fields

import pytest

from ant_env_node.shaping import ShapingConfig
from ant_rl_core import settings
from ant_rl_core.settings import ArgumentError
from trainer.algorithms.table import ALGORITHMS
from trainer.runs.evaluate import EvaluateConfig
from trainer.runs.train_config import TrainConfig, help_text, list_text

CONFIGS = [TrainConfig, EvaluateConfig, ShapingConfig, *(method.config for method in ALGORITHMS.values())]


def test_an_unknown_name_is_refused_with_the_nearest_one():
    with pytest.raises(ArgumentError, match="unknown argument 'learning_rat'.*'learning_rate'"):
        settings.build([TrainConfig, ALGORITHMS["ppo"].config], {"learning_rat": "1"})


@pytest.mark.parametrize("config", CONFIGS)
def test_what_is_described_builds_the_defaults_and_every_field_has_a_description(config):
    described = settings.describe(config)
    assert [name for name, _, _ in described] == [field.name for field in fields(config)]
    assert all(len(meaning) > 4 for _, _, meaning in described)
    (built,) = settings.build([config], {name: default for name, default, _ in described})
    assert built == config()


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
