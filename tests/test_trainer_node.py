"""Learning over ROS: real env, policy and trainer processes."""

import csv
import json
from itertools import pairwise

import numpy as np
import pytest
from ant_rl_interfaces.msg import Observation, PolicyUpdate, TrainingProgress
from programs import command
from std_srvs.srv import SetBool, Trigger
from system import System

from ant_env_node.vec_env import VectorAnt
from ant_rl_core import bundle
from ant_rl_core.exploration import Exploration
from ant_rl_core.shipped import resolve_policy
from ant_rl_core.spec import ANT
from ant_rl_core.step import TimeStepEnv
from ant_rl_core.tick import Tick
from ant_rl_ros.messages import decode_observation, encode_observation
from ant_rl_ros.stamps import system_stamp
from policy_node.actor import load_actor
from trainer import checkpoint

# One update every 64 ticks of two robots, on small networks.
ROLLOUT = 128
SETTINGS = ["rollout_length:=64", "minibatch_size:=64", "epochs:=2", "actor_hidden:=16", "critic_hidden:=16"]


def config(updates):
    return [*SETTINGS, f"total_steps:={updates * ROLLOUT}"]


@pytest.mark.timeout(240)
def test_a_policy_is_learned_from_observations_alone(tmp_path):
    with System(tmp_path) as system:
        progress = system.listen(TrainingProgress, "training")
        observations = system.listen(Observation, "observation")
        trainer = system.trainer(output=str(tmp_path / "run"), config=config(3))
        system.env(num_envs=2)
        system.policy(policy="", explore=True)
        system.until(lambda: trainer.process.poll() is not None and len(progress) == 3, "three updates")
        assert trainer.wait() == 0
        assert [message.env_steps for message in progress] == [ROLLOUT, 2 * ROLLOUT, 3 * ROLLOUT]
        assert [message.policy_version for message in progress] == [2, 3, 4]
        # Each update needs 64 ticks in which its own version acted.
        for version in (1, 2, 3):
            ids = {m.step_id for m in observations if m.policy_version == version and len(m.action)}
            assert len(ids) >= 64
        policy = bundle.read(tmp_path / "run" / "policy.zip")
        assert policy.manifest.version == 4
        assert load_actor(policy, explore=True).version == 4
        # The environments were let go again.
        count = len(observations)
        system.until(lambda: len(observations) > count + 20, "the robots to go on")


@pytest.mark.timeout(240)
def test_a_killed_trainer_goes_on_from_its_checkpoint(tmp_path):
    with System(tmp_path) as system:
        progress = system.listen(TrainingProgress, "training")
        arguments = {"output": str(tmp_path / "run"), "config": config(1000), "checkpoint_interval": 10**9}
        system.env(num_envs=2)
        system.policy(policy="", explore=True)
        trainer = system.trainer(**arguments)
        system.until(lambda: len(progress) >= 2, "two updates")
        answer = system.call(Trigger, "trainer/save_checkpoint", Trigger.Request())
        assert answer.success, answer.message
        saved = checkpoint.load(tmp_path / "run" / "checkpoint.npz")
        steps, version = int(saved["learner.env_steps"]), int(saved["learner.version"])
        assert steps >= 2 * ROLLOUT
        # The policy node runs versions by now that the checkpoint knows nothing of.
        system.until(lambda: progress[-1].policy_version > version + 1, "further updates")
        trainer.kill()
        progress.clear()
        # It may be killed while it holds the robots; its next run lets them go.
        assert system.call(SetBool, "env/pause", SetBool.Request(data=True)).success
        system.trainer(**arguments, resume=True)
        system.until(lambda: progress, "an update after the resume")
        assert progress[0].env_steps == steps + ROLLOUT
        assert progress[0].policy_version > version + 1
        # Ended by Ctrl-C, it loses what it did of a rollout only.
        assert system.processes[-1].stop() == 0
        assert int(checkpoint.load(tmp_path / "run" / "checkpoint.npz")["learner.env_steps"]) >= progress[-1].env_steps


@pytest.mark.timeout(240)
def test_it_takes_over_from_a_policy_with_a_higher_version(tmp_path):
    with System(tmp_path) as system:
        progress = system.listen(TrainingProgress, "training")
        system.env(num_envs=2)
        system.policy(policy="default", explore=True)
        running = bundle.read(resolve_policy("default")).manifest.version
        system.until(lambda: system.timings.get("env") and system.timings["env"].loop_rate > 0, "the robots")
        trainer = system.trainer(output=str(tmp_path / "run"), config=config(1))
        assert system.until(lambda: progress, "an update")[0].policy_version > running + 1
        assert trainer.wait() == 0


@pytest.mark.timeout(240)
def test_robots_of_two_namespaces_feed_one_learner(tmp_path):
    with System(tmp_path) as system:
        progress = system.listen(TrainingProgress, "training")
        versions = {name: system.listen(Observation, f"/{name}/observation") for name in ("a", "b")}
        for seed, name in enumerate(("a", "b")):
            system.env(namespace=f"/{name}", seed=seed)
            system.policy(namespace=f"/{name}", policy="", explore=True, seed=seed)
        trainer = system.trainer(output=str(tmp_path / "run"), config=config(2), namespaces=["/a", "/b"])
        system.until(lambda: trainer.process.poll() is not None, "two updates")
        assert trainer.wait() == 0
        assert [message.env_steps for message in progress] == [ROLLOUT, 2 * ROLLOUT]
        for heard in versions.values():
            assert {1, 2} <= {message.policy_version for message in heard}


# -- one run, driven in one process and over ROS -----------------------------------------------------------------------

def kept(folder):
    """Steps and version of the checkpoint, and the steps of the rows of the curve."""
    saved = checkpoint.load(folder / "checkpoint.npz")
    with open(folder / "curve.csv", newline="") as file:
        steps = [int(row["env_steps"]) for row in csv.DictReader(file)]
    return int(saved["learner.env_steps"]), int(saved["learner.version"]), steps


def in_one_process(folder, total_steps, **arguments):
    """Train in one process up to so many steps; returns what was printed."""
    words = [f"{name}:={value}" for name, value in arguments.items()]
    done = command("train", "ppo", f"output:={folder}", f"total_steps:={total_steps}", "evaluation_episodes:=1", *words)
    assert done.returncode == 0 and "Traceback" not in done.stdout, done.stdout
    return done.stdout


def over_ros(system, folder, updates, robots, **arguments):
    """Let a trainer node make so many updates, and stop it by Ctrl-C."""
    progress = system.listen(TrainingProgress, "training")
    trainer = system.trainer(output=str(folder), **arguments)
    if robots:
        system.env(num_envs=2)
        system.policy(policy="", explore=True)
    system.until(lambda: len(progress) >= updates, "updates")
    assert trainer.stop() == 0
    assert "Traceback" not in trainer.said()
    return trainer.said()


@pytest.mark.timeout(240)
def test_a_run_in_one_process_goes_on_over_ros_and_back(tmp_path):
    folder = tmp_path / "run"
    in_one_process(folder, 2 * ROLLOUT, num_envs=2, curve_interval=1, **dict(word.split(":=") for word in SETTINGS))
    steps, first, _ = kept(folder)
    assert (steps, first) == (2 * ROLLOUT, 3)
    with System(tmp_path) as system:
        # All other settings are those that it was begun with.
        said = over_ros(system, folder, 2, True, resume=True, config=["total_steps:=1000000"])
        assert f"resumed from {folder / 'checkpoint.npz'} at {steps} steps" in said
        other = system.trainer(output=str(folder), algorithm="td3", resume=True)
        assert other.wait() == 2 and f"{folder} holds a run of ppo, not of td3" in other.said()
    middle, second, curve = kept(folder)
    assert middle >= 4 * ROLLOUT and second >= 1_000_000 + 2
    assert curve == list(range(ROLLOUT, middle + 1, ROLLOUT))
    said = in_one_process(folder, middle + 2 * ROLLOUT, resume="true")
    assert f"new episodes begin at {middle} steps" in said
    steps, third, curve = kept(folder)
    assert steps == middle + 2 * ROLLOUT and third == second + 2
    assert curve == list(range(ROLLOUT, steps + 1, ROLLOUT))
    assert bundle.read(folder / "policy.zip").manifest.version == third


@pytest.mark.timeout(240)
def test_a_run_over_ros_goes_on_in_one_process_and_back(tmp_path):
    folder = tmp_path / "run"
    with System(tmp_path) as system:
        over_ros(system, folder, 17, True, config=config(1000), seed=4)  # a row every 2048 steps
        steps, first, curve = kept(folder)
        assert curve[0] == 2048 and steps >= 17 * ROLLOUT
        refused = command("train", "ppo", f"output:={folder}")
        assert refused.returncode == 2
        expected = f"{folder} already holds a training: add resume:=true to go on with it, or choose another"
        assert expected in refused.stdout
        in_one_process(folder, steps + 2 * ROLLOUT, resume="true", curve_interval=1)
        middle, second, curve = kept(folder)
        assert middle == steps + 2 * ROLLOUT and second == first + 2 and curve[-2:] == [steps + ROLLOUT, middle]
        over_ros(system, folder, 2, False, resume=True, config=["total_steps:=1000000"])
        steps, third, curve = kept(folder)
        assert steps >= middle + 2 * ROLLOUT and third >= second // 1_000_000 * 1_000_000 + 1_000_000
        assert curve == sorted(set(curve)) and curve[-1] == steps and middle in curve
        settings = json.loads((folder / "config.json").read_text())
        assert settings["algorithm"] == "ppo" and settings["learner"]["rollout_length"] == 64
        assert settings["train"]["num_envs"] == 2 and settings["train"]["seed"] == 4


@pytest.mark.timeout(240)
def test_a_run_is_not_gone_on_with_by_another_number_of_robots(tmp_path):
    folder = tmp_path / "run"
    in_one_process(folder, ROLLOUT, num_envs=2, **dict(word.split(":=") for word in SETTINGS))
    with System(tmp_path) as system:
        trainer = system.trainer(output=str(folder), resume=True)
        system.env(num_envs=3)
        assert trainer.wait() == 2 and "Traceback" not in trainer.said()
        expected = f"{folder} holds a run with num_envs:=2, found num_envs:=3: give the robots num_envs:=2"
        assert expected in trainer.said()


# -- methods that learn all the time -----------------------------------------------------------------------------------

# Random actions for 40 of all ticks, then an update per tick and robot, on small networks.
OFF_POLICY = ["learning_starts:=80", "batch_size:=16", "actor_hidden:=8", "critic_hidden:=8", "embedding_size:=0"]


def replayed(folder):
    """observation, action and reward of what the checkpoint's replay buffer holds, one row per robot and tick."""
    saved = checkpoint.load(folder / "run" / "checkpoint.npz")
    return [saved[f"learner.replay_{name}"] for name in ("observation", "action", "reward")]


def transitions_of(messages):
    """The transitions between consecutive observations, each once."""
    ticks = []
    for message in messages:
        tick = decode_observation(message, ANT)
        if not ticks or tick.step_id != ticks[-1].step_id:
            ticks.append(tick)
    joined = [after.transition_from(before) for before, after in pairwise(ticks)]
    assert None not in joined
    return joined


@pytest.mark.timeout(240)
def test_an_off_policy_method_learns_from_every_tick_once(tmp_path):
    with System(tmp_path) as system:
        progress = system.listen(TrainingProgress, "training")
        observations = system.listen(Observation, "observation")
        policies = system.listen(PolicyUpdate, "policy")
        arguments = {"algorithm": "td3", "config": [*OFF_POLICY, "total_steps:=400"], "policy_interval": 0.1}
        trainer = system.trainer(output=str(tmp_path / "run"), **arguments)
        env = system.env(num_envs=2)
        system.policy(policy="", explore=True)
        system.until(lambda: trainer.process.poll() is not None, "the end of the training")
        assert trainer.wait() == 0, trainer.said()
        count = len(observations)
        system.until(lambda: len(observations) > count + 20, "the robots to go on")
        env.stop()

        expected = transitions_of(observations)
        observation, action, reward = replayed(tmp_path)
        assert len(reward) == progress[-1].env_steps // 2 <= len(expected)
        for name, found in (("observation", observation), ("action", action), ("reward", reward)):
            np.testing.assert_array_equal(found, [getattr(t, name) for t in expected[:len(reward)]], name)
        assert progress[-1].dropped_rows == 0 and progress[-1].env_steps >= 400
        # An update for each tick after the first 40, two gradient steps each.
        assert progress[-1].updates == len(reward) - 40

        # Random torques, then those of one new version after another, with the noise that the bundle asks for.
        manifests = [bundle.unpack(bytes(message.bundle)).manifest for message in policies]
        assert manifests[0].explores == Exploration("uniform", limit=0.5)
        assert manifests[-1].explores == Exploration("gaussian", 0.1, limit=0.5)
        versions = [manifest.version for manifest in manifests]
        assert versions == sorted(set(versions)) and len(versions) >= 3
        acted = [t.policy_version for t in expected]
        assert acted == sorted(acted) and len(set(acted) & set(versions)) >= 2
        assert bundle.read(tmp_path / "run" / "policy.zip").manifest.version == versions[-1]


@pytest.mark.timeout(240)
def test_a_killed_off_policy_trainer_goes_on_with_its_replay(tmp_path):
    with System(tmp_path) as system:
        progress = system.listen(TrainingProgress, "training")
        arguments = {"output": str(tmp_path / "run"), "algorithm": "td3", "policy_interval": 0.1,
                     "config": [*OFF_POLICY, "total_steps:=1000000"], "checkpoint_interval": 10**9}
        system.env(num_envs=2)
        system.policy(policy="", explore=True)
        trainer = system.trainer(**arguments)
        system.until(lambda: progress and progress[-1].updates > 50, "updates")
        answer = system.call(Trigger, "trainer/save_checkpoint", Trigger.Request())
        assert answer.success, answer.message
        steps = 2 * len(replayed(tmp_path)[2])
        made = int(checkpoint.load(tmp_path / "run" / "checkpoint.npz")["learner.updates"])
        owed = -((made + 80 - steps) // 2)  # by what was observed and not yet learned from when it was saved
        seen = len(progress)
        system.until(lambda: len(progress) > seen and progress[-1].policy_version > progress[seen - 1].policy_version,
                     "newer versions")
        trainer.kill()
        running = progress[-1].policy_version
        progress.clear()
        system.trainer(**arguments, resume=True)
        system.until(lambda: progress and progress[-1].updates > 20, "updates after the resume")
        assert progress[-1].env_steps > steps and progress[-1].policy_version > running
        # Whoever ends it while the robots are on hold lets them go, and loses nothing.
        trainer = system.processes[-1]
        system.until(lambda: system.timings["env"].state == "paused", "the robots to be held")
        assert trainer.stop() == 0
        system.until(lambda: system.timings["env"].state == "running", "the robots to go on")
        assert 2 * len(replayed(tmp_path)[2]) >= progress[-1].env_steps > steps
        # It is neither overwritten nor taken for that of another method.
        again = system.trainer(**arguments)
        assert again.wait() == 2 and "already holds a training: add resume:=true to go on with it" in again.said()
        other = system.trainer(output=arguments["output"], algorithm="ppo", config=config(1), resume=True)
        assert other.wait() == 2 and "holds a run of td3, not of ppo" in other.said()
        smaller = system.trainer(**{**arguments, "config": ["actor_hidden:=7"]}, resume=True)
        assert smaller.wait() == 2
        assert "the checkpoint is of other networks than these settings give" in smaller.said()
        assert "Traceback" not in again.said() + other.said() + smaller.said()
        # No update is made twice: those that were owed, and one per tick since.
        assert progress[-1].updates <= owed + (progress[-1].env_steps - steps) // 2


@pytest.mark.timeout(240)
def test_lost_weights_end_it_with_a_sentence_and_are_not_saved(tmp_path):
    with System(tmp_path) as system:
        # An infinite rate, one robot and so one gradient step at a time: the first losses are finite, the weights not.
        trainer = system.trainer(output=str(tmp_path / "run"), algorithm="td3", checkpoint_interval=1,
                                 config=[*OFF_POLICY, "critic_learning_rate:=1e39", "total_steps:=1000000"])
        system.env(num_envs=1)
        system.policy(policy="", explore=True)
        system.until(lambda: trainer.process.poll() is not None, "the end of the training")
        assert trainer.wait() == 1
        assert "; the last checkpoint is the last good one" in trainer.said() and "Traceback" not in trainer.said()
        saved = checkpoint.load(tmp_path / "run" / "checkpoint.npz")
        assert all(np.isfinite(array).all() for name, array in saved.items() if name.startswith("learner.variable_"))


@pytest.mark.timeout(240)
def test_in_real_time_the_robots_go_on_while_it_learns(tmp_path):
    with System(tmp_path) as system:
        progress = system.listen(TrainingProgress, "training")
        observations = system.listen(Observation, "observation", mode="realtime")
        system.env(num_envs=2, mode="realtime")
        system.policy(policy="default", mode="realtime", explore=True)
        # More to learn for each tick than there is time for.
        system.trainer(output=str(tmp_path / "run"), algorithm="td3", mode="realtime",
                       config=["learning_starts:=20", *OFF_POLICY[1:], "updates_per_step:=100", "total_steps:=1000000"])
        system.until(lambda: progress and progress[-1].updates > 0, "updates")
        count, states = len(observations), set()
        system.until(lambda: states.add(system.timings["env"].state) or len(observations) > count + 60, "ticks")
        assert states == {"running"}
        assert progress[-1].policy_version > bundle.read(resolve_policy("default")).manifest.version


@pytest.mark.timeout(240)
def test_gaps_in_real_time_are_counted_and_nothing_is_joined_across_them(tmp_path):
    env, rng = TimeStepEnv(VectorAnt(2, 3)), np.random.default_rng(0)
    ticks = [Tick(5, 0, env.reset())]
    for k in range(1, 301):
        action = rng.uniform(-1, 1, (2, 8)).astype(np.float32)
        ticks.append(Tick(5, k, env.step(action), action, {}, 3))
    env.close()
    heard = [tick for tick in ticks if tick.step_id not in (*range(50, 60), 120)]
    with System(tmp_path) as system:
        progress = system.listen(TrainingProgress, "training")
        policies = system.listen(PolicyUpdate, "policy")
        publisher = system.node.create_publisher(Observation, "observation", 1000)
        system.trainer(output=str(tmp_path / "run"), algorithm="td3", mode="realtime",
                       config=[*OFF_POLICY, "updates_per_step:=0.1", "total_steps:=574"])
        system.until(publisher.get_subscription_count, "the trainer to listen")
        for tick in heard:
            publisher.publish(encode_observation(tick, system_stamp()))
            if tick.step_id == 0:
                system.until(lambda: policies, "the learner")
        system.until(lambda: (tmp_path / "run" / "policy.zip").exists(), "the end")
        system.until(lambda: progress[-1].env_steps == 574, "the last word")
        # Of 300 transitions of two robots, 11 led to ticks that were missed and 2 came from such.
        assert progress[-1].dropped_rows == 2 * 13
        expected = [t for before, after in pairwise(heard) if (t := after.transition_from(before)) is not None]
        observation, action, reward = replayed(tmp_path)
        assert len(reward) == len(expected) == 287
        for name, found in (("observation", observation), ("action", action), ("reward", reward)):
            np.testing.assert_array_equal(found, [getattr(t, name) for t in expected], name)
        assert checkpoint.load(tmp_path / "run" / "checkpoint.npz")["learner.replay_cut"][[48, 107]].all()


@pytest.mark.parametrize("arguments, sentence", [
    ({"output": "/proc/none/run"}, "can't make the output folder /proc/none/run"),
    ({"algorithm": "pso"}, "found 'pso'"),
    ({"config": ["epoch:=3"]}, "unknown argument 'epoch'; the nearest one is 'epochs'"),
])
def test_what_it_cannot_run_with_is_one_sentence(tmp_path, arguments, sentence):
    with System(tmp_path) as system:
        trainer = system.trainer(**{"output": str(tmp_path), **arguments})
        assert trainer.wait() == 2
        assert sentence in trainer.said()
        assert "Traceback" not in trainer.said()


