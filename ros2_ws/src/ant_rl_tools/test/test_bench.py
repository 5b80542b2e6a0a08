"""The benchmark's structure and arithmetic; no test here depends on how fast the machine is."""

import json
import os
import subprocess
import sys

import numpy as np
import psutil
import pytest

from ant_env_node.tasks.ant import TaskAnt
from ant_env_node.tasks.presets import PRESETS
from ant_env_node.vec_env import VectorAnt
from ant_rl_tools import bench
from ant_rl_tools.bench import command, policy, report, rows, simulation, tasks
from ant_rl_tools.bench.rows import GOALS, Goal, Measured
from ant_rl_tools.unavailable import Unavailable


def test_every_row_of_the_table_has_a_goal_and_every_goal_a_group():
    names = [goal.name for goal in GOALS]
    assert names == ["vector_ant_vs_mj_step", "vector_ant_vs_sync", "vector_ant_vs_async", "vector_ant_vs_envpool",
                     "tasks_64", "lockstep_1", "lockstep_64", "round_trip", "policy_litert_memory", "policy_litert_cpu",
                     "ppo_overhead"]
    grouped = [name for members, _ in command._groups(command.BenchConfig()) for name in members]
    assert sorted(grouped) == sorted(names)


def test_a_goal_is_met_at_its_target_and_beyond():
    more, less = Goal("a", "a", 0.9), Goal("b", "b", 0.4, "<=")
    assert [more.is_met_by(ratio) for ratio in (0.89, 0.9, 2.0)] == [False, True, True]
    assert [less.is_met_by(ratio) for ratio in (0.39, 0.4, 0.41)] == [True, True, False]
    assert (more.goal, less.goal) == ("≥ 0.90", "≤ 0.40")


def test_contenders_run_in_turn_and_every_other_round_backwards():
    order = []
    rates = rows.paired_rates({name: lambda name=name: order.append(name) or len(order) for name in "abc"}, rounds=3)
    assert "".join(order) == "abccbaabc"
    assert rates == {"a": [1, 6, 7], "b": [2, 5, 8], "c": [3, 4, 9]}


def test_the_ratio_is_the_median_of_the_ratios_within_rounds():
    # The second round was slow for both, as with a busy neighbor: it must not count against either.
    found = rows.compare({"ours": [90.0, 9.0, 100.0], "theirs": [100.0, 10.0, 100.0]}, "ours", "theirs")
    assert found.ratio == pytest.approx(0.9)
    assert found.figures == {"ours_per_s": 90.0, "theirs_per_s": 100.0, "lowest_ratio": pytest.approx(0.9),
                             "highest_ratio": 1.0}


def test_limits_are_judged_by_the_worst_figure():
    assert rows.against_limits({"a": 100.0, "b": 50.0}, {"a": 300.0, "b": 100.0}).ratio == 2.0
    assert rows.against_limits({"a": 600.0, "b": 1.0}, {"a": 300.0, "b": 100.0}).ratio == 0.5


def test_round_trips_are_judged_by_median_and_99th_percentile():
    fast_with_tail = np.concatenate([np.full(980, 200e-6), np.full(20, 2e-3)])
    found = policy.judge_round_trips(fast_with_tail)
    assert found.figures["p50_us"] == pytest.approx(200.0)
    assert found.figures["p99_us"] == pytest.approx(2000.0)
    assert found.figures["max_us"] == pytest.approx(2000.0)
    assert found.figures["round_trips"] == 1000
    assert found.ratio == pytest.approx(0.5)
    assert policy.judge_round_trips(np.full(100, 150e-6)).ratio == pytest.approx(2.0)


def test_a_row_says_whether_it_is_met_or_why_nobody_knows():
    goal = GOALS[0]
    met = rows.as_json(goal, Measured({"a_per_s": 2.0}, 0.95))
    assert met == {"name": goal.name, "what": goal.what, "figures": {"a_per_s": 2.0}, "ratio": 0.95, "target": 0.9,
                   "comparison": ">=", "goal": "≥ 0.90", "met": True}
    assert rows.as_json(goal, Measured({}, 0.5))["met"] is False
    unknown = rows.as_json(goal, Measured(reason="no such library"))
    assert (unknown["met"], unknown["ratio"], unknown["reason"]) == (None, None, "no such library")


def test_figures_read_with_their_units():
    assert report.figure("sync_per_s", 1234.5) == "sync 1,234/s"
    assert report.figure("p50_us", 219.6) == "p50 220 us"
    assert report.figure("rss_mb", 88.04) == "rss 88 MB"
    assert report.figure("cpu_percent", 2.25) == "cpu 2.25 %"
    assert report.figure("lowest_ratio", 0.8768) == "lowest ratio 0.877"


def test_the_table_shows_verdicts_and_reasons():
    text = report.table([rows.as_json(GOALS[0], Measured({"a_per_s": 100.0}, 0.95)),
                         rows.as_json(GOALS[1], Measured({"a_per_s": 100.0}, 0.95)),
                         rows.as_json(GOALS[3], Measured(reason="EnvPool is not installed"))])
    lines = text.splitlines()
    assert lines[0].split() == ["what", "figures", "ratio", "target", "met"]
    assert lines[2].startswith(GOALS[0].what) and lines[2].endswith("yes") and "a 100/s" in lines[2]
    assert lines[3].endswith("NO")
    assert "not measured" in lines[4]
    assert lines[5] == f"{GOALS[3].what}: EnvPool is not installed"


@pytest.mark.parametrize(("arguments", "sentence"), [
    ({"row": "round_trip"}, "unknown argument 'row'; the nearest one is 'rows'"),
    ({"rows": "round_trip,fast"}, "found 'fast'"),
    ({"seconds": "0"}, "seconds must be positive"),
    ({"rounds": "0"}, "rounds must be at least 1"),
    ({"seconds": "nan"}, "seconds must be positive"),
    ({"rounds": "many"}, "rounds must be a whole number"),
    ({"summary": "/nowhere/at/all.json"}, "summary must be in a folder that exists"),
    ({"policy": "/nowhere/at/all.zip"}, "expected a policy bundle"),
])
def test_arguments_that_cannot_be_used_are_named_in_one_sentence(arguments, sentence, capsys):
    assert bench.main(arguments) == 2
    said = capsys.readouterr().err.strip()
    assert sentence in said and "\n" not in said


def test_a_policy_is_needed_only_by_rows_that_run_one():
    _, names = command.read_arguments({"rows": "vector_ant_vs_sync", "policy": "/nowhere/at/all.zip"})
    assert names == ["vector_ant_vs_sync"]


def test_the_summary_holds_all_rows_whatever_their_verdicts(monkeypatch, tmp_path, capsys):
    def groups(config):
        def fail(names):
            raise Unavailable("it is not there")
        return [(("vector_ant_vs_mj_step",), lambda names: {names[0]: Measured({"a_per_s": 1.0}, 0.1)}),
                (("ppo_overhead",), lambda names: {names[0]: Measured({}, 0.2)}),
                (("vector_ant_vs_envpool",), fail)]
    monkeypatch.setitem(command.SUITES, "", command.SUITES[""]._replace(groups=groups))
    path = tmp_path / "bench.json"
    names = "vector_ant_vs_mj_step,ppo_overhead,vector_ant_vs_envpool"
    assert bench.main({"rows": names, "summary": str(path)}) == 0
    summary = json.loads(path.read_text())
    assert {row["name"]: row["met"] for row in summary["rows"]} == {
        "vector_ant_vs_mj_step": False, "vector_ant_vs_envpool": None, "ppo_overhead": True}
    assert [row["reason"] for row in summary["rows"] if "reason" in row] == ["it is not there"]
    assert summary["machine"]["versions"]["numpy"] == np.__version__
    assert os.listdir(tmp_path) == ["bench.json"]
    assert "it is not there" in capsys.readouterr().out


def test_raw_physics_does_the_same_work_as_vector_ant():
    actions = np.random.default_rng(3).uniform(-1, 1, (150, 3, 8)).astype(np.float32)
    with VectorAnt(3, 0, num_threads=2) as env:
        raw = simulation.RawPhysics(env, actions, seed=5)
        assert sum(len(resets) for resets in raw._resets) > 3  # some robot fell and was reset
        for _ in range(2):
            assert raw.run() > 0.0
            simulation.run_vector_env(env, actions, seed=5)
            for row, data in enumerate(raw.datas):
                np.testing.assert_array_equal(data.qpos, env.data(row).qpos)
                np.testing.assert_array_equal(data.qvel, env.data(row).qvel)


def test_robots_that_are_wired_differently_make_the_same_steps_when_they_are_compared():
    actions = np.random.default_rng(3).uniform(-1, 1, (150, 3, 8)).astype(np.float32)
    with VectorAnt(3, 0) as alike, TaskAnt(3, PRESETS["wired"](), seed=0) as different:
        sent = tasks.rewired(different, actions, 5)
        different.reset(seed=5)
        alike.reset(seed=5)
        falls = 0
        for theirs, ours in zip(sent, actions, strict=True):
            _, _, terminated, _, _ = alike.step(ours)
            different.step(theirs)
            falls += int(terminated.sum())
            for row in range(3):
                np.testing.assert_array_equal(alike.data(row).qpos, different.data(row).qpos)
        assert falls > 1 and len({task.name for task in different.tasks}) > 1


def test_vector_rows_are_measured_or_say_why_not():
    names = ["vector_ant_vs_mj_step", "vector_ant_vs_sync", "vector_ant_vs_async", "vector_ant_vs_envpool"]
    found = simulation.measure(names, seconds=0.02, rounds=1)
    assert list(sorted(found)) == sorted(names)
    for name, opponent in zip(names[:3], ("mj_step", "sync", "async"), strict=True):
        assert found[name].figures["vector_ant_per_s"] > 0.0 and found[name].figures[f"{opponent}_per_s"] > 0.0
        assert found[name].ratio > 0.0
    assert (found[names[3]].ratio is None) == bool(found[names[3]].reason)


@pytest.mark.timeout(150)
def test_the_command_measures_the_nodes_and_leaves_none_behind(tmp_path, ros_domain):
    path = tmp_path / "bench.json"
    names = ["lockstep_1", "round_trip", "policy_litert_memory"]
    done = subprocess.run([sys.executable, "-m", "ant_rl", "bench", f"rows:={','.join(names)}", f"summary:={path}",
                           "seconds:=0.5", "rounds:=1"], capture_output=True, text=True, timeout=140)
    assert done.returncode == 0, done.stderr
    found = {row["name"]: row for row in json.loads(path.read_text())["rows"]}
    assert list(found) == names
    for row in found.values():
        assert "reason" not in row, row
        assert isinstance(row["met"], bool) and row["ratio"] > 0.0
        assert all(value > 0.0 for value in row["figures"].values())
    assert found["round_trip"]["figures"]["round_trips"] >= 5000
    assert 20.0 < found["policy_litert_memory"]["figures"]["rss_mb"] < 1000.0
    assert "lock-step over DDS" in done.stdout and "lockstep_1" in done.stderr
    left = [process.info["cmdline"] for process in psutil.process_iter(["cmdline"])
            if any("/bench_" in word for word in process.info["cmdline"] or [])
            and process.environ().get("ROS_DOMAIN_ID") == str(ros_domain)]
    assert left == []
