"""Learning: buffers, networks, algorithms, the loop that drives them, checkpoints and export."""

from ant_rl_core.surroundings.libraries import settle_keras

settle_keras()
