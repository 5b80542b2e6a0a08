"""What tests of nodes share: a ROS domain of their own, processes with bounded waits, and the other side of a node."""
