"""Env, policy and monitor on this machine: watch a policy walk."""

from ant_rl.launch_actions import description
from launch import LaunchDescription


def generate_launch_description() -> LaunchDescription:
    """What `ros2 launch ant_rl sim.launch.py` starts."""
    return description("sim")
