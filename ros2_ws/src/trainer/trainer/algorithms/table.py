"""The learning methods by name."""

from trainer.algorithms.ppo import PPO, PPOConfig

# name: (learner, its configuration)
ALGORITHMS = {"ppo": (PPO, PPOConfig)}
