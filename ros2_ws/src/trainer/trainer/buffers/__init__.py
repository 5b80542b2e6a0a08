"""Where transitions are kept until they are learned from."""
