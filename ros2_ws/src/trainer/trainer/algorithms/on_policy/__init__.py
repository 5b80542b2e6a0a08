"""Methods that learn from what their present policy did: PPO, A2C."""
