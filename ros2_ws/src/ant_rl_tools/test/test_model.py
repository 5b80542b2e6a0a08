"""`./run model` on recordings that are kept: what it writes and says, and what it refuses."""

import json
from pathlib import Path

import numpy as np
import pytest
from small_bags import observed

from ant_rl_core.settings import ArgumentError
from ant_rl_tools.model import command, report, work
from ant_rl_tools.model.reading import read
from trainer import checkpoint
from trainer.models import model_file
from trainer.models.ensemble import EnsembleConfig
from trainer.models.learned import LearnedModel
from trainer.models.quality import Judgement

GOLDEN = Path(__file__).resolve().parents[4] / "tests" / "golden"
# Pieces of 60 steps: the longest errors are those after 50.
SMALL = ("members:=2", "model_hidden:=16", "batches:=40", "batches_per_look:=20", "held_out_ticks:=60")


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "made"
    assert command.main([str(GOLDEN / "default"), str(GOLDEN / "ppo"), f"output:={folder}", *SMALL]) == 0
    return folder


def test_it_writes_model_figures_and_picture(learned):
    assert sorted(path.name for path in learned.iterdir()) == ["model.npz", "quality.json", "quality.png"]
    assert (learned / "quality.png").read_bytes().startswith(b"\x89PNG")
    found = json.loads((learned / "quality.json").read_text())
    assert [source["source"] for source in found["sources"]] == ["default", "ppo"]
    for source in found["sources"]:
        assert source["steps"] == 250 and 40 <= source["held_out"] <= 100
        assert list(source["models"]) == [report.LEARNED, report.COPY, report.LINEAR, report.SIMULATOR]
        errors = {name: model["error"] for name, model in source["models"].items()}
        assert list(errors["copy"]) == ["1", "5", "15", "50"]
        assert errors[report.SIMULATOR]["1"] < 0.05 < errors["copy"]["1"]
        assert source["models"][report.SIMULATOR]["reward_error_by_step"][0] < 0.1
        assert set(source["spread"]) == {"learned", "held_out", "off_the_data"}
    assert found["figures"]["model_batches"] == 40
    assert model_file.read(learned / "model.npz").ensemble.config.model_hidden == (16,)
    assert model_file.manifest_of(learned / "model.npz")["about"]["seed"] == 0


def test_a_model_is_judged_as_it_was_where_it_was_learned(learned, tmp_path, capsys):
    words = [str(GOLDEN / "default"), str(GOLDEN / "ppo")]
    assert command.main([*words, f"output:={tmp_path / 'judged'}", f"model:={learned / 'model.npz'}",
                         "held_out_ticks:=60"]) == 0
    said = capsys.readouterr().out
    assert "default: 250 steps" in said and "the networks disagree by" in said and "least squares" in said
    assert not (tmp_path / "judged" / "model.npz").exists()
    first, second = (json.loads((folder / "quality.json").read_text()) for folder in (learned, tmp_path / "judged"))
    assert first["sources"] == second["sources"]


@pytest.mark.parametrize(("step_ids", "sizes", "match"), [
    ([0], {}, "must hold transitions, found 1 observations, none of which follows another"),
    ([0, 2, 4], {}, "must hold transitions, found 3 observations, none of which follows another"),
    ([0, 1], {"size": 27}, "must be of an Ant-v5: "), ([0, 1], {"torques": 6}, "must be of an Ant-v5")])
def test_a_bag_without_transitions_or_of_another_robot_is_refused(tmp_path, step_ids, sizes, match):
    with pytest.raises(ArgumentError, match=match) as error:
        command.main([observed(tmp_path / "bag", step_ids, **sizes), f"output:={tmp_path / 'refused'}"])
    assert "\n" not in str(error.value) and not (tmp_path / "refused").exists()


def test_what_can_not_be_done_is_refused_in_a_sentence(learned, tmp_path):
    default, output = str(GOLDEN / "default"), f"output:={tmp_path / 'refused'}"
    checkpoint.save(tmp_path / "checkpoint.npz", {"learner.variable_0": np.zeros(2)})
    (tmp_path / "other.npz").write_text("something")
    for words, match in (
            ([output], "model needs recordings or runs"),
            ([default, output], "needs at least 625 steps, so that 20 % can be held back in pieces of 250, found 250"),
            ([str(GOLDEN / "wired"), output, *SMALL], "wired: expected steps of the stock Ant-v5, found "),
            ([str(tmp_path / "none"), output], "found nothing at"),
            ([str(tmp_path), output], "checkpoint.npz must hold a replay buffer, found none"),
            ([default, output, f"model:={tmp_path / 'other.npz'}"], "expected the file of an environment model"),
            ([default, output, f"model:={learned / 'model.npz'}", "members:=3"], "must be empty where something is to "
             "be learned, found model:=.* beside members:=3"),
            ([default, f"output:={learned}"], "must be a folder without results"),
            ([default, output, "batches:=0"], "batches must be at least 1"),
            ([default, output, "batch:=9"], "unknown argument 'batch'; the nearest one is 'batches'")):
        with pytest.raises(ArgumentError, match=match) as error:
            command.main(words)
        assert "\n" not in str(error.value)
    assert not (tmp_path / "refused").exists()


def test_a_source_without_long_stretches_has_a_shorter_table():
    short = report.Found("short", 30, 10, {"copy": Judgement(np.ones(5), np.ones(5), 2 * np.ones(5))}, {"learned": 0.1})
    lines = report.table([short])
    assert lines[2].split() == ["k=1", "k=5", "reward", "over", "5"]
    assert lines[3].split() == ["copy", "1.000", "1.000", "1.000", "(50.0", "%)"]
    none = report.Found("none", 3, 1, {}, {"learned": 0.1})
    assert "k=1" not in "".join(report.table([none]))
    assert report.plain([none])[0]["models"] == {}
    assert report.picture([short]).startswith(b"\x89PNG")


def test_a_learned_reward_is_judged_beside_the_computed_one():
    whole = read(GOLDEN / "default", None)[1]
    model = LearnedModel(EnsembleConfig(members=1, model_hidden=(4,), reward_head=True))
    (found,) = work.judge([work.Source("default", [whole.part(60, 99)], [whole.part(0, 60)])], model, 0, 1)
    mine, computed = (found.judgements[name] for name in (report.LEARNED, report.KNOWN))
    np.testing.assert_array_equal(mine.error, computed.error)
    assert (mine.reward_error != computed.reward_error).all()
    assert report.table([found])[4].startswith("its reward computed  ")


def test_help_has_every_setting():
    text = command.help_text()
    for name in ("output:=runs/model", "members:=4", "held_out_share:=0.2", "model:="):
        assert f"  {name}" in text
