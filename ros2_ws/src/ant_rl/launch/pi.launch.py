"""Policy and monitor, open to the network: the environment runs on another machine."""

from launch import LaunchDescription

from ant_rl.launch_actions import description


def generate_launch_description() -> LaunchDescription:
    """What `ros2 launch ant_rl pi.launch.py` starts."""
    return description("pi")
