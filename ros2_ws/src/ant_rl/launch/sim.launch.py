"""Env, policy and monitor on this machine: watch a policy walk."""

from launch import LaunchDescription

from ant_rl.launch_actions import description


def generate_launch_description() -> LaunchDescription:
    """What `ros2 launch ant_rl sim.launch.py` starts."""
    return description("sim")
