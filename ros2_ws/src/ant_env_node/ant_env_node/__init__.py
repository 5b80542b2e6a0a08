"""Simulated Ant robots: a threaded vector environment, its tasks, and the ROS 2 node that serves them."""
