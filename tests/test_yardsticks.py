"""The shipped policy behind formulas, and told its task, on real robots: what learned policies are measured beside."""

from __future__ import annotations

import json

import pytest

from trainer.runs import evaluate


def test_who_is_told_the_wires_walks_as_if_they_were_right_and_the_filter_finds_them(tmp_path, capsys):
    """The first is exact: the same torques reach the motors as on the stock Ant with the same seeds."""
    found = {}
    for tasks, names in (("none", ["default"]), ("wired", ["told", "analytic", "default"])):
        path = tmp_path / f"{tasks}.json"
        assert evaluate.main(names, {"tasks": tasks, "episodes": "6", "steps": "120", "summary": str(path)}) == 0
        found[tasks] = json.loads(path.read_text())
    told, analytic, plain = (each["episodes"][0]["returns"] for each in found["wired"]["results"])
    assert told == pytest.approx([each["return"] for each in found["none"]["episodes"]], rel=1e-5)
    assert sum(analytic) > 0.8 * sum(told) and sum(plain) < 0.2 * sum(told)
    assert "told" in capsys.readouterr().out


def test_a_direction_is_walked_in_by_who_is_told_it_and_by_who_finds_it_out(tmp_path):
    path = tmp_path / "summary.json"
    assert evaluate.main(["told", "analytic", "default"], {"tasks": "directions", "episodes": "6", "steps": "120",
                                                           "summary": str(path)}) == 0
    told, analytic, plain = (each["episodes"][0] for each in json.loads(path.read_text())["results"])
    assert told["mean_speed"] > 4.5 and analytic["mean_speed"] > 4.5 > 3 > plain["mean_speed"]
