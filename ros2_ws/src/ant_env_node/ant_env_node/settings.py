"""Parameters of the env node."""

from __future__ import annotations

from dataclasses import dataclass

from ant_env_node.shaping import ShapingConfig
from ant_rl_core.modes import MODES
from ant_rl_core.settings import part, setting


@dataclass(frozen=True)
class EnvSettings(ShapingConfig):
    """Parameters of the env node, the constants of the shaping among them."""

    mode: str = setting("lockstep", "lockstep: each tick waits for its torques; realtime: 20 Hz of the steady clock",
                        choices=MODES)
    num_envs: int = setting(1, "number of robots", minimum=1, maximum=4096)
    seed: int = setting(0, "seed of the first robot; robot i has seed + i", minimum=0)
    num_threads: int = setting(0, "threads that step physics; 0: one per core", minimum=0)
    torque_timeout: float = setting(0.1, "real time: torques that answer an older observation than this count as "
                                    "missing, then the torque is zero", unit="s", minimum=0.001,
                                    finite=False, read_only=False)
    response_timeout: float = setting(1.0, "after this much silence the node says whom it waits for, and may turn to "
                                      "another policy node", unit="s", minimum=0.05, finite=False,
                                      read_only=False)
    publish_state: bool = setting(True, "publish joint_states, imu, odom and clock of the first robot")
    state_rate: float = setting(25.0, "at most so many of each of joint_states, imu, odom and clock per second of the "
                                "clock on the wall", unit="Hz", minimum=1, finite=False)
    episodes: int = setting(0, "stop after this many finished episodes of all robots; 0: never", minimum=0)
    steps: int = setting(0, "stop after this many control ticks; 0: never", minimum=0)
    listeners: int = setting(0, "start ticking only once this many subscribers of episode are there", minimum=0)
    shaping: bool = setting(False, "shape the rewards by forward_bonus, stall_* and low_body_*; returns stay those of "
                            "the default reward")

    def shaping_config(self) -> ShapingConfig | None:
        """Constants of the shaping, None where it is off."""
        return part(ShapingConfig, self) if self.shaping else None
