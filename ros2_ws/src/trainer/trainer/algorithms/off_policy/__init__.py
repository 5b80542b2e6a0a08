"""Methods that learn from replay: DDPG, TD3, SAC, TD7, DQN."""
