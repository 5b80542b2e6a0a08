"""Learning: buffers, networks, algorithms, the loop that drives them, checkpoints and export."""
