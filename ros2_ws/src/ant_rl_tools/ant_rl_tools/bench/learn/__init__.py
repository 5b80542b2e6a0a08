"""Measures the learners against stable-baselines3 and against the machine's limits: `./run bench learn`."""
