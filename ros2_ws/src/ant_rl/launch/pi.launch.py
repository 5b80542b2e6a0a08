"""Policy and monitor, open to the network: the environment runs on another machine."""

from ant_rl.launch_actions import description
from launch import LaunchDescription


def generate_launch_description() -> LaunchDescription:
    """What `ros2 launch ant_rl pi.launch.py` starts."""
    return description("pi")
