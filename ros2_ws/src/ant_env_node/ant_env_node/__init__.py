"""Simulated Ant robots: a threaded vector environment, its tasks, and the ROS 2 node that serves them."""

from ant_rl_core.surroundings.libraries import let_mujoco_be_imported

let_mujoco_be_imported()
