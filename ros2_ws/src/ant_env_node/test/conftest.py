"""Lets the tests import `stepper_stage`; each test has a ROS domain of its own, and its nodes stay on this machine."""

import sys
from pathlib import Path

from ant_rl_ros.testing.fixtures import local_nodes, ros_domain

__all__ = ["local_nodes", "ros_domain"]

sys.path.insert(0, str(Path(__file__).parent))
