"""Lets the tests import `policy_bundles`, keeps TensorFlow quiet; each test has a ROS domain of its own."""

import os
import sys
from pathlib import Path

from ant_rl_ros.testing.fixtures import local_nodes, ros_domain

__all__ = ["local_nodes", "ros_domain"]

sys.path.insert(0, str(Path(__file__).parent))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
