"""The echo node, as one that has been running for long from its beginning."""

from echo_node import main

from ant_rl_ros import twins

twins._START = 0.0

__all__ = ["main"]
