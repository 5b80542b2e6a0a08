"""Env and monitor (and a trainer if asked for), open to the network: the policy runs on another machine."""

from launch import LaunchDescription

from ant_rl.launch_actions import description


def generate_launch_description() -> LaunchDescription:
    """What `ros2 launch ant_rl desktop.launch.py` starts."""
    return description("desktop")
