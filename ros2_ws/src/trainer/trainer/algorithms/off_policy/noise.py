"""Noise on actions as TD3 has it: on those that collect data, and clipped on the target's (arXiv:1802.09477, 5.3)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ant_rl_core.settings import Settings, setting


@dataclass(frozen=True)
class NoiseConfig(Settings):
    """Settings of that noise."""

    exploration_std: float = setting(0.1, "standard deviation of the noise on the actions that collect data", minimum=0)
    target_noise_std: float = setting(0.2, "standard deviation of the noise on the target's action", minimum=0)
    target_noise_clip: float = setting(0.5, "that noise is clipped to this magnitude", minimum=0, finite=False)

    def target_noise(self, action: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """What is added to the target's action, float32 [m, action_size] as `action`."""
        noise = random.standard_normal(action.shape, np.float32) * self.target_noise_std
        return np.clip(noise, -self.target_noise_clip, self.target_noise_clip)
