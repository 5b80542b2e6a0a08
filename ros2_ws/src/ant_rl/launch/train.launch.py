"""Env, policy, trainer and monitor on this machine: learn over ROS."""

from launch import LaunchDescription

from ant_rl.launch_actions import description


def generate_launch_description() -> LaunchDescription:
    """What `ros2 launch ant_rl train.launch.py` starts."""
    return description("train")
