"""Each test has a ROS domain of its own, and its nodes stay on this machine."""

from ant_rl_ros.testing.fixtures import local_nodes, ros_domain

__all__ = ["local_nodes", "ros_domain"]
