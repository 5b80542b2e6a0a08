"""Each test has a ROS domain of its own."""

from ant_rl_ros.testing.fixtures import ros_domain

__all__ = ["ros_domain"]
