"""A recorder beside a stack that runs already: writes its topics to a rosbag2."""

from launch import LaunchDescription

from ant_rl.launch_actions import description


def generate_launch_description() -> LaunchDescription:
    """What `ros2 launch ant_rl record.launch.py` starts."""
    return description("record")
