"""Import walls: the policy acts with LiteRT where nothing but numpy and LiteRT is, and without ROS."""

import subprocess
import sys

import policy_bundles
import pytest

WALL = """
import sys

class Wall:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked}:
            raise ImportError(name + " is blocked by this test")

sys.meta_path.insert(0, Wall())
"""
TRAINING = {"tensorflow", "keras", "mujoco", "gymnasium", "trainer", "ant_env_node", "matplotlib", "scipy"}
ROS = {"rclpy", "rcl_interfaces", "ant_rl_interfaces", "ant_rl_ros"}

ACT = """
import numpy as np
from ant_rl_core import bundle
from ant_rl_core.spec import ANT
from ant_rl_core.step import Previous
from policy_node import actor, safety, slot
for explore in (False, True):
    runner = actor.load_actor(bundle.read(sys.argv[1]), explore=explore)
    action, extras, _ = runner.act(np.zeros((1, 105), np.float32), Previous.none(1, 8), runner.initial_state(1),
                                   np.ones(1, bool))
    assert not safety.make_safe(ANT.check_action(action, 1))[1]
print("acted", len(sys.modules))
"""


def run(code, blocked, *arguments):
    return subprocess.run([sys.executable, "-c", WALL.format(blocked=blocked) + code, *map(str, arguments)],
                          capture_output=True, text=True, timeout=120)


@pytest.fixture
def path(tmp_path):
    (tmp_path / "policy.zip").write_bytes(policy_bundles.packed())
    return tmp_path / "policy.zip"


def test_the_actor_acts_without_training_libraries_and_without_ros(path):
    done = run(ACT, TRAINING | ROS, path)
    assert done.stdout.startswith("acted"), done.stderr


def test_the_wall_would_show(path):
    done = run("import keras", TRAINING)
    assert "keras is blocked by this test" in done.stderr and done.returncode == 1


def test_keras_is_asked_for_by_name_only(path):
    done = run("from ant_rl_core import bundle\nfrom policy_node.actor import load_actor\n"
               "load_actor(bundle.read(sys.argv[1]), 'keras')", TRAINING, path)
    assert "ValueError: backend keras needs the Python package tensorflow, which is not installed" in done.stderr


@pytest.mark.parametrize("module", ["actor", "litert_actor", "responder", "safety", "slot", "keras_actor"])
def test_pure_modules_need_no_ros(module):
    done = run(f"import policy_node.{module}; print('imported')", ROS)
    assert done.stdout == "imported\n", done.stderr


def test_the_node_needs_no_training_libraries():
    done = run("import policy_node.node; print('imported')", TRAINING)
    assert done.stdout == "imported\n", done.stderr
