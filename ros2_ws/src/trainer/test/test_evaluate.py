"""Evaluation equals the plain Gymnasium loop; its summary is plain data; bad arguments get a sentence."""

import json

import gymnasium
import numpy as np
import pytest

from ant_rl_core.step import Previous
from ant_rl_core.testing import FakeActor
from trainer.runs import evaluate
from trainer.trials import command


class Wobbler(FakeActor):
    """An actor that drives every joint the way it moves, so that its robots fall after some tens of steps."""

    def act(self, observation, previous, state, reset_mask):
        fake, extras, state = super().act(observation, previous, state, reset_mask)
        velocity = observation[:, [25, 26, 19, 20, 21, 22, 23, 24]]  # in the order of the actuators
        return (np.sign(velocity) * (0.3 + 0.7 * fake)).astype(np.float32), extras, state


def plain_loop(actor, seed):
    """One episode in the words of the Gymnasium manual."""
    env = gymnasium.make("Ant-v5")
    observation, info = env.reset(seed=seed)
    start, total, length = info["x_position"], 0.0, 0
    previous, state, done = Previous.none(1, 8), actor.initial_state(1), False
    while not done:
        row = observation[None].astype(np.float32)
        action, _, state = actor.act(row, previous, state, np.array([length == 0]))
        observation, reward, terminated, truncated, info = env.step(action[0])
        done = terminated or truncated
        previous = Previous(action, np.array([reward], np.float32), np.array([done]))
        total, length = total + reward, length + 1
    env.close()
    return total, length, info["x_position"] - start, terminated


def test_episodes_equal_a_plain_gymnasium_loop():
    episodes = evaluate.evaluate(Wobbler(recurrent=True), episodes=3, seed=1000, num_envs=2)
    assert [episode.seed for episode in episodes] == [1000, 1001, 1002]
    for episode in episodes:
        total, length, distance, terminated = plain_loop(Wobbler(recurrent=True), episode.seed)
        assert (episode.length, episode.distance, episode.terminated) == (length, distance, terminated)
        assert episode.episode_return == pytest.approx(total, rel=1e-6)
    assert len({episode.length for episode in episodes}) > 1 and episodes[0].terminated


def test_the_result_does_not_depend_on_how_many_run_at_a_time():
    alone = evaluate.evaluate(Wobbler(), episodes=12, seed=1000, num_envs=1, num_threads=1)
    assert alone == evaluate.evaluate(Wobbler(), episodes=12, seed=1000, num_envs=5, num_threads=2)
    assert alone == evaluate.evaluate(Wobbler(), episodes=12, seed=1000)
    lengths = [episode.length for episode in alone]
    assert max(lengths) > 2 * min(lengths), "no robot had the time to fall twice"


def test_an_episode_that_ends_by_the_time_limit_is_no_fall():
    (episode,) = evaluate.evaluate(FakeActor(), episodes=1, seed=0)
    assert (episode.length, episode.terminated) == plain_loop(FakeActor(), 0)[1::2]


def test_the_summary_holds_what_is_promised(ant_bundle, tmp_path, capsys):
    bundle, summary = tmp_path / "policy.zip", tmp_path / "summary.json"
    bundle.write_bytes(ant_bundle)
    assert evaluate.main([str(bundle)], {"episodes": "2", "seed": "5", "summary": str(summary)}) == 0
    found = json.loads(summary.read_text())
    assert set(found) == {"policy", "backend", "variant", "mean_return", "std_return", "episodes", "rates",
                          "latencies_ms"}
    assert [set(e) for e in found["episodes"]] == [{"seed", "return", "length", "distance", "terminated"}] * 2
    returns = [episode["return"] for episode in found["episodes"]]
    assert found["mean_return"] == pytest.approx(np.mean(returns)) and found["std_return"] == pytest.approx(
        np.std(returns))
    assert [episode["seed"] for episode in found["episodes"]] == [5, 6]
    assert found["rates"]["env_steps_per_second"] > 0
    assert set(found["latencies_ms"]) == {"inference", "step"} and found["latencies_ms"]["step"]["p99"] > 0
    printed = capsys.readouterr().out
    assert "seed 5: return" in printed and "over 2 episodes" in printed


def refused(capsys, bundles, arguments, code=2):
    assert evaluate.main([bundles] if isinstance(bundles, str) else bundles, arguments) == code
    captured = capsys.readouterr()
    assert captured.out == "" or code == 1
    assert len(captured.err.strip().splitlines()) == 1, captured.err
    return captured.err


def test_bad_bundles_and_arguments_get_one_sentence(ant_bundle, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("AMENT_PREFIX_PATH", "")
    good, bad = tmp_path / "good.zip", tmp_path / "bad.zip"
    good.write_bytes(ant_bundle)
    bad.write_bytes(ant_bundle[:1000])
    assert "expected a policy bundle, found none" in refused(capsys, str(tmp_path / "none.zip"), {})
    assert "not a whole bundle" in refused(capsys, str(bad), {})
    assert "name of a shipped one, found 'nobody'" in refused(capsys, "nobody", {})
    assert "nearest one is 'episodes'" in refused(capsys, str(good), {"episode": "1"})
    assert "episodes must be at least 1" in refused(capsys, str(good), {"episodes": "0"})
    assert "num_envs must be at least 0" in refused(capsys, str(good), {"num_envs": "-1"})
    assert "backend must be litert or keras, found 'onnx'" in refused(capsys, str(good), {"backend": "onnx"})
    for path in (tmp_path / "no" / "folder.json", tmp_path):
        assert "summary must be " in refused(capsys, str(good), {"summary": str(path)})


def test_a_policy_for_another_robot_is_refused(tmp_path, capsys):
    from trainer.algorithms.on_policy.ppo import PPO, PPOConfig

    small = tmp_path / "small.zip"
    small.write_bytes(PPO(PPOConfig(actor_hidden=(4,), critic_hidden=(4,)), 1, 6, 2, seed=0).policy())
    assert "the robot has 105 observations and 8 actions" in refused(capsys, str(small), {})


def test_policies_stand_beside_each_other_with_controls_and_a_probe(ant_bundle, tmp_path, capsys, monkeypatch):
    from trainer.testing import GRUActor

    monkeypatch.setattr(command, "_PROBED", 40)
    monkeypatch.setattr(command, "PROBE_TICKS", (0, 2, 9))
    plain, recurrent, summary = tmp_path / "plain.zip", tmp_path / "recurrent.zip", tmp_path / "summary.json"
    plain.write_bytes(ant_bundle)
    recurrent.write_bytes(GRUActor().bundle())
    arguments = {"tasks": "wired", "task_part": "train", "episodes": "3", "steps": "25", "hazard": "0.001",
                 "controls": "true", "probe": "true", "num_threads": "1", "summary": str(summary)}
    assert evaluate.main([str(plain), str(recurrent)], arguments) == 0
    found = json.loads(summary.read_text())
    assert [each["control"] for each in found["results"]] == ["", "", "memory zeroed", "memory shuffled",
                                                              "previous zeroed"]
    returns = {each["control"]: each["episodes"][0]["returns"] for each in found["results"][1:]}
    assert len(set(map(tuple, returns.values()))) == 4, "each control changes what it does"
    assert len({tuple(each["tasks"]) for each in found["results"]}) == 1 and found["results"][1]["seeds"] == [
        1000, 1001, 1002]
    probed = found["results"][1]["probe_memory"]
    assert probed["0"]["accuracy"] == probed["0"]["chance"] < probed["2"]["accuracy"] and probed["9"]["rows"] > 30
    assert "probe_memory" not in found["results"][0] and found["results"][0]["changes"]["count"] == 0
    printed = capsys.readouterr().out
    assert "wired, train (192 tasks), 3 trials of 1 episode, chance of another task 0.001 per tick" in printed
    assert "  memory shuffled" in printed and "what a linear map of its memory" in printed
    again = {**arguments, "probe": "false", "controls": "false", "num_envs": "2"}
    assert evaluate.main([str(recurrent)], again) == 0, "and the result does not depend on how many ran at a time"
    assert json.loads(summary.read_text())["results"][0]["episodes"][0]["returns"] == returns[""]
    capsys.readouterr()
    for bundles, more, sentence in (
            ([plain], {"controls": "true", "num_envs": "1"}, "controls need two robots at a time"),
            ([plain, "told"], {"tasks": "strength"}, "the policy told is for the tasks wired, lost_leg, "
                                                     "directions2, directions4, directions, swapped, obstacle, found "
                                                     "strength: leave it out"),
            ([plain], {"tasks": "latency"}, "the tasks latency have none that are held_out"),
            ([plain], {"probe": "true"}, "tasks must be named where a probe is to tell them")):
        assert sentence in refused(capsys, list(map(str, bundles)), more)
