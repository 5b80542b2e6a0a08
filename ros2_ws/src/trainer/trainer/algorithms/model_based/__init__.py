"""Methods that learn a model of the environment, and learn from what they imagine in it."""

from __future__ import annotations

from trainer.algorithms.method import Method

METHODS = {
    "mbpo": Method(f"{__name__}.mbpo", "MBPO", "MBPOConfig", 1,
                   "SAC on short branches imagined in a learned model", needs_ant=True),
    "svg": Method(f"{__name__}.svg", "SVG", "SVGConfig", 1,
                  "SAC whose gradient goes through steps imagined in a learned model", needs_ant=True),
    "i2a": Method(f"{__name__}.i2a", "I2A", "I2AConfig", 16,
                  "imagines what a few actions would lead to before it chooses; learns by PPO",
                  short_run={"imagination": "none", "branches": 1, "horizon": 1, "code_size": 4, "joint_size": 16}),
}
