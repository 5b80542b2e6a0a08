"""Env, policy, trainer and monitor on this machine: learn over ROS."""

from ant_rl.launch_actions import description
from launch import LaunchDescription


def generate_launch_description() -> LaunchDescription:
    """What `ros2 launch ant_rl train.launch.py` starts."""
    return description("train")
