"""Each arrangement through the supervisor: real nodes, real DDS, exit codes, and nothing left behind."""

import json
import os
import signal
import subprocess
import sys

import programs
import pytest
from programs import assert_gone, descendants, finish, read_until
from walls import DESKTOP, behind_wall

from ant_rl_core import bundle
from ant_rl_core.shipped import resolve_policy
from policy_node.actor import load_actor
from trainer.runs.evaluate import evaluate

pytest.importorskip("rclpy", reason="ROS is not installed")


def start(*words, **changes):
    return programs.start([sys.executable, "-m", "ant_rl", *words], TF_CPP_MIN_LOG_LEVEL="3", **changes)


def test_sim_ends_by_itself_and_sums_up(tmp_path):
    path = tmp_path / "summary.json"
    code, output = finish(start("sim", "episodes:=3", "num_envs:=2", "seed:=5", f"summary:={path}"), timeout_s=150)
    assert code == 0, output
    summary = json.loads(path.read_text())
    assert len(summary["episodes"]) >= 3
    assert {episode["seed"] for episode in summary["episodes"]} <= {5, 6}
    returns = [episode["return"] for episode in summary["episodes"]]
    assert summary["mean_return"] == pytest.approx(sum(returns) / len(returns))
    assert summary["ticks"] >= max(episode["length"] for episode in summary["episodes"])
    assert summary["latencies_ms"]["round_trip"]["p50"] > 0
    assert {"env", "policy", "monitor", "status"} <= set(summary["nodes"])
    assert summary["arguments"]["seed"] == "5"


def test_sim_runs_the_variant_that_is_asked_for(tmp_path):
    path = tmp_path / "summary.json"
    code, output = finish(start("sim", "variant:=int8", "episodes:=1", "seed:=5", f"summary:={path}"), timeout_s=150)
    assert code == 0, output
    found = json.loads(path.read_text())["episodes"][0]["return"]
    shipped = bundle.read(resolve_policy("default"))
    expected, other = (evaluate(load_actor(shipped, variant=name), 1, 5)[0].episode_return
                       for name in ("int8", "float32"))
    assert found == pytest.approx(expected, abs=1e-3) and abs(found - other) > 0.1
    code, output = finish(start("sim", "variant:=int9", "episodes:=1"))
    assert code == 2 and "no variant 'int9' that ends in .tflite; those are float32, " in output


def test_a_run_that_is_over_at_once_is_heard_all_the_same(tmp_path):
    path = tmp_path / "summary.json"
    code, output = finish(start("sim", "steps:=3", f"summary:={path}"))
    assert code == 0, output
    summary = json.loads(path.read_text())
    assert summary["ticks"] >= 3
    assert summary["mean_return"] is None


def test_ctrl_c(tmp_path):
    path = tmp_path / "summary.json"
    process = start("sim", f"summary:={path}", "namespace:=robot1")
    read_until(process, "ticks/s, round trip")
    nodes = descendants(process)
    assert len(nodes) == 4
    for second in ("sim", "pi"):
        code, output = finish(start(second, "namespace:=robot1"))
        assert code == 2 and output.count("\n") == 1, output
        assert f" runs in ROS domain {os.environ['ROS_DOMAIN_ID']} already (process {process.pid})" in output
        assert "ROS_DOMAIN_ID=" in output and "namespace:=" in output
    code, output = finish(process, signal.SIGINT)
    assert code == 0, output
    assert "Summary" in output
    summary = json.loads(path.read_text())
    assert summary["ticks"] > 0 and summary["contested"] is False
    assert_gone(nodes)


def test_killing_the_supervisor_leaves_no_orphan():
    process = start("sim")
    read_until(process, "ticks/s, round trip")
    nodes = descendants(process)
    assert len(nodes) == 4
    finish(process, signal.SIGKILL)
    assert_gone(nodes)


def test_a_policy_that_is_killed_comes_back_and_the_run_goes_on():
    process = start("sim")
    read_until(process, "ticks/s, round trip")
    policy = next(node for node in descendants(process) if "policy_node" in " ".join(node.cmdline()))
    policy.kill()
    read_until(process, "policy ended with signal SIGKILL")
    read_until(process, "running policy version")
    read_until(process, "a policy node answers")
    code, output = finish(process, signal.SIGINT)
    assert code == 0, output


def test_a_bundle_that_is_missing():
    code, output = finish(start("sim", "policy:=/nowhere/policy.zip"))
    assert code == 2
    assert "/nowhere/policy.zip: expected a policy bundle, found none" in output
    assert "Traceback" not in output


def test_desktop_and_pi(tmp_path):
    # The test stays on this machine: both halves are here, and find each other on the loopback too.
    wall = behind_wall(DESKTOP, tmp_path)
    blocked = subprocess.run([sys.executable, "-c", "import mujoco"], env={**os.environ, **wall}, capture_output=True)
    assert b"mujoco is behind the wall" in blocked.stderr
    pi = start("pi", **wall)
    read_until(pi, "running policy version")
    code, output = finish(start("desktop", "steps:=200"), timeout_s=90)
    assert code == 0, output
    nodes = descendants(pi)
    assert len(nodes) == 2
    code, output = finish(pi, signal.SIGINT)
    assert code == 0, output
    assert_gone(nodes)


@pytest.mark.timeout(300)
def test_train_ends_when_it_has_learned_enough(tmp_path):
    config = "total_steps:=512 rollout_length:=128 minibatch_size:=64 epochs:=1"
    process = start("train", "num_envs:=2", f"output:={tmp_path}", f"config:={config}")
    code, output = finish(process, timeout_s=280)
    assert code == 0, output
    assert (tmp_path / "policy.zip").is_file()
    assert "[supervisor] trainer ended: stopping the others" in output
