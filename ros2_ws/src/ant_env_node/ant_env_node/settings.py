"""Parameters of the env node."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ant_env_node.shaping import ShapingConfig
from ant_env_node.tasks.distribution import PARTS, TaskDistribution
from ant_env_node.tasks.names import NAMES
from ant_env_node.tasks.presets import STOCK, distribution
from ant_env_node.tasks.settings import TaskSettings
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
    tasks: str = setting(STOCK, "tasks of the robots, drawn anew for each trial, see ./run tasks", choices=NAMES)
    task_part: str = setting("train", "which of the tasks: those to train on, or those held out", choices=PARTS)
    hazard: float = setting(-1.0, "chance per tick that a robot gets another task within its episode; below 0: as the "
                            "tasks have it", minimum=-1, maximum=1)
    episodes_per_trial: int = setting(0, "episodes of a robot in the same task; 0: as the tasks have it", minimum=0)
    shaping: bool = setting(False, "shape the rewards by forward_bonus, stall_* and low_body_*; returns stay those of "
                            "the default reward")

    def rules(self) -> Iterator[tuple[bool, str]]:
        drawn = self.tasks != STOCK
        yield drawn or self.task_part == PARTS[0], f"task_part must be {PARTS[0]} where there are no tasks"
        yield drawn or self.hazard < 0, "hazard must be below 0 where there are no tasks"
        yield drawn or not self.episodes_per_trial, "episodes_per_trial must be 0 where there are no tasks"
        tasks = distribution(self.tasks) if self.task_part != PARTS[0] else None
        yield (tasks is None or bool(getattr(tasks, self.task_part)),
               f"task_part must be {PARTS[0]}, since of the tasks {self.tasks} none are held out")

    def task_distribution(self) -> TaskDistribution | None:
        """Where the robots' tasks come from, None where they have none."""
        return part(TaskSettings, self).distribution()

    def shaping_config(self) -> ShapingConfig | None:
        """Constants of the shaping, None where it is off."""
        return part(ShapingConfig, self) if self.shaping else None
