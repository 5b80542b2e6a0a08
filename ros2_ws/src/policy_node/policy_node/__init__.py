"""Runs a policy bundle: observation in, joint torques out."""
