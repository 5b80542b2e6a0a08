"""Methods that learn from what their present policy did."""

from __future__ import annotations

from trainer.algorithms.method import Method

METHODS = {
    "ppo": Method(f"{__name__}.ppo", "PPO", "PPOConfig", 16,
                  "proximal policy optimization: steady, and fastest by the clock"),
    "a2c": Method(f"{__name__}.a2c", "A2C", "A2CConfig", 16,
                  "advantage actor-critic: one gradient step for every few ticks of all robots"),
}
