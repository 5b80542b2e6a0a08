"""Measures speed and memory against what is to be reached: `./run bench`.

Speeds are compared as ratios of what runs alternately in the same minutes on the same machine, so that neither a slow
machine nor a busy neighbor decides.
"""

from ant_rl_tools.bench.command import SUITES, help_text, main

__all__ = ["SUITES", "help_text", "main"]
