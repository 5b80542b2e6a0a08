"""Over ROS: the trainer node and the order of learning that it drives."""
