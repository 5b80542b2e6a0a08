"""Each test has a ROS domain of its own; what the tests share."""

import sys
from pathlib import Path

from ant_rl_ros.testing.fixtures import ros_domain

__all__ = ["ros_domain"]

# For small_bags; behind the others, as the whole system's tests have modules of the same names.
sys.path.append(str(Path(__file__).parent))
