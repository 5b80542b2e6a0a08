"""Learning over ROS: real env, policy and trainer processes."""

import pytest
from ant_rl_core import bundle
from ant_rl_interfaces.msg import Observation, TrainingProgress
from policy_node.actor import load_actor
from std_srvs.srv import SetBool, Trigger
from system import System
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
        steps, version = int(saved["env_steps"]), int(saved["version"])
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


@pytest.mark.timeout(240)
def test_it_takes_over_from_a_policy_with_a_higher_version(tmp_path):
    with System(tmp_path) as system:
        progress = system.listen(TrainingProgress, "training")
        system.env(num_envs=2)
        system.policy(policy="default", explore=True)
        running = bundle.read(bundle.resolve_policy("default")).manifest.version
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


@pytest.mark.parametrize("arguments, sentence", [
    ({"output": "/proc/none/run"}, "can't make the output folder /proc/none/run"),
    ({"algorithm": "pso"}, "algorithm must be ppo, found 'pso'"),
    ({"config": ["epoch:=3"]}, "unknown argument 'epoch'; the nearest one is 'epochs'"),
])
def test_what_it_cannot_run_with_is_one_sentence(tmp_path, arguments, sentence):
    with System(tmp_path) as system:
        trainer = system.trainer(**{"output": str(tmp_path), **arguments})
        assert trainer.wait() == 2
        assert sentence in trainer.said()
        assert "Traceback" not in trainer.said()


