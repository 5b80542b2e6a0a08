"""Evaluation by whole trials: what a policy makes of a task that it has to find out, and beside what."""
